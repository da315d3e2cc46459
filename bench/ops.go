package bench

import (
	"encoding/binary"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/cairnstore/cairn/engine"
)

// opRow is an operation on the index. Keys are counted.
type opRow struct {
	Name   string
	Rounds []sample
}

func (s *suite) ops() (err error) {
	st, err := newStore(s.ctx, s.Places, shards, s.store)
	if err != nil {
		return err
	}
	defer func() { err = firstOf(err, st.destroy()) }()
	names := keys("ops", s.list)
	if _, err := s.fill(st, names); err != nil {
		return err
	}
	list := func() (int64, int64, error) {
		n, begin := int64(0), time.Now()
		for n == 0 || time.Since(begin) < s.get {
			for _, err := range st.b.List(s.ctx, nil) {
				if err != nil {
					return n, 0, err
				}
				n++
			}
		}
		return n, 0, nil
	}
	head := func(goroutines int) work {
		return func() (int64, int64, error) {
			n, err := crew(goroutines, 1<<62, s.get, func(_, _ int) error {
				for range 16 {
					if _, err := st.b.Head(s.ctx, names[rand.IntN(len(names))], nil); err != nil {
						return err
					}
				}
				return nil
			})
			return 16 * n, 0, err
		}
	}
	many := func(each func(iter.Seq[string]) error) work {
		return func() (int64, int64, error) {
			n, begin := int64(0), time.Now()
			err := each(func(yield func(string) bool) {
				for time.Since(begin) < s.get {
					for range 64 {
						if n++; !yield(names[rand.IntN(len(names))]) {
							return
						}
					}
				}
			})
			return n, 0, err
		}
	}
	headMany := many(func(keys iter.Seq[string]) error {
		for _, err := range st.b.HeadMany(s.ctx, keys) {
			if err != nil {
				return err
			}
		}
		return nil
	})
	getMany := many(func(keys iter.Seq[string]) error {
		var w sink
		for o, err := range st.b.GetMany(s.ctx, keys, nil) {
			if err == nil {
				_, err = o.WriteTo(&w)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	// Each round deletes keys of its own: from the front, and from the end by
	// prefix.
	each := min(len(names)/(4*s.Rounds), s.puts/s.Rounds)
	left := names
	next := func() []string {
		some := left[:each]
		left = left[each:]
		return some
	}
	remove := func() (int64, int64, error) {
		some := next()
		n, err := crew(64, len(some), s.put, func(_, i int) error {
			_, err := st.b.Delete(s.ctx, some[i], nil)
			return err
		})
		return n, 0, err
	}
	removeMany := func() (int64, int64, error) {
		n := int64(0)
		for some := range slices.Chunk(next(), 1000) {
			items := make([]engine.DeleteItem, len(some))
			for i, key := range some {
				items[i].Key = key
			}
			results, err := st.b.DeleteMany(s.ctx, items)
			if err != nil {
				return n, 0, err
			}
			n += int64(len(results))
		}
		return n, 0, nil
	}
	prefix := opsPrefixes(len(names))
	removePrefix := func() (int64, int64, error) {
		r, err := st.b.DeletePrefix(s.ctx, prefix())
		if err != nil {
			return 0, 0, err
		}
		return r.Objects, 0, nil
	}
	for _, row := range []struct {
		name string
		run  work
	}{
		{"list", list}, {"head, 1", head(1)}, {"head, 8", head(8)}, {"head many", headMany}, {"get many of 100 B", getMany},
		{"delete, 64", remove}, {"delete many, 1,000 each", removeMany}, {"delete by prefix", removePrefix},
	} {
		r := opRow{Name: row.name}
		for n := range s.Rounds {
			if err := s.round("ops/"+row.name, n); err != nil {
				return err
			}
			m, err := s.profiled("ops/"+row.name, n, st, row.run)
			if err != nil {
				return fmt.Errorf("%s: %w", row.name, err)
			}
			r.Rounds = append(r.Rounds, m)
		}
		s.report.Ops = append(s.report.Ops, r)
	}
	return nil
}

// opsPrefixes returns what gives a new prefix with each call, each of as many of
// the n keys, the last ones first.
func opsPrefixes(n int) func() string {
	digits, size := 5, 10_000
	if n < 60_000 {
		digits, size = 7, 100
	}
	i := n / size
	return func() string {
		i--
		return fmt.Sprintf("dataset/ops/%0*d", digits, i)
	}
}

// fill puts an object of flatSize bytes under each name, no two of them equal.
func (s *suite) fill(st *store, names []string) (int64, error) {
	p := noise(flatSize * asyncWindow)
	return s.putAsync(st, names, func(i int) []byte {
		// Whoever had the place before has been waited for.
		at := i % asyncWindow * flatSize
		q := p[at : at+flatSize]
		binary.BigEndian.PutUint64(q, uint64(i))
		return q
	}, 0)
}
