package erasure

import (
	"math/bits"
	"math/rand/v2"
	"testing"
)

// checkRebuild loses the blocks in lost, rebuilds all of them and compares.
func checkRebuild(t *testing.T, c *Codec, whole [][]byte, size int, lost uint64) {
	t.Helper()
	blocks := clone(whole)
	var want []int
	for i := range blocks {
		if lost>>i&1 != 0 {
			blocks[i] = nil
			want = append(want, i)
		}
	}
	before := clone(blocks)
	dst := makeBlocks(len(want), size)
	for _, d := range dst {
		for i := range d {
			d[i] = 0xA5
		}
	}
	noError(t, c.Reconstruct(blocks, size, want, dst))
	equal(t, before, blocks, "inputs changed")
	for i, w := range want {
		equal(t, padded(whole[w], size), dst[i], "%s: block %d of %d, lost %b", c.Geometry(), w, len(blocks), lost)
	}
}

// Every set of at most m lost blocks comes back, for every k' up to 4+2's and a
// sample of the larger ones.
func TestReconstruct(t *testing.T) {
	for _, g := range geometries {
		t.Run(g.String(), func(t *testing.T) {
			c := newCodec(t, g)
			r := rand.New(rand.NewPCG(5, uint64(g.Data)))
			for k := 1; k <= g.Data; k++ {
				if g.Data == MaxData && k%7 != 4 {
					continue
				}
				n := k + g.Parity
				size := 1 + r.IntN(300)
				whole := raggedBlocks(r, k, size)
				whole = append(whole, twinEncode(whole, g.Parity)...)
				if n <= 8 {
					for lost := range uint64(1) << n {
						if bits.OnesCount64(lost) <= g.Parity {
							checkRebuild(t, c, whole, size, lost)
						}
					}
					continue
				}
				for range 40 {
					var lost uint64
					for range r.IntN(g.Parity + 1) {
						lost |= 1 << r.IntN(n)
					}
					checkRebuild(t, c, whole, size, lost)
				}
			}
		})
	}
}

// Any k' of the blocks do, not only the first that are there; and what is not
// wanted is not built.
func TestReconstructFromExactlyK(t *testing.T) {
	c := newCodec(t, Geometry{4, 2})
	r := rand.New(rand.NewPCG(6, 0))
	whole := raggedBlocks(r, 4, 500)
	whole = append(whole, twinEncode(whole, 2)...)
	for lost := range uint64(1) << 6 {
		if bits.OnesCount64(lost) != 2 {
			continue
		}
		for want := range whole {
			blocks := clone(whole)
			for i := range blocks {
				if lost>>i&1 != 0 {
					blocks[i] = nil
				}
			}
			dst := makeBlocks(1, 500)
			noError(t, c.Reconstruct(blocks, 500, []int{want}, dst))
			equal(t, padded(whole[want], 500), dst[0], "block %d, lost %06b", want, lost)
		}
	}
}

// The same range of all blocks gives the same range of the lost one.
func TestReconstructRange(t *testing.T) {
	c := newCodec(t, Geometry{4, 2})
	r := rand.New(rand.NewPCG(7, 0))
	const size = 3000
	whole := raggedBlocks(r, 3, size)
	whole = append(whole, twinEncode(whole, 2)...)
	for range 300 {
		from := r.IntN(size)
		to := from + 1 + r.IntN(size-from)
		blocks := make([][]byte, len(whole))
		for i, b := range whole {
			blocks[i] = b[min(from, len(b)):min(to, len(b))]
		}
		lost, other := r.IntN(5), r.IntN(5)
		blocks[lost], blocks[other] = nil, nil
		dst := makeBlocks(1, to-from)
		noError(t, c.Reconstruct(blocks, to-from, []int{lost}, dst))
		equal(t, padded(whole[lost], size)[from:to], dst[0], "[%d, %d) of block %d", from, to, lost)
	}
}

// What the codec of a wider geometry rebuilds does not depend on what it
// rebuilt before: cached inversions belong to their own k'.
func TestReconstructChecksEveryAnswer(t *testing.T) {
	c := newCodec(t, Geometry{17, 3})
	r := rand.New(rand.NewPCG(8, 0))
	for range 200 {
		k := 1 + r.IntN(17)
		size := 1 + r.IntN(100)
		whole := raggedBlocks(r, k, size)
		parity := makeBlocks(3, size)
		noError(t, c.Encode(whole, parity))
		whole = append(whole, parity...)
		var lost uint64
		for range 3 {
			lost |= 1 << r.IntN(k+3)
		}
		checkRebuild(t, c, whole, size, lost)
	}
}

// A wanted block that is present is copied to its full size.
func TestReconstructCopiesWhatIsThere(t *testing.T) {
	c := newCodec(t, Geometry{3, 1})
	data := [][]byte{{1, 2, 3}, {4}, {}}
	blocks := append(clone(data), twinEncode(data, 1)...)
	lost := blocks[0]
	blocks[0] = nil
	dst := [][]byte{{9, 9, 9}, {9, 9, 9}, {9, 9, 9}}
	noError(t, c.Reconstruct(blocks, 3, []int{2, 0, 1}, dst))
	equal(t, [][]byte{{0, 0, 0}, lost, {4, 0, 0}}, dst)
	// Blocks of a mirror are copied from whichever is there.
	dst = [][]byte{{9, 9}, {9, 9}}
	noError(t, c.Reconstruct([][]byte{nil, {5, 6}}, 2, []int{0, 1}, dst))
	equal(t, [][]byte{{5, 6}, {5, 6}}, dst)
}

func TestReconstructRefuses(t *testing.T) {
	c := newCodec(t, Geometry{3, 2})
	b := func() []byte { return []byte{1, 2} }
	for name, tc := range map[string]struct {
		blocks [][]byte
		want   []int
		dst    [][]byte
		err    error
	}{
		"one short":     {[][]byte{b(), nil, nil, nil, b()}, []int{1}, [][]byte{b()}, ErrTooFew},
		"none":          {[][]byte{nil, nil, nil}, []int{0}, [][]byte{b()}, ErrTooFew},
		"short, wanted": {[][]byte{b(), nil, nil, nil}, []int{0}, [][]byte{b()}, ErrTooFew},
		"only parity":   {[][]byte{b(), b()}, []int{0}, [][]byte{b()}, ErrBlocks},
		"too many":      {[][]byte{b(), b(), b(), b(), b(), b()}, []int{0}, [][]byte{b()}, ErrBlocks},
		"long data":     {[][]byte{{1, 2, 3}, nil, b(), b()}, []int{1}, [][]byte{b()}, ErrBlocks},
		"short parity":  {[][]byte{b(), nil, {1}, b()}, []int{1}, [][]byte{b()}, ErrBlocks},
		"want outside":  {[][]byte{b(), nil, b(), b()}, []int{4}, [][]byte{b()}, ErrBlocks},
		"want negative": {[][]byte{b(), nil, b(), b()}, []int{-1}, [][]byte{b()}, ErrBlocks},
		"want twice":    {[][]byte{b(), nil, b(), b()}, []int{1, 1}, [][]byte{b(), b()}, ErrBlocks},
		"no buffer":     {[][]byte{b(), nil, b(), b()}, []int{1}, nil, ErrBlocks},
		"short buffer":  {[][]byte{b(), nil, b(), b()}, []int{1}, [][]byte{{7}}, ErrBlocks},
	} {
		before := clone(tc.dst)
		errorIs(t, c.Reconstruct(tc.blocks, 2, tc.want, tc.dst), tc.err, name)
		if tc.dst != nil {
			equal(t, before, tc.dst, name)
		}
	}
	errorIs(t, c.Reconstruct([][]byte{b(), nil, b(), b()}, -1, nil, nil), ErrBlocks)
}

// FuzzCodec encodes what it is given in blocks cut at arbitrary places, loses
// some and wants them back.
func FuzzCodec(f *testing.F) {
	f.Add(uint8(4), uint8(2), uint64(0b100001), []byte("some bytes that end in the middle of a block"))
	f.Add(uint8(1), uint8(1), uint64(1), []byte("x"))
	f.Add(uint8(32), uint8(16), uint64(0xFFFF), make([]byte, 200))
	f.Fuzz(func(t *testing.T, k, m uint8, lost uint64, data []byte) {
		g := Geometry{Data: int(k), Parity: int(m)}
		c, err := NewCodec(g)
		if err != nil {
			errorIs(t, g.Validate(), ErrGeometry)
			return
		}
		data = data[:min(len(data), 2000)] // the twin is slow
		whole := make([][]byte, 0, g.Shards())
		for i := range g.Data {
			cut := len(data)
			if i < g.Data-1 {
				cut = int(lost>>(i%8)) % (len(data) + 1)
			}
			whole = append(whole, append([]byte{}, data[:cut]...))
			data = data[cut:]
		}
		size := longest(whole)
		parity := makeBlocks(g.Parity, size)
		noError(t, c.Encode(whole, parity))
		equal(t, twinEncode(whole, g.Parity), parity)
		whole = append(whole, parity...)
		lost &= 1<<len(whole) - 1
		for bits.OnesCount64(lost) > g.Parity {
			lost &= lost - 1
		}
		checkRebuild(t, c, whole, size, lost)
	})
}
