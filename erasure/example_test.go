package erasure_test

import (
	"fmt"

	"github.com/cairnstore/cairn/erasure"
)

// Any two of six blocks may be lost.
func Example() {
	codec, err := erasure.NewCodec(erasure.Geometry{Data: 4, Parity: 2})
	if err != nil {
		fmt.Println(err)
		return
	}
	data := [][]byte{[]byte("any "), []byte("two "), []byte("lost"), []byte(".")}
	parity := [][]byte{make([]byte, 4), make([]byte, 4)}
	if err := codec.Encode(data, parity); err != nil {
		fmt.Println(err)
		return
	}
	blocks := append(data, parity...)
	blocks[1], blocks[4] = nil, nil
	block := make([]byte, 4)
	if err := codec.Reconstruct(blocks, 4, []int{1}, [][]byte{block}); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%q\n", block)
	// Output: "two "
}

// A frame opens only with the key and at the offset that it was sealed for.
func ExampleKey() {
	segment := erasure.SegmentID{Epoch: 1, Random: 42, Counter: 7}
	key := erasure.NewKey(erasure.PoolID{1}, segment, 0)
	frame := make([]byte, erasure.FrameLen(5))
	n := copy(frame, "bytes")
	key.SealFrame(frame, n, 8192)

	data, err := key.OpenFrame(frame, 8192)
	fmt.Printf("%s %v\n", data, err)
	_, err = key.OpenFrame(frame, 4096)
	fmt.Println(err)
	// Output:
	// bytes <nil>
	// frame does not verify: offset 4096
}

// What rows a 300 kB object takes over four data shards.
func ExampleRowAt() {
	const k, length = 4, 300_000
	for i := range erasure.NumRows(k, length) {
		r := erasure.RowAt(k, length, i)
		fmt.Printf("at %d: bytes %d to %d in %d columns of %d\n", r.Offset, r.Data, r.Data+r.Length, r.Columns, r.Column)
	}
	// Output:
	// at 0: bytes 0 to 163680 in 4 columns of 40920
	// at 40960: bytes 163680 to 300000 in 4 columns of 40920
}
