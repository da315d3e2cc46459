package bench

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// repeat yields p over and over, n bytes in all.
type repeat struct {
	p  []byte
	n  int64
	at int
}

func (r *repeat) Read(q []byte) (int, error) {
	if r.n == 0 {
		return 0, io.EOF
	}
	n := copy(q[:min(int64(len(q)), r.n)], r.p[r.at:])
	r.at = (r.at + n) % len(r.p)
	r.n -= int64(n)
	return n, nil
}

// discard is io.Discard without its ReadFrom.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// BenchmarkGet reads whole objects at random, from the page cache: it measures
// what the engine adds, verification included.
func BenchmarkGet(b *testing.B) {
	each(b, func(b *testing.B, size, goroutines int) {
		s := newStore(b)
		p := payload(size)
		keys := max(4, min(1000, 64<<20/size))
		spread(b, 8, keys, func(i int) error {
			_, err := s.b.PutBytes(context.Background(), fmt.Sprintf("key/%09d", i), p, nil)
			return err
		})
		b.ResetTimer()
		spread(b, goroutines, b.N, func(int) error {
			o, err := s.b.Get(context.Background(), fmt.Sprintf("key/%09d", rand.IntN(keys)), nil)
			if err != nil {
				return err
			}
			if _, err := o.WriteTo(discard{}); err != nil {
				return err
			}
			return o.Close()
		})
		b.StopTimer()
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "objects/s")
	})
}

// BenchmarkGetRange reads 64 KiB from anywhere in a large object.
func BenchmarkGetRange(b *testing.B) {
	s := newStore(b)
	const size = 256 << 20
	_, err := s.b.Put(context.Background(), "key", &repeat{p: payload(1 << 20), n: size}, nil)
	require.NoError(b, err)
	o, err := s.b.Get(context.Background(), "key", nil)
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
