package bench

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/engine"
)

// BenchmarkPut puts new keys. It reports the groups and the fdatasyncs that a
// put costs, the bytes on disk per byte stored, and how many times as long it
// takes as the same groups written raw.
func BenchmarkPut(b *testing.B) {
	each(b, func(b *testing.B, size, goroutines int) {
		s := newStore(b)
		p := payload(size)
		before := s.e.Metrics()
		b.ResetTimer()
		spread(b, goroutines, b.N, func(i int) error {
			_, err := s.b.Put(context.Background(), fmt.Sprintf("key/%09d", i), bytes.NewReader(p), nil)
			return err
		})
		b.StopTimer()
		after := s.e.Metrics()
		took := b.Elapsed()
		n := float64(b.N)
		groups, syncs, written := after.Groups-before.Groups, after.Syncs-before.Syncs, after.BytesWritten-before.BytesWritten
		b.ReportMetric(n/float64(groups), "objects/group")
		b.ReportMetric(float64(syncs)/n, "fdatasyncs/op")
		b.ReportMetric(float64(written)/n/float64(size), "written/stored")
		b.ReportMetric(n/took.Seconds(), "objects/s")
		if size <= engine.PackMax {
			// Rounds of as many files and bytes as the groups were.
			shards := min(max(int(syncs/max(groups, 1)), parity+1), data+parity)
			raw := rawWrites(b, s.dirs, int(groups), shards, written/groups/int64(shards))
			b.ReportMetric(took.Seconds()/raw.Seconds(), "x-raw")
		} else {
			// 8 MiB of a stream at once, as its syncs go.
			total := written / (data + parity)
			piece := min(int64(8<<20)/data, int64(size)/data)
			raw := rawWrites(b, s.dirs, int(max(total/piece, 1)), data+parity, piece)
			b.ReportMetric(took.Seconds()/raw.Seconds(), "x-raw")
		}
	})
}

// BenchmarkStream puts and reads back one object of 1 GiB.
func BenchmarkStream(b *testing.B) {
	const size = 1 << 30
	s := newStore(b)
	p := payload(1 << 20)
	for _, name := range []string{"in", "out"} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(size)
			for b.Loop() {
				if name == "in" {
					_, err := s.b.Put(context.Background(), "stream", &repeat{p: p, n: size}, nil)
					require.NoError(b, err)
					continue
				}
				o, err := s.b.Get(context.Background(), "stream", nil)
				require.NoError(b, err)
				n, err := o.WriteTo(discard{})
				require.NoError(b, err)
				require.EqualValues(b, size, n)
				require.NoError(b, o.Close())
			}
		})
	}
}
