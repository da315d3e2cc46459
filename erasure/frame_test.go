package erasure

import (
	"encoding/binary"
	"flag"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"

	"github.com/zeebo/blake3"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares got with testdata/name.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := "testdata/" + name
	if *update {
		noError(t, os.MkdirAll("testdata", 0o755))
		noError(t, os.WriteFile(path, got, 0o644))
	}
	want, err := os.ReadFile(path)
	noError(t, err)
	if string(want) != string(got) {
		t.Fatalf("%s differs: the format changed", path)
	}
}

var (
	testPool    = PoolID{0: 0xC0, 7: 0x41, 15: 0x99}
	testSegment = SegmentID{Epoch: 3, Random: 0xFEEDFACE12345678, Counter: 17}
	testKey     = NewKey(testPool, testSegment, 5)
)

// sealed returns a frame with dataLen random bytes and its data.
func sealed(k *Key, dataLen int, offset int64) (frame, data []byte) {
	data = randomBytes(rand.New(rand.NewPCG(9, uint64(dataLen))), dataLen)
	frame = make([]byte, FrameLen(dataLen))
	for i := range frame {
		frame[i] = 0xA5 // a dirty buffer
	}
	copy(frame, data)
	k.SealFrame(frame, dataLen, offset)
	return frame, data
}

// obviousTag is the tag by its definition: derive, concatenate, hash.
func obviousTag(pool PoolID, seg SegmentID, shard uint16, offset int64, data []byte) (tag [TagSize]byte) {
	material := slices.Concat(pool[:], binary.BigEndian.AppendUint64(nil, seg.Epoch), binary.BigEndian.AppendUint64(nil, seg.Random),
		binary.BigEndian.AppendUint64(nil, seg.Counter), binary.BigEndian.AppendUint16(nil, shard))
	var key [32]byte
	blake3.DeriveKey("cairn frame v1", material, key[:])
	h, err := blake3.NewKeyed(key[:])
	if err != nil {
		panic(err)
	}
	input := binary.BigEndian.AppendUint64(nil, uint64(offset))
	input = binary.BigEndian.AppendUint64(input, uint64(len(data)))
	_, _ = h.Write(append(input, data...))
	h.Sum(tag[:0])
	return tag
}

func TestTagIsItsDefinition(t *testing.T) {
	r := rand.New(rand.NewPCG(10, 0))
	for _, n := range []int{0, 1, 1007, 1008, 1009, 1024, 8175, 8176, 8177, 8192, 8193, FrameData, 200_000} {
		data := randomBytes(r, n)
		for _, shard := range []int{0, 5, 300, 65535} {
			k := NewKey(testPool, testSegment, shard)
			want := obviousTag(testPool, testSegment, uint16(shard), 1<<40, data)
			for range 2 { // the second time with a used hasher
				equal(t, want, k.Tag(1<<40, data), "%d bytes, shard %d", n, shard)
			}
			cut := n / 3
			equal(t, want, k.TagParts(1<<40, data[:cut], nil, data[cut:n/2], data[n/2:]), "%d bytes in parts", n)
		}
	}
	equal(t, testKey.Tag(7, nil), testKey.TagParts(7))
	panics(t, func() { NewKey(testPool, testSegment, -1) })
	panics(t, func() { NewKey(testPool, testSegment, 65536) })
}

func TestTagCoversThePlace(t *testing.T) {
	data := []byte("data")
	seen := map[[TagSize]byte]string{}
	add := func(name string, tag [TagSize]byte) {
		if was, ok := seen[tag]; ok {
			t.Errorf("%s has the tag of %s", name, was)
		}
		seen[tag] = name
	}
	add("base", testKey.Tag(4096, data))
	add("offset", testKey.Tag(8192, data))
	add("length", testKey.Tag(4096, append(data, 0)))
	add("shard", NewKey(testPool, testSegment, 6).Tag(4096, data))
	other := testPool
	other[15]++
	add("pool", NewKey(other, testSegment, 5).Tag(4096, data))
	for i := range 3 {
		seg := testSegment
		*[]*uint64{&seg.Epoch, &seg.Random, &seg.Counter}[i]++
		add("segment", NewKey(testPool, seg, 5).Tag(4096, data))
	}
}

func TestFrameRoundTrip(t *testing.T) {
	for _, n := range []int{0, 1, 100, Align - TrailerSize - 1, Align - TrailerSize, Align - TrailerSize + 1, Align, 40_000, FrameData - 1, FrameData} {
		frame, data := sealed(testKey, n, 3*Align)
		equal(t, 0, len(frame)%Align)
		if len(frame) > FrameSize || len(frame)-n < TrailerSize || len(frame)-n >= TrailerSize+Align {
			t.Fatalf("%d bytes of data take a frame of %d", n, len(frame))
		}
		got, err := testKey.OpenFrame(frame, 3*Align)
		noError(t, err, "%d bytes", n)
		equal(t, data, append([]byte{}, got...))
		equal(t, n, cap(got), "an append must not run into the frame")
		if n > 0 && &got[0] != &frame[0] {
			t.Fatal("data was copied")
		}
	}
	equal(t, FrameSize, FrameLen(FrameData))
}

// Any bit that changes is noticed, wherever it is.
func TestOpenFrameNoticesEveryBit(t *testing.T) {
	frame, _ := sealed(testKey, 3000, Align)
	for bit := range len(frame) * 8 {
		frame[bit/8] ^= 1 << (bit % 8)
		data, err := testKey.OpenFrame(frame, Align)
		errorIs(t, err, ErrFrame, "bit %d", bit)
		if data != nil {
			t.Fatalf("bit %d: data beside an error", bit)
		}
		frame[bit/8] ^= 1 << (bit % 8)
	}
	_, err := testKey.OpenFrame(frame, Align)
	noError(t, err)
}

func TestOpenFrameOfAnotherPlace(t *testing.T) {
	frame, _ := sealed(testKey, FrameData, Align)
	_, err := testKey.OpenFrame(frame, 2*Align)
	errorIs(t, err, ErrFrame)
	_, err = NewKey(testPool, testSegment, 4).OpenFrame(frame, Align)
	errorIs(t, err, ErrFrame)
	_, err = testKey.OpenFrame(frame[:len(frame)-Align], Align)
	errorIs(t, err, ErrFrame, "torn")
	_, err = testKey.OpenFrame(make([]byte, FrameSize), Align)
	errorIs(t, err, ErrFrame, "never written")
	_, err = testKey.OpenFrame(make([]byte, Align), 0)
	errorIs(t, err, ErrFrame, "never written")
	// The error says where and nothing of what was there.
	equal(t, "frame does not verify: offset 0", err.Error())
}

// A frame of a later format verifies and is refused by name; rot that looks
// like one is rot (TestOpenFrameNoticesEveryBit).
func TestOpenFrameOfAnUnknownKeyID(t *testing.T) {
	frame, data := sealed(testKey, 50, Align)
	end := len(frame) - TrailerSize
	tr := trailer{length: 50, keyID: 7}
	tr.tag = testKey.tagFrame(Align, &tr, data)
	tr.encode(frame[end:])
	_, err := testKey.OpenFrame(frame, Align)
	errorIs(t, err, ErrFormat)
	equal(t, "unknown frame format: frame at offset 4096 has key id 7, known is 0", err.Error())
}

func TestOpenFrameOfNoFrameLength(t *testing.T) {
	for _, n := range []int{0, 1, 39, 40, Align - 1, Align + 1, FrameSize + Align, FrameSize + 1} {
		_, err := testKey.OpenFrame(make([]byte, n), 0)
		errorIs(t, err, ErrFormat, "%d bytes", n)
	}
}

func TestSealFramePanicsOnWrongLengths(t *testing.T) {
	panics(t, func() { testKey.SealFrame(make([]byte, Align), -1, 0) })
	panics(t, func() { testKey.SealFrame(make([]byte, Align), Align, 0) })
	panics(t, func() { testKey.SealFrame(make([]byte, 2*Align), 1, 0) })
	panics(t, func() { testKey.SealFrame(make([]byte, FrameSize+Align), FrameData+1, 0) })
}

func TestFrameGolden(t *testing.T) {
	data := make([]byte, 5000)
	for i := range data {
		data[i] = byte(i * i >> 3)
	}
	frame := make([]byte, FrameLen(len(data)))
	copy(frame, data)
	testKey.SealFrame(frame, len(data), 12<<20)
	golden(t, "frame_v1.bin", frame)
	got, err := testKey.OpenFrame(frame, 12<<20)
	noError(t, err)
	equal(t, string(data), string(got))
}

func TestKeyConcurrently(t *testing.T) {
	frame, data := sealed(testKey, 30_000, Align)
	want := testKey.Tag(9, data)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				if _, err := testKey.OpenFrame(frame, Align); err != nil {
					t.Error(err)
				}
				if testKey.TagParts(9, data[:5], data[5:]) != want {
					t.Error("tag differs")
				}
			}
		})
	}
	wg.Wait()
}
