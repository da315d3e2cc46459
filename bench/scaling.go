package bench

import (
	"fmt"
	"runtime"
)

// scaleRow is a row at so many cores.
type scaleRow struct {
	Procs int
	Puts  []putRow
	Gets  []getRow
}

// scaling repeats some rows with fewer cores, up to those that there are.
func (s *suite) scaling() error {
	all := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(all)
	for _, procs := range []int{1, 2, 4, 8, 16} {
		if procs > all {
			break
		}
		runtime.GOMAXPROCS(procs)
		row := scaleRow{Procs: procs}
		for _, c := range []struct{ size, goroutines int }{{s.sizes[0], 64}, {s.sizes[1], 64}, {s.sizes[3], 8}} {
			p, err := s.putRow(fmt.Sprintf("scaling/%d/put/%s", procs, rowSize(c.size)), c.size, c.goroutines)
			if err != nil {
				return err
			}
			row.Puts = append(row.Puts, *p)
		}
		for _, size := range []int{s.sizes[0], s.sizes[1], s.sizes[3]} {
			g, err := s.scalingGet(procs, size)
			if err != nil {
				return err
			}
			row.Gets = append(row.Gets, *g)
		}
		s.report.Scaling = append(s.report.Scaling, row)
	}
	return nil
}

func (s *suite) scalingGet(procs, size int) (_ *getRow, err error) {
	set, err := s.newGetSet(size)
	if err != nil {
		return nil, err
	}
	defer func() { err = firstOf(err, set.st.destroy()) }()
	row := &getRow{Size: size, Goroutines: 4 * procs, Procs: procs}
	for n := range s.Rounds {
		name := fmt.Sprintf("scaling/%d/get/%s", procs, rowSize(size))
		if err := s.round(name, n); err != nil {
			return nil, err
		}
		r, err := s.getRound(name, n, set, row.Goroutines)
		if err != nil {
			return nil, err
		}
		row.Rounds = append(row.Rounds, *r)
	}
	return row, nil
}
