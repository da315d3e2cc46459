package bench

import (
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/cairnstore/cairn/engine"
	"github.com/cairnstore/cairn/erasure"
)

// getRow is gets of whole objects of one size, at random, from the page cache.
type getRow struct {
	Size, Goroutines, Procs int
	Rounds                  []getRound
}

// getRound is the engine, and reading the same pieces with and without
// verifying them.
type getRound struct {
	sample
	Read, Verify sample
}

func (r getRound) ratio() float64 { return r.megabytes() / r.Verify.megabytes() }

// cpuRatio is the same in CPU time, which a busy machine disturbs less.
func (r getRound) cpuRatio() float64 { return r.Verify.cpuPerGB() / r.cpuPerGB() }

func (r getRow) name() string { return fmt.Sprintf("%s, %d", sizeName(int64(r.Size)), r.Goroutines) }

func (s *suite) getMatrix() error {
	for _, size := range s.sizes {
		rows := map[int]string{}
		for _, g := range goroutines {
			if name := fmt.Sprintf("get/%s/%d", rowSize(size), g); s.wants(name) {
				rows[g] = name
			}
		}
		if len(rows) == 0 {
			continue
		}
		if err := s.getRows(size, rows); err != nil {
			return err
		}
	}
	return nil
}

// getSet is objects to read.
type getSet struct {
	st    *store
	size  int
	names []string
	span  int64 // bytes of all objects
}

// newGetSet fills a store with objects of one size, and reads them once.
func (s *suite) newGetSet(size int) (*getSet, error) {
	st, err := newStore(s.ctx, s.Places, shards, s.store)
	if err != nil {
		return nil, err
	}
	n := max(4, int(min(s.bytes/2, 16_384*int64(size))/int64(size)))
	if size == s.huge() {
		n = max(1, int(s.large/int64(size)))
	}
	set := &getSet{st: st, size: size, names: keys("get", n), span: int64(n) * int64(size)}
	piece := noise(min(size, 4<<20))
	_, err = crew(64, n, 0, func(_, i int) error {
		_, err := st.b.Put(s.ctx, set.names[i], &repeat{p: piece, n: int64(size)}, nil)
		return err
	})
	if err == nil {
		_, err = crew(2, n, 0, func(_, i int) error { return set.read(s, i, &sink{}, nil) })
	}
	if err != nil {
		return nil, errors.Join(err, st.destroy())
	}
	return set, nil
}

// read reads an object, or a range of it.
func (set *getSet) read(s *suite, i int, w *sink, opts *engine.GetOptions) error {
	o, err := set.st.b.Get(s.ctx, set.names[i], opts)
	if err != nil {
		return err
	}
	if _, err := o.WriteTo(w); err != nil {
		return err
	}
	return o.Close()
}

// round reads at random for one round. Where all goroutines together would read
// too much with one object each, they read as long ranges as come to that.
func (set *getSet) round(s *suite, goroutines int) work {
	sinks := make([]sink, goroutines)
	n, limit, length := 1<<40, s.get, int64(set.size)
	if most := s.large / int64(goroutines); length > most {
		n, limit, length = goroutines, 0, most
	} else if set.size == s.huge() {
		n, limit = max(goroutines, int(s.large/length)), 0
	}
	return func() (int64, int64, error) {
		ops, err := crew(goroutines, n, limit, func(g, _ int) error {
			var opts *engine.GetOptions
			if length < int64(set.size) {
				opts = &engine.GetOptions{Offset: rand.Int64N(int64(set.size) - length), Length: length}
			}
			return set.read(s, rand.IntN(len(set.names)), &sinks[g], opts)
		})
		var total int64
		for g := range sinks {
			total += sinks[g].n
		}
		return ops, total, err
	}
}

func (s *suite) getRows(size int, rows map[int]string) (err error) {
	set, err := s.newGetSet(size)
	if err != nil {
		return err
	}
	defer func() { err = firstOf(err, set.st.destroy()) }()
	for _, g := range goroutines {
		name, wanted := rows[g]
		if !wanted {
			continue
		}
		row := getRow{Size: size, Goroutines: g, Procs: s.procs()}
		for n := range s.Rounds {
			if err := s.round(name, n); err != nil {
				return err
			}
			r, err := s.getRound(name, n, set, g)
			if err != nil {
				return err
			}
			row.Rounds = append(row.Rounds, *r)
		}
		s.report.Gets = append(s.report.Gets, row)
	}
	return nil
}

func (s *suite) getRound(name string, n int, set *getSet, goroutines int) (*getRound, error) {
	var r getRound
	var err error
	if r.sample, err = s.profiled(name, n, set.st, set.round(s, goroutines)); err != nil {
		return nil, err
	}
	// A large object may be read on all cores, whoever asks.
	piece, readers := int64(set.size), goroutines
	if set.size > engine.PackMax {
		piece, readers = erasure.FrameSize, max(goroutines, s.procs())
	}
	if r.Read, err = s.limits.read(readers, piece, set.span, s.limit, false); err != nil {
		return nil, err
	}
	r.Verify, err = s.limits.read(readers, piece, set.span, s.limit, true)
	return &r, err
}
