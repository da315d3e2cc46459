package erasure

import "sync"

// zeros stands for the end of a block that is shorter than its stripe. It is
// never written.
var zeros [64 << 10]byte

// stripe is the scratch of one Encode or Reconstruct: a range of all shards.
type stripe struct {
	shards [MaxData + MaxParity][]byte
}

var stripes = sync.Pool{New: func() any { return new(stripe) }}

// release drops the references to the caller's blocks.
func (s *stripe) release() {
	clear(s.shards[:])
	stripes.Put(s)
}

// cut sets shards[:len(blocks)] to bytes [from, to) of the blocks and returns
// to, which is at most size. Every block either covers that range or has ended
// before it, and then zeros take its place: so nothing is copied to pad a short
// block. nil blocks stay empty.
func (s *stripe) cut(blocks [][]byte, from, size int) int {
	to := size
	ended := false
	for _, b := range blocks {
		if len(b) > from {
			to = min(to, len(b))
		} else {
			ended = ended || b != nil
		}
	}
	if ended {
		to = min(to, from+len(zeros))
	}
	for i, b := range blocks {
		switch {
		case len(b) > from:
			s.shards[i] = b[from:to:to]
		case b != nil:
			s.shards[i] = zeros[: to-from : to-from]
		default:
			s.shards[i] = nil
		}
	}
	return to
}
