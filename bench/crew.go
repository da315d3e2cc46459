package bench

import (
	"errors"
	"io"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// crew runs fn in so many goroutines, with the goroutine's number and a count
// from 0 to n-1, until n is reached or the time is up, but at least once in each
// goroutine as far as n goes; zero means no limit of time. It returns how many
// calls succeeded, and what failed.
func crew(goroutines, n int, limit time.Duration, fn func(g, i int) error) (int64, error) {
	var next, done atomic.Int64
	var wg sync.WaitGroup
	begin := time.Now()
	errs := make([]error, goroutines)
	for g := range goroutines {
		wg.Go(func() {
			for first := true; first || limit == 0 || time.Since(begin) < limit; first = false {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if errs[g] = fn(g, i); errs[g] != nil {
					next.Store(int64(n))
					return
				}
				done.Add(1)
			}
		})
	}
	wg.Wait()
	return done.Load(), errors.Join(errs...)
}

// keys returns n keys of about 30 bytes, made beforehand so that making them is
// not measured.
func keys(prefix string, n int) []string {
	k := make([]string, n)
	for i := range k {
		d := strconv.Itoa(1_000_000_000 + i)
		k[i] = "dataset/" + prefix + "/" + d[1:]
	}
	return k
}

// noise returns n bytes that do not compress.
func noise(n int) []byte {
	p := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(p) // never fails
	return p
}

// budget is a number of bytes that many share.
type budget struct{ left atomic.Int64 }

// take returns how many of n bytes are left to take.
func (b *budget) take(n int64) int64 {
	left := b.left.Add(-n)
	return max(0, n+min(left, 0))
}

// repeat yields p over and over, n bytes in all or until the budget is used up.
type repeat struct {
	p  []byte
	n  int64
	b  *budget // nil: none
	at int
}

func (r *repeat) Read(q []byte) (int, error) {
	n := min(int64(len(q)), r.n, int64(len(r.p)-r.at))
	if r.b != nil {
		n = r.b.take(n)
	}
	if n == 0 {
		return 0, io.EOF
	}
	copy(q[:n], r.p[r.at:])
	r.at = (r.at + int(n)) % len(r.p)
	r.n -= n
	return int(n), nil
}

// sink counts what is written to it.
type sink struct{ n int64 }

func (s *sink) Write(p []byte) (int, error) {
	s.n += int64(len(p))
	return len(p), nil
}
