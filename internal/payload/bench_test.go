package payload

import (
	"context"
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/erasure"
	"github.com/cairnstore/cairn/internal/segment"
)

// The limit: parity and tags of what a stream writes, on one core.
func BenchmarkEncodeAndSeal(b *testing.B) {
	for _, g := range geometries[2:4] {
		b.Run(fmt.Sprintf("k=%d/m=%d", g.Data, g.Parity), func(b *testing.B) {
			codec, err := erasure.NewCodec(g)
			require.NoError(b, err)
			w := newWindow(g, (4<<20)/erasure.RowBytes(g.Data))
			defer w.free()
			w.fill(content(1, int(w.capacity)))
			keys := make([]*erasure.Key, g.Shards())
			for i := range keys {
				keys[i] = erasure.NewKey(poolID, erasure.SegmentID{Epoch: 1}, i)
			}
			b.SetBytes(w.length)
			b.ReportAllocs()
			for b.Loop() {
				w.encoded = false
				if err := w.encode(codec); err != nil {
					b.Fatal(err)
				}
				for i, k := range keys {
					w.seal(i, k, segment.HeaderSize)
				}
			}
		})
	}
}

// rolling is a config for streams without end: files of the size of one object
// are removed as the segment rolls.
func benchStore(b *testing.B, g erasure.Geometry) (*pool, *Store) {
	p := memPool(g, g.Shards())
	return p, p.open(b, func(c *Config) {
		c.SegmentSize, c.Prealloc, c.WindowBytes, c.SyncBytes = 0, 0, 0, 0
		next := c.NewSegment
		var last *segment.Descriptor
		c.NewSegment = func(ctx context.Context) (*segment.Descriptor, error) {
			d, err := next(ctx)
			if err == nil && last != nil && last.ID.Counter > 2 {
				p.remove(last)
			}
			last = d
			return d, err
		}
	})
}

// remove deletes a segment's files.
func (p *pool) remove(d *segment.Descriptor) {
	p.set.Forget(d.ID)
	for shard := range d.Disks {
		dk, name := p.shardFile(d, shard)
		_ = dk.Remove(name)
	}
}

func BenchmarkStreamWrite(b *testing.B) {
	for _, g := range geometries[2:4] {
		for _, size := range []int{128 << 10, 1 << 20, 64 << 20} {
			b.Run(fmt.Sprintf("k=%d/m=%d/size=%dKiB", g.Data, g.Parity, size>>10), func(b *testing.B) {
				_, s := benchStore(b, g)
				data := content(1, 1<<20)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					st, err := s.NewStream(context.Background(), StreamOptions{})
					require.NoError(b, err)
					for left := size; left > 0; left -= len(data) {
						_, err := st.Write(data[:min(left, len(data))])
						require.NoError(b, err)
					}
					_, _, err = st.Finish()
					require.NoError(b, err)
				}
			})
		}
	}
}

func BenchmarkCopy(b *testing.B) {
	for _, lost := range []int{0, 2} {
		b.Run(fmt.Sprintf("k=4/m=2/size=64MiB/lost=%d", lost), func(b *testing.B) {
			p, s := benchStore(b, geometries[3])
			o := mustPut(b, s, content(1, 64<<20))
			for _, d := range p.disks[:lost] {
				d.Lose()
			}
			b.SetBytes(int64(len(o.data)))
			b.ReportAllocs()
			for b.Loop() {
				for _, e := range o.extents {
					_, err := s.Copy(context.Background(), io.Discard, o.descs[e.Segment], e, 0, e.Length)
					require.NoError(b, err)
				}
			}
		})
	}
}

func BenchmarkReadAt(b *testing.B) {
	_, s := benchStore(b, geometries[3])
	o := mustPut(b, s, content(1, 8<<20))
	e := o.extents[0]
	for _, n := range []int{4 << 10, 64 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("k=4/m=2/size=%dKiB", n>>10), func(b *testing.B) {
			p := make([]byte, n)
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				require.NoError(b, s.ReadAt(context.Background(), o.descs[e.Segment], e, p, 100_000))
			}
		})
	}
}
