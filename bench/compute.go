package bench

import (
	"time"

	"github.com/zeebo/blake3"

	"github.com/cairnstore/cairn/engine"
	"github.com/cairnstore/cairn/erasure"
)

// computer does what a put must compute, and nothing else: content hash, parity,
// and the tags of all shards.
type computer struct {
	codec   *erasure.Codec
	key     *erasure.Key
	blocks  [][]byte
	columns int
	hasher  *blake3.Hasher
}

func newComputer(columns, block int) (*computer, error) {
	c := &computer{
		columns: columns,
		key:     erasure.NewKey(erasure.PoolID{1}, erasure.SegmentID{Epoch: 1, Counter: 1}, 0),
		blocks:  make([][]byte, columns+parity), hasher: blake3.New(),
	}
	for i := range c.blocks {
		c.blocks[i] = noise(block)
	}
	var err error
	c.codec, err = erasure.NewCodec(erasure.Geometry{Data: columns, Parity: parity})
	return c, err
}

// stripe computes parity and tags.
func (c *computer) stripe() error {
	if err := c.codec.Encode(c.blocks[:c.columns], c.blocks[c.columns:]); err != nil {
		return err
	}
	for _, p := range c.blocks {
		_ = c.key.Tag(0, p)
	}
	return nil
}

// computeFor returns how long all cores take, and how much CPU time, to compute
// what puts of the given size cost for so many bytes, of which so many share a
// group. It does so for about limit and reckons from that.
func computeFor(procs, size int, perGroup float64, bytes int64, limit time.Duration) (wall, cpu time.Duration, err error) {
	objects, columns, block := 1, data, 0
	if size <= engine.PackMax {
		objects = max(1, int(perGroup+0.5))
		payload := objects * size
		columns = min(max((payload+64<<10-1)/(64<<10), 1), data)
		block = (payload + columns - 1) / columns
	} else {
		block = min(erasure.FrameData, (size+data-1)/data)
	}
	object := noise(min(size, 1<<20))
	crews := make([]*computer, procs)
	for i := range crews {
		if crews[i], err = newComputer(columns, block); err != nil {
			return 0, 0, err
		}
	}
	// A task is one group, or one row of a stream with the hash of its bytes.
	task, each := objects*size, size
	if size > engine.PackMax {
		task, each = columns*block, 0
	}
	m, err := measure(nil, func() (int64, int64, error) {
		n, err := crew(procs, 1<<62, limit, func(g, _ int) error {
			c := crews[g]
			if each == 0 {
				c.hasher.Reset()
				for left := task; left > 0; left -= len(object) {
					_, _ = c.hasher.Write(object[:min(left, len(object))])
				}
			} else {
				for range objects {
					_ = blake3.Sum256(object)
				}
			}
			return c.stripe()
		})
		return n, n * int64(task), err
	})
	times := float64(bytes) / float64(max(m.Bytes, 1))
	return time.Duration(float64(m.Wall) * times), time.Duration(float64(m.CPU) * times), err
}
