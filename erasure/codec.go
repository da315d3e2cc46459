package erasure

import (
	"fmt"
	"sync"

	"github.com/klauspost/reedsolomon"
)

// Codec computes and undoes the parity of stripes of one geometry, and of
// stripes that have fewer data blocks than it. It is safe for concurrent use
// and starts no goroutines.
//
// The parity of k' data blocks and m parity blocks is that of the Vandermonde
// matrix over GF(2^8) with polynomial 0x11D, rows 0 to k'+m-1 (row r, column c:
// r to the power c), times the inverse of its top k' rows: the default of
// klauspost/reedsolomon and of Backblaze. It is on-disk format. Where a stripe
// has one data block, every parity block is equal to it.
type Codec struct {
	g     Geometry
	codes [MaxData + 1]code // by k'
}

// code is the encoder for one k', made on first use.
type code struct {
	once sync.Once
	enc  reedsolomon.Encoder
}

// NewCodec returns a codec for g, or an error that wraps [ErrGeometry].
func NewCodec(g Geometry) (*Codec, error) {
	if err := g.Validate(); err != nil {
		return nil, err
	}
	return &Codec{g: g}, nil
}

// Geometry returns what the codec was made for.
func (c *Codec) Geometry() Geometry { return c.g }

// maxPatterns bounds the inverted matrices that an encoder may come to keep: a
// few MB at most. Beyond it (17+3 has 1350 ways to lose up to 3, 32+16 over
// 10^12) each Reconstruct inverts anew.
const maxPatterns = 10_000

func (c *Codec) encoder(k int) reedsolomon.Encoder {
	e := &c.codes[k]
	e.once.Do(func() {
		enc, err := reedsolomon.New(k, c.g.Parity,
			reedsolomon.WithMaxGoroutines(1), // callers run in parallel already
			reedsolomon.WithInversionCache(lossPatterns(k, c.g.Parity) <= maxPatterns))
		if err != nil {
			panic(fmt.Sprintf("erasure: %d+%d: %v", k, c.g.Parity, err)) // validated in NewCodec
		}
		e.enc = enc
	})
	return e.enc
}

// lossPatterns counts the ways to lose 1 to m of k+m blocks, or stops counting
// beyond maxPatterns.
func lossPatterns(k, m int) int {
	total, ways := 0, 1
	for i := 1; i <= m && total <= maxPatterns; i++ {
		ways = ways * (k + m - i + 1) / i
		total += ways
	}
	return total
}

// Encode computes the parity of a stripe. data holds its k' blocks, 1 to k of
// them; a block that is shorter than the longest counts as followed by zeros,
// and may be empty or nil. parity holds m slices, each as long as the longest
// block and not overlapping any other, and is overwritten. Nothing is kept and
// no block copied, but where k' = 1. Once warm the codec itself allocates
// nothing; the library's kernels take up to 0.9 KiB for their matrix once for
// each length at which a block ends.
//
// Anything else is [ErrBlocks], and then parity is untouched.
func (c *Codec) Encode(data, parity [][]byte) error {
	k := len(data)
	if k < 1 || k > c.g.Data || len(parity) != c.g.Parity {
		return fmt.Errorf("%w: %d data and %d parity blocks in a codec of %s", ErrBlocks, k, len(parity), c.g)
	}
	size := longest(data)
	for i, p := range parity {
		if len(p) != size {
			return fmt.Errorf("%w: parity block %d is %d bytes, the longest data block %d", ErrBlocks, i, len(p), size)
		}
	}
	if k == 1 {
		for _, p := range parity {
			copy(p, data[0])
		}
		return nil
	}
	if len(parity) == 0 {
		return nil
	}
	enc := c.encoder(k)
	s := stripes.Get().(*stripe)
	defer s.release()
	shards := s.shards[:k+len(parity)]
	for from := 0; from < size; {
		to := s.cut(data, from, size)
		for i, p := range parity {
			shards[k+i] = p[from:to]
		}
		if err := enc.Encode(shards); err != nil {
			return fmt.Errorf("%w: %v", ErrBlocks, err) // not reached: lengths are checked above
		}
		from = to
	}
	return nil
}

func longest(blocks [][]byte) int {
	size := 0
	for _, b := range blocks {
		size = max(size, len(b))
	}
	return size
}
