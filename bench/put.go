package bench

import (
	"fmt"
	"math"
	"time"

	"github.com/cairnstore/cairn/engine"
)

var goroutines = []int{1, 8, 64}

// putRow is puts of one size from so many goroutines.
type putRow struct {
	Size, Goroutines, Procs int
	Rounds                  []putRound
}

// putRound is the engine and, for the same bytes, its limits.
type putRound struct {
	sample
	Disk    time.Duration // as many groups, raw
	Direct  bool          // with O_DIRECT
	Fresh   time.Duration // as Disk, into space that was never written; 0: not measured
	Compute time.Duration // hash, parity and tags, all cores

	ComputeCPU time.Duration // CPU time of that
}

// limit is the slower of the two.
func (r putRound) limit() time.Duration { return max(r.Disk, r.Compute) }

func (r putRound) ratio() float64 { return r.limit().Seconds() / r.Wall.Seconds() }

func (r putRound) diskRatio() float64 { return r.Disk.Seconds() / r.Wall.Seconds() }

// cpuRatio is the computing's share of the CPU time.
func (r putRound) cpuRatio() float64 { return r.ComputeCPU.Seconds() / r.CPU.Seconds() }

func (r putRow) name() string {
	return fmt.Sprintf("%s, %d", sizeName(int64(r.Size)), r.Goroutines)
}

// byDisk reports whether the disk was the slower limit in most rounds.
func (r putRow) byDisk() bool {
	n := 0
	for _, p := range r.Rounds {
		if p.Disk >= p.Compute {
			n++
		}
	}
	return 2*n >= len(r.Rounds)
}

func (s *suite) putMatrix() error {
	for _, size := range s.sizes {
		for _, g := range goroutines {
			name := fmt.Sprintf("put/%s/%d", rowSize(size), g)
			if !s.wants(name) {
				continue
			}
			row, err := s.putRow(name, size, g)
			if err != nil {
				return err
			}
			s.report.Puts = append(s.report.Puts, *row)
		}
	}
	return nil
}

// putRow measures in a store of its own, or what earlier rows left on the disks
// would take ever more space.
func (s *suite) putRow(name string, size, goroutines int) (_ *putRow, err error) {
	st, err := newStore(s.ctx, s.Places, shards, s.store)
	if err != nil {
		return nil, err
	}
	defer func() { err = firstOf(err, st.destroy()) }()
	row := &putRow{Size: size, Goroutines: goroutines, Procs: s.procs()}
	piece := noise(min(size, 4<<20))
	// A store that is new fills its first files with zeros.
	if _, err := s.putRound(st, piece, "warm", size, goroutines, true)(); err != nil {
		return nil, err
	}
	for n := range s.Rounds {
		if err := s.round(name, n); err != nil {
			return nil, err
		}
		var r putRound
		put := s.putRound(st, piece, fmt.Sprint("put", n), size, goroutines, false)
		r.sample, err = s.profiled(name, n, st, func() (int64, int64, error) {
			w, err := put()
			return w.Ops, w.Bytes, err
		})
		if err != nil {
			return nil, err
		}
		if err := s.putLimits(&r, size); err != nil {
			return nil, err
		}
		row.Rounds = append(row.Rounds, r)
	}
	return row, nil
}

// putRound prepares a round of puts of new keys. The largest objects are put
// until a budget of bytes is used up, and not until the time is up; where the
// goroutines together need more than the budget, their objects end with it.
func (s *suite) putRound(st *store, piece []byte, prefix string, size, goroutines int, warm bool) func() (sample, error) {
	limit, bytes := s.put, s.bytes
	shared := s.budgetFor(size, goroutines)
	if shared != nil || size == s.huge() {
		limit, bytes = 0, s.large
	}
	if warm {
		limit, bytes = limit/4, bytes/8
		if shared != nil {
			shared.left.Store(bytes)
		}
	}
	n := max(goroutines, min(s.puts, int(bytes/int64(size))))
	if warm {
		n = min(n, max(1, int(bytes/int64(size))))
	}
	names := keys(prefix, n)
	sources := make([]repeat, goroutines)
	done := make([]int64, goroutines)
	return func() (sample, error) {
		ops, err := crew(goroutines, n, limit, func(g, i int) error {
			var info *engine.ObjectInfo
			var err error
			if size <= len(piece) && shared == nil {
				info, err = st.b.PutBytes(s.ctx, names[i], piece, nil)
			} else {
				sources[g] = repeat{p: piece, n: int64(size), b: shared}
				info, err = st.b.Put(s.ctx, names[i], &sources[g], nil)
			}
			if err == nil {
				done[g] += info.Size
			}
			return err
		})
		var total int64
		for _, d := range done {
			total += d
		}
		return sample{Ops: ops, Bytes: total}, err
	}
}

// huge is the largest size.
func (s *suite) huge() int { return s.sizes[len(s.sizes)-1] }

// budgetFor returns what the goroutines of a round share, nil if each may have a
// whole object.
func (s *suite) budgetFor(size, goroutines int) *budget {
	if int64(size)*int64(goroutines) <= s.large {
		return nil
	}
	b := &budget{}
	b.left.Store(s.large)
	return b
}

// putLimits measures the limits for as many bytes and syncs as r took.
func (s *suite) putLimits(r *putRound, size int) (err error) {
	if size <= engine.PackMax {
		groups := max(r.Groups, 1)
		width := min(max(int64(math.Round(float64(r.Syncs)/float64(groups))), 1), shards)
		r.Disk, err = s.limits.groups(groups, width, r.Written/(groups*width))
	} else {
		r.Disk, err = s.limits.stream(r.Written, r.Syncs, false)
		if err == nil && s.limits.direct != nil {
			var d time.Duration
			if d, err = s.limits.stream(r.Written, r.Syncs, true); d < r.Disk {
				r.Disk, r.Direct = d, true
			}
		}
		if err == nil {
			r.Fresh, err = s.limits.fresh(r.Written, r.Syncs)
		}
	}
	if err == nil {
		r.Compute, r.ComputeCPU, err = computeFor(s.procs(), size, r.opsPerGroup(), r.Bytes, s.limit)
	}
	return err
}
