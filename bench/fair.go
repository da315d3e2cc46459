package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// fairRow is puts of 4 KiB alone and beside one large stream, by the engine or
// raw.
type fairRow struct {
	Name   string
	Rounds []fairRound
}

type fairRound struct {
	Alone, Beside latencies
	Stream        float64 // MB/s of object bytes, or of raw bytes
}

func (r fairRound) ratio() float64 {
	return float64(r.Beside.P99) / float64(max(r.Alone.P99, 1))
}

type latencies struct {
	N        int
	P50, P99 time.Duration
}

func latenciesOf(all [][]time.Duration) latencies {
	d := slices.Concat(all...)
	slices.Sort(d)
	return latencies{N: len(d), P50: quantile(d, 0.5), P99: quantile(d, 0.99)}
}

func (s *suite) fairness() (err error) {
	for _, goroutines := range []int{1, 8} {
		if err := s.fairRow(fmt.Sprintf("put 4 KiB, %d", goroutines), goroutines); err != nil {
			return err
		}
	}
	return nil
}

func (s *suite) fairRow(name string, goroutines int) (err error) {
	st, err := newStore(s.ctx, s.Places, shards, s.store)
	if err != nil {
		return err
	}
	defer func() { err = firstOf(err, st.destroy()) }()
	piece := noise(4 << 20)
	small := piece[:4<<10]
	row := fairRow{Name: name}
	raw := fairRow{Name: fmt.Sprintf("write and fdatasync of 4 KiB in 3 files, raw, %d", goroutines)}
	names := keys("fair", 1<<16)
	var used atomic.Int64
	put := func(int) error {
		_, err := st.b.PutBytes(s.ctx, names[int(used.Add(1))%len(names)], small, nil)
		return err
	}
	stream := func(ctx context.Context, n *atomic.Int64) error {
		for ctx.Err() == nil {
			src := &counted{repeat: repeat{p: piece, n: 256 << 20}, n: n}
			if _, err := st.b.Put(ctx, "stream", src, nil); err != nil && !errors.Is(err, context.Canceled) {
				return err
			}
		}
		return nil
	}
	for n := range s.Rounds {
		if err := s.round("fair/"+name, n); err != nil {
			return err
		}
		r, err := s.fairRound(goroutines, put, stream)
		if err != nil {
			return err
		}
		row.Rounds = append(row.Rounds, *r)
		if goroutines == 1 {
			if r, err = s.fairRound(1, s.rawPut, s.rawStream); err != nil {
				return err
			}
			raw.Rounds = append(raw.Rounds, *r)
		}
	}
	s.report.Fair = append(s.report.Fair, row)
	if len(raw.Rounds) > 0 {
		s.report.Fair = append(s.report.Fair, raw)
	}
	return nil
}

// counted counts what is read.
type counted struct {
	repeat
	n *atomic.Int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.repeat.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// fairRound measures put alone and then beside stream, which runs until its
// context ends.
func (s *suite) fairRound(goroutines int, put func(g int) error, stream func(context.Context, *atomic.Int64) error) (*fairRound, error) {
	var r fairRound
	timed := func() (latencies, error) {
		all := make([][]time.Duration, goroutines)
		_, err := crew(goroutines, 1<<62, s.fair, func(g, _ int) error {
			begin := time.Now()
			err := put(g)
			all[g] = append(all[g], time.Since(begin))
			return err
		})
		return latenciesOf(all), err
	}
	var err error
	if r.Alone, err = timed(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	var n atomic.Int64
	var wg sync.WaitGroup
	var failed error
	wg.Go(func() { failed = stream(ctx, &n) })
	begin := time.Now()
	r.Beside, err = timed()
	r.Stream = float64(n.Load()) / 1e6 / time.Since(begin).Seconds()
	cancel()
	wg.Wait()
	return &r, errors.Join(err, failed)
}

// rawPut is what a lone put costs the disks.
func (s *suite) rawPut(int) error {
	_, err := s.limits.groups(1, parity+1, 8<<10)
	return err
}

// rawStream writes as streams are written: a sync for every 8 MiB of object.
// It has files of its own.
func (s *suite) rawStream(ctx context.Context, n *atomic.Int64) (err error) {
	r, err := newRaw(s.Places, min(s.rawFile, 32<<20))
	if err != nil {
		return err
	}
	defer func() { err = firstOf(err, r.close()) }()
	const step = 48 << 20
	for ctx.Err() == nil {
		if _, err := r.stream(step, 4*shards, r.direct != nil); err != nil {
			return err
		}
		n.Add(step)
	}
	return nil
}
