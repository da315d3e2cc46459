package erasure

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
)

// geometries are those that the codec is compared with its twin on.
var geometries = []Geometry{{1, 0}, {4, 0}, {1, 1}, {2, 1}, {1, 2}, {2, 2}, {4, 2}, {8, 3}, {17, 3}, {32, 16}}

func newCodec(t testing.TB, g Geometry) *Codec {
	t.Helper()
	c, err := NewCodec(g)
	noError(t, err)
	equal(t, g, c.Geometry())
	return c
}

func randomBytes(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func makeBlocks(n, size int) [][]byte {
	b := make([][]byte, n)
	for i := range b {
		b[i] = make([]byte, size)
	}
	return b
}

// raggedBlocks returns k blocks of at most size bytes, one of exactly that,
// some equal in length, some empty.
func raggedBlocks(r *rand.Rand, k, size int) [][]byte {
	data := make([][]byte, k)
	for i := range data {
		n := size
		switch r.IntN(4) {
		case 0:
			n = r.IntN(size + 1)
		case 1:
			n = size - min(size, r.IntN(3))
		case 2:
			n = size / 2 * r.IntN(2)
		}
		data[i] = randomBytes(r, n)
	}
	full := r.IntN(k)
	data[full] = randomBytes(r, size)
	return data
}

func padded(b []byte, size int) []byte {
	return append(append(make([]byte, 0, size), b...), make([]byte, size-len(b))...)
}

func clone(blocks [][]byte) [][]byte {
	out := make([][]byte, len(blocks))
	for i, b := range blocks {
		if b != nil {
			out[i] = append([]byte{}, b...)
		}
	}
	return out
}

func TestEncodeMatchesTwin(t *testing.T) {
	for _, g := range geometries {
		t.Run(g.String(), func(t *testing.T) {
			c := newCodec(t, g)
			r := rand.New(rand.NewPCG(1, uint64(g.Data)))
			for k := 1; k <= g.Data; k++ {
				if g.Data == MaxData && k > 3 && k%7 != 4 {
					continue // sampled: 4, 11, 18, 25, 32
				}
				for _, size := range []int{1, 63, 64, 65, 1000} {
					data := raggedBlocks(r, k, size)
					before := clone(data)
					parity := makeBlocks(g.Parity, size)
					for _, p := range parity {
						p[0] = 0xA5 // must be overwritten, not added to
					}
					noError(t, c.Encode(data, parity))
					equal(t, before, data, "k'=%d size=%d: inputs changed", k, size)
					equal(t, twinEncode(data, g.Parity), parity, "k'=%d size=%d", k, size)
				}
			}
		})
	}
}

// A stripe that is longer than the shared zeros after its shorter blocks.
func TestEncodeLongMatchesTwin(t *testing.T) {
	for _, g := range []Geometry{{4, 2}, {12, 2}} {
		r := rand.New(rand.NewPCG(2, uint64(g.Data)))
		size := 2*len(zeros) + 5
		data := make([][]byte, g.Data)
		for i := range data {
			data[i] = randomBytes(r, size*i/(g.Data-1)/7)
			if i == g.Data-1 {
				data[i] = randomBytes(r, size)
			}
		}
		parity := makeBlocks(g.Parity, size)
		noError(t, newCodec(t, g).Encode(data, parity))
		equal(t, twinEncode(data, g.Parity), parity, g.String())
	}
	if zeros != [len(zeros)]byte{} {
		t.Fatal("the shared zeros were written")
	}
}

func TestOneDataBlockIsMirrored(t *testing.T) {
	for _, g := range geometries {
		c := newCodec(t, g)
		block := randomBytes(rand.New(rand.NewPCG(3, 0)), 4097)
		parity := makeBlocks(g.Parity, len(block))
		noError(t, c.Encode([][]byte{block}, parity))
		for i, p := range parity {
			equal(t, block, p, "%s parity %d", g, i)
		}
		equal(t, twinEncode([][]byte{block}, g.Parity), parity, "the matrix says the same")
	}
}

func TestEmptyStripe(t *testing.T) {
	c := newCodec(t, Geometry{4, 2})
	noError(t, c.Encode([][]byte{nil, {}}, [][]byte{nil, {}}))
	noError(t, c.Reconstruct([][]byte{{}, nil, {}, nil}, 0, []int{1, 3}, [][]byte{{}, nil}))
}

func TestEncodeRefusesShapes(t *testing.T) {
	c := newCodec(t, Geometry{2, 1})
	for name, b := range map[string][2][][]byte{
		"no data":          {{}, {{1}}},
		"too much data":    {{{1}, {1}, {1}}, {{1}}},
		"no parity":        {{{1}, {1}}, {}},
		"too much parity":  {{{1}, {1}}, {{1}, {1}}},
		"short parity":     {{{1, 2}, {1}}, {{1}}},
		"long parity":      {{{1}, {1}}, {{1, 2}}},
		"mirror too short": {{{1, 2}}, {{1}}},
	} {
		before := clone(b[1])
		errorIs(t, c.Encode(b[0], b[1]), ErrBlocks, name)
		equal(t, before, b[1], name)
	}
	_, err := NewCodec(Geometry{33, 1})
	errorIs(t, err, ErrGeometry)
}

func TestCodecConcurrently(t *testing.T) {
	c := newCodec(t, Geometry{8, 3})
	var wg sync.WaitGroup
	for seed := range 8 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(4, uint64(seed)))
			for k := 1; k <= 8; k++ {
				data := raggedBlocks(r, k, 700)
				parity := makeBlocks(3, 700)
				if err := c.Encode(data, parity); err != nil {
					t.Error(err)
				}
				if want := twinEncode(data, 3); fmt.Sprint(want) != fmt.Sprint(parity) {
					t.Errorf("seed %d k'=%d: parity differs", seed, k)
				}
				blocks := append(clone(data), parity...)
				blocks[0] = nil
				dst := make([]byte, 700)
				if err := c.Reconstruct(blocks, 700, []int{0}, [][]byte{dst}); err != nil {
					t.Error(err)
				}
				if string(dst) != string(padded(data[0], 700)) {
					t.Errorf("seed %d k'=%d: block 0 differs", seed, k)
				}
			}
		})
	}
	wg.Wait()
}
