package bench

import (
	"fmt"
	"time"

	"github.com/cairnstore/cairn/engine"
)

// asyncRow compares one goroutine that uses PutAsync with 64 that use Put.
type asyncRow struct {
	Size   int
	Rounds []asyncRound
}

type asyncRound struct {
	One, Many sample
}

func (r asyncRound) ratio() float64 { return r.One.opsPerSecond() / r.Many.opsPerSecond() }

const (
	asyncGoroutines = 64
	// asyncWindow is how many puts the one goroutine has on their way.
	asyncWindow = 256
)

func (s *suite) async() (err error) {
	st, err := newStore(s.ctx, s.Places, shards, s.store)
	if err != nil {
		return err
	}
	defer func() { err = firstOf(err, st.destroy()) }()
	row := asyncRow{Size: 4 << 10}
	piece := noise(row.Size)
	for n := range s.Rounds {
		if err := s.round("async", n); err != nil {
			return err
		}
		var r asyncRound
		put := s.putRound(st, piece, fmt.Sprint("many", n), row.Size, asyncGoroutines, false)
		if r.Many, err = s.profiled("async/many", n, st, func() (int64, int64, error) {
			w, err := put()
			return w.Ops, w.Bytes, err
		}); err != nil {
			return err
		}
		names := keys(fmt.Sprint("one", n), s.puts)
		if r.One, err = s.profiled("async/one", n, st, func() (int64, int64, error) {
			ops, err := s.putAsync(st, names, func(int) []byte { return piece }, s.put)
			return ops, ops * int64(len(piece)), err
		}); err != nil {
			return err
		}
		row.Rounds = append(row.Rounds, r)
	}
	s.report.Async = append(s.report.Async, row)
	return nil
}

// putAsync puts what content returns for 0, 1, ... under all names from this
// goroutine, with asyncWindow puts on their way, until limit is over; zero means
// no limit.
func (s *suite) putAsync(st *store, names []string, content func(i int) []byte, limit time.Duration) (int64, error) {
	began := time.Now()
	var window [asyncWindow]*engine.Pending
	begun, ended := 0, 0
	wait := func() error {
		_, err := window[ended%asyncWindow].Wait(s.ctx)
		ended++
		return err
	}
	for _, name := range names {
		if limit > 0 && time.Since(began) >= limit {
			break
		}
		if begun-ended == asyncWindow {
			if err := wait(); err != nil {
				return 0, err
			}
		}
		pending, err := st.b.PutAsync(s.ctx, name, content(begun), nil)
		if err != nil {
			return 0, err
		}
		window[begun%asyncWindow] = pending
		begun++
	}
	for ended < begun {
		if err := wait(); err != nil {
			return 0, err
		}
	}
	return int64(ended), nil
}
