package bench

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/cairnstore/cairn/engine"
)

// flatRow is what operations cost when the store holds so many objects.
type flatRow struct {
	Objects                  int
	Put, Get, Head, ListPage []sample
	Open                     []openTimes // after a clean close
	IndexBytes               float64     // of an object
}

const flatSize = 100 // bytes of an object

// longKeys returns n keys of 64 bytes, of which 40 are random: the index can
// make little of them.
func longKeys(n int) []string {
	k := make([]string, n)
	r := rand.NewChaCha8([32]byte{2})
	var p [20]byte
	for i := range k {
		_, _ = r.Read(p[:]) // never fails
		k[i] = fmt.Sprintf("dataset/flat/%010d/%x", i, p)
	}
	return k
}

// flatness fills one store in steps, and measures at each.
func (s *suite) flatness() (err error) {
	st, err := newStore(s.ctx, s.Places, shards, s.store)
	if err != nil {
		return err
	}
	defer func() { err = firstOf(err, st.destroy()) }()
	// What the rounds put is part of the fill, but for that of the last step.
	perRound := func(objects int) int { return max(objects/100, 100) }
	most := 0
	for _, objects := range s.flat {
		most = max(most, objects) + s.Rounds*perRound(objects)
	}
	names := longKeys(most)
	filled := 0
	for _, objects := range s.flat {
		s.Log("flat: filling up to %d objects", objects)
		if objects > filled {
			n, err := s.fill(st, names[filled:objects])
			if err != nil {
				return err
			}
			filled += int(n)
		}
		row := flatRow{Objects: objects}
		for n := range s.Rounds {
			name := fmt.Sprintf("flat/%d", objects)
			if err := s.round(name, n); err != nil {
				return err
			}
			if err := s.flatRound(name, n, st, &row, names[:filled]); err != nil {
				return err
			}
			before := filled
			m, err := s.profiled(name+"-put", n, st, func() (int64, int64, error) {
				var pieces [64][flatSize]byte
				n, err := crew(64, perRound(objects), 0, func(g, i int) error {
					binary.BigEndian.PutUint64(pieces[g][:], uint64(before+i))
					_, err := st.b.PutBytes(s.ctx, names[before+i], pieces[g][:], nil)
					return err
				})
				return n, n * flatSize, err
			})
			if err != nil {
				return err
			}
			filled += int(m.Ops)
			row.Put = append(row.Put, m)
			o, err := s.reopen(st)
			if err != nil {
				return err
			}
			row.Open = append(row.Open, *o)
		}
		size, err := st.indexBytes()
		if err != nil {
			return err
		}
		row.IndexBytes = float64(size) / float64(filled)
		s.report.Flat = append(s.report.Flat, row)
	}
	return nil
}

// flatRound measures reads at random.
func (s *suite) flatRound(name string, n int, st *store, row *flatRow, names []string) error {
	const batch = 16
	reads := func(op func(key string) error) work {
		return func() (int64, int64, error) {
			n, err := crew(1, 1<<62, s.get/2, func(_, _ int) error {
				for range batch {
					if err := op(names[rand.IntN(len(names))]); err != nil {
						return err
					}
				}
				return nil
			})
			return n * batch, n * batch * flatSize, err
		}
	}
	var w sink
	for _, m := range []struct {
		name string
		into *[]sample
		op   func(key string) error
	}{
		{"get", &row.Get, func(key string) error {
			o, err := st.b.Get(s.ctx, key, nil)
			if err != nil {
				return err
			}
			if _, err := o.WriteTo(&w); err != nil {
				return err
			}
			return o.Close()
		}},
		{"head", &row.Head, func(key string) error {
			_, err := st.b.Head(s.ctx, key, nil)
			return err
		}},
		{"list", &row.ListPage, func(key string) error {
			_, err := st.b.ListPage(s.ctx, &engine.ListPageOptions{ListOptions: engine.ListOptions{StartAfter: key}})
			return err
		}},
	} {
		got, err := s.profiled(name+"-"+m.name, n, st, reads(m.op))
		if err != nil {
			return err
		}
		*m.into = append(*m.into, got)
	}
	return nil
}

// reopen closes the store, which is not measured, and opens it.
func (s *suite) reopen(st *store) (*openTimes, error) {
	if err := st.close(); err != nil {
		return nil, err
	}
	begin, cpu := time.Now(), processTime()
	if err := st.open(s.ctx); err != nil {
		return nil, err
	}
	return &openTimes{Wall: time.Since(begin), CPU: processTime() - cpu, Replayed: st.e.Metrics().Replayed}, nil
}
