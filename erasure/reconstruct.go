package erasure

import "fmt"

// Reconstruct rebuilds blocks of a stripe from any k' others.
//
// blocks has k'+m entries in shard order, data first, so len(blocks)-m is k';
// nil is missing. size is the length of the longest data block, or of the
// range looked at: present data blocks may be shorter (zeros follow) and empty
// ones are present if they are not nil; present parity blocks are size bytes
// long. want lists the indexes to rebuild, each once, and dst has one buffer of
// size bytes for each, which overlaps no other. A wanted block that is present
// is copied, zeros after it.
//
// Inputs are not modified and nothing is kept. The same byte range of all
// blocks gives the same range of the result, so a part can be rebuilt from
// parts. The result is only as good as the inputs: they must be verified.
//
// Errors: [ErrTooFew] if fewer than k' blocks are present, [ErrBlocks] for
// shapes other than these; dst is untouched then.
func (c *Codec) Reconstruct(blocks [][]byte, size int, want []int, dst [][]byte) error {
	k := len(blocks) - c.g.Parity
	if err := c.checkReconstruct(blocks, k, size, want, dst); err != nil {
		return err
	}
	var missing bool
	for i, w := range want {
		if b := blocks[w]; b != nil {
			copyPadded(dst[i], b)
		} else if k == 1 {
			copyPadded(dst[i], firstPresent(blocks))
		} else {
			missing = true
		}
	}
	if !missing {
		return nil
	}
	enc := c.encoder(k)
	s := stripes.Get().(*stripe)
	defer s.release()
	shards := s.shards[:len(blocks)]
	var wanted [MaxData + MaxParity]bool
	for from := 0; from < size; {
		// Parity blocks take part in the cut: they are never short.
		to := s.cut(blocks, from, size)
		for i, w := range want {
			if blocks[w] == nil {
				wanted[w] = true
				// Empty with room: the encoder fills what has no length.
				shards[w] = dst[i][from:from:to]
			}
		}
		if err := enc.ReconstructSome(shards, wanted[:len(blocks)]); err != nil {
			return fmt.Errorf("%w: %v", ErrBlocks, err) // not reached: shapes are checked above
		}
		from = to
	}
	return nil
}

func (c *Codec) checkReconstruct(blocks [][]byte, k, size int, want []int, dst [][]byte) error {
	if k < 1 || k > c.g.Data {
		return fmt.Errorf("%w: %d blocks in a codec of %s", ErrBlocks, len(blocks), c.g)
	}
	if size < 0 || len(want) != len(dst) {
		return fmt.Errorf("%w: size %d, %d wanted, %d buffers", ErrBlocks, size, len(want), len(dst))
	}
	present := 0
	for i, b := range blocks {
		if b == nil {
			continue
		}
		present++
		if len(b) > size || i >= k && len(b) != size {
			return fmt.Errorf("%w: block %d of %d+%d is %d bytes, the longest %d", ErrBlocks, i, k, c.g.Parity, len(b), size)
		}
	}
	var seen [MaxData + MaxParity]bool
	for i, w := range want {
		if w < 0 || w >= len(blocks) || seen[w] {
			return fmt.Errorf("%w: block %d of %d wanted, or wanted twice", ErrBlocks, w, len(blocks))
		}
		seen[w] = true
		if len(dst[i]) != size {
			return fmt.Errorf("%w: buffer of %d bytes for a block of %d", ErrBlocks, len(dst[i]), size)
		}
	}
	if present < k {
		return fmt.Errorf("%w: %d of %d+%d are present, %d needed", ErrTooFew, present, k, c.g.Parity, k)
	}
	return nil
}

func firstPresent(blocks [][]byte) []byte {
	for _, b := range blocks {
		if b != nil {
			return b
		}
	}
	panic("erasure: no block present") // counted before
}

// copyPadded fills dst with src, which is no longer, and zeros.
func copyPadded(dst, src []byte) {
	clear(dst[copy(dst, src):])
}
