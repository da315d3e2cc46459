package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/engine"
)

func testStore(b *testing.B) *store {
	st, err := newStore(context.Background(), []string{b.TempDir()}, shards, engine.Options{})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, st.destroy()) })
	return st
}

// each runs fn for every size and number of goroutines that a benchmark has time
// for.
func each(b *testing.B, fn func(b *testing.B, size, goroutines int)) {
	for _, size := range sizes {
		for _, g := range goroutines {
			if size > 16<<20 || (size == 16<<20 && g > 8) {
				continue
			}
			b.Run(fmt.Sprintf("size=%s/goroutines=%d", rowSize(size), g), func(b *testing.B) {
				b.SetBytes(int64(size))
				b.ReportAllocs()
				fn(b, size, g)
			})
		}
	}
}

func BenchmarkPut(b *testing.B) {
	each(b, func(b *testing.B, size, goroutines int) {
		st := testStore(b)
		p := noise(size)
		names := keys("put", b.N)
		before := st.e.Metrics()
		b.ResetTimer()
		_, err := crew(goroutines, b.N, 0, func(_, i int) error {
			_, err := st.b.PutBytes(context.Background(), names[i], p, nil)
			return err
		})
		b.StopTimer()
		require.NoError(b, err)
		after := st.e.Metrics()
		b.ReportMetric(float64(b.N)/float64(after.Groups-before.Groups), "ops/group")
		b.ReportMetric(float64(after.Syncs-before.Syncs)/float64(b.N), "fdatasyncs/op")
	})
}

func BenchmarkGet(b *testing.B) {
	each(b, func(b *testing.B, size, goroutines int) {
		st := testStore(b)
		p := noise(size)
		names := keys("get", max(4, min(1000, 64<<20/size)))
		_, err := crew(8, len(names), 0, func(_, i int) error {
			_, err := st.b.PutBytes(context.Background(), names[i], p, nil)
			return err
		})
		require.NoError(b, err)
		set := &getSet{st: st, size: size, names: names}
		s := &suite{ctx: context.Background()}
		sinks := make([]sink, goroutines)
		b.ResetTimer()
		_, err = crew(goroutines, b.N, 0, func(g, _ int) error { return set.read(s, rand.IntN(len(names)), &sinks[g], nil) })
		b.StopTimer()
		require.NoError(b, err)
	})
}

// BenchmarkGetRange reads 64 KiB from anywhere in a large object.
func BenchmarkGetRange(b *testing.B) {
	st := testStore(b)
	const size = 256 << 20
	_, err := st.b.Put(context.Background(), "key", &repeat{p: noise(1 << 20), n: size}, nil)
	require.NoError(b, err)
	o, err := st.b.Get(context.Background(), "key", nil)
	require.NoError(b, err)
	defer o.Close()
	p := make([]byte, 64<<10)
	b.SetBytes(int64(len(p)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := o.ReadAt(p, rand.Int64N(size-int64(len(p)))); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkIndex looks up and lists keys.
func BenchmarkIndex(b *testing.B) {
	st := testStore(b)
	s := &suite{ctx: context.Background()}
	names := keys("index", 100_000)
	_, err := s.fill(st, names)
	require.NoError(b, err)
	b.Run("head", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := st.b.Head(context.Background(), names[rand.IntN(len(names))], nil); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("list", func(b *testing.B) {
		b.ReportAllocs()
		n := 0
		for b.Loop() {
			page, err := st.b.ListPage(context.Background(), &engine.ListPageOptions{
				ListOptions: engine.ListOptions{StartAfter: names[rand.IntN(len(names))]},
			})
			if err != nil {
				b.Fatal(err)
			}
			n += len(page.Objects)
		}
		b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "keys/s")
	})
}
