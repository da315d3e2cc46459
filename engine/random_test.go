package engine

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/disk/faultdisk"
)

// TestBigRandomHistories runs random histories of mutations, power cuts, kills,
// closes, absent and returning disks, failing writes and flipped reads, never
// more of them at once than m, and compares with the model after each open and
// now and then. With -long it takes hours.
func TestBigRandomHistories(t *testing.T) {
	n := uint64(8)
	switch {
	case *long:
		n = 20_000
	case raceEnabled:
		n = 4
	}
	seen := map[string]int{}
	for _, g := range []struct{ k, m int }{{4, 2}, {2, 2}, {2, 1}, {1, 1}, {1, 0}, {3, 3}} {
		t.Run(fmt.Sprintf("%d+%d", g.k, g.m), func(t *testing.T) {
			for seed := range n {
				w := newWorld(t, g.k, g.m, seed)
				if seed%4 == 3 {
					w.keepIndex(t.TempDir())
				}
				require.NoError(t, w.live(8, seen), "seed %d", seed)
			}
		})
	}
	t.Log(seen)
	for _, what := range []string{"close", "kill", "power cut", "read-only", "writable", "drop", "no quorum", "returned"} {
		require.Positive(t, seen[what], "%s never happened", what)
	}
}

// life is one open of a random history.
type life struct {
	*world
	e       *Engine
	cut     int64          // operation at which the power goes; 0: it does not
	faulted []int          // disks that were given faults
	lost    []int          // those of them that were lost and may return
	seen    map[string]int // what happened, and how often
}

// live runs a history of some opens.
func (w *world) live(opens int, seen map[string]int) error {
	m := w.opts.Geometry.Parity
	for i := range opens {
		var absent []int
		if i > 0 {
			absent = w.some(m)
		}
		e, err := w.enter(absent...)
		if err != nil {
			return fmt.Errorf("open %d without %v: %w", i, absent, err)
		}
		l := &life{world: w, e: e, seen: seen}
		readOnly := e.Status().ReadOnly
		if err = w.model.check(e, readOnly); err == nil && !readOnly {
			err = l.work(absent)
		}
		if err != nil {
			_ = e.Close()
			return fmt.Errorf("open %d without %v, faults on %v: %w", i, absent, l.faulted, err)
		}
		seen[map[bool]string{true: "read-only", false: "writable"}[readOnly]]++
		l.end()
	}
	e, err := w.enter()
	if err != nil {
		return err
	}
	defer e.Close()
	if s := e.Status(); s.ReadOnly {
		return fmt.Errorf("read-only with all disks: %w", s.Reason)
	}
	return w.model.check(e, false)
}

// work runs mutations and faults.
func (l *life) work(absent []int) error {
	w := l.world
	budget := w.opts.Geometry.Parity - len(absent)
	if w.opts.Geometry.Shards() == 2 {
		budget = 0 // one disk that goes on alone promises nothing about its loss
	}
	if w.rand.IntN(2) == 0 {
		l.cut = w.machine.Ops() + 1 + w.rand.Int64N(400)
		w.machine.CutAt(l.cut)
	}
	g := newGenerator(w.rand, w.model)
	for range 5 + w.rand.IntN(25) {
		if budget > 0 && w.rand.IntN(8) == 0 {
			i := w.rand.IntN(len(w.mems))
			if !slices.Contains(absent, i) && !slices.Contains(l.faulted, i) {
				l.fault(i)
				budget--
			}
		}
		if len(l.lost) > 0 && w.rand.IntN(10) == 0 {
			w.faults[l.lost[0]].Return()
			l.lost = l.lost[1:]
			l.seen["returned"]++
		}
		s := g.next()
		if err := w.model.do(l.e, s); err != nil {
			if w.model.doubt == nil || !l.excused(err) {
				return fmt.Errorf("%v: %w", s, err)
			}
			break
		}
		w.mu.Lock()
		l.seen["drop"] += len(w.began)
		w.mu.Unlock()
		w.follow()
		if w.rand.IntN(12) == 0 {
			if err := w.model.check(l.e, false); err != nil && !l.dark() {
				return fmt.Errorf("while running: %w", err)
			}
		}
	}
	if w.model.doubt == nil && !l.dark() {
		if err := w.model.check(l.e, false); err != nil && !l.dark() {
			return fmt.Errorf("after all: %w", err)
		}
	}
	return nil
}

// fault gives a disk something to fail with.
func (l *life) fault(i int) {
	w, d := l.world, l.faults[i]
	l.faulted = append(l.faulted, i)
	eio := errors.New("input/output error")
	nth := 1 + w.rand.IntN(6)
	switch w.rand.IntN(7) {
	case 0, 1:
		d.Lose()
		l.lost = append(l.lost, i)
	case 2:
		d.Add(faultdisk.Rule{Ops: faultdisk.OpWrite, Nth: nth, Sticky: w.rand.IntN(2) == 0, Err: eio, Torn: w.rand.IntN(5000)})
	case 3:
		d.Add(faultdisk.Rule{Ops: faultdisk.OpSync, Nth: nth, Sticky: w.rand.IntN(2) == 0, Err: eio, After: w.rand.IntN(2) == 0})
	case 4:
		d.Add(faultdisk.Rule{Ops: faultdisk.OpCreate | faultdisk.OpExtend, Nth: 1 + nth%2, Sticky: true, Err: eio})
	case 5:
		d.Add(faultdisk.Rule{Ops: faultdisk.OpRead, Prob: 0.3, Flip: true})
	case 6:
		d.Add(faultdisk.Rule{Ops: faultdisk.OpRead | faultdisk.OpOpen, Prob: 0.3, Err: eio})
	}
}

// dark reports whether the power is off.
func (l *life) dark() bool { return l.cut > 0 && l.machine.Ops() >= l.cut }

// excused reports whether a mutation may fail with err: the power is off, or
// the faults leave too few disks.
func (l *life) excused(err error) bool {
	if l.dark() {
		return true
	}
	view := l.views[0]
	left := 0
	for _, name := range view {
		if !slices.ContainsFunc(l.faulted, func(i int) bool { return l.mems[i].String() == name }) {
			left++
		}
	}
	if errors.Is(err, ErrNoQuorum) && (2*left < len(view) || left < l.opts.Geometry.Parity+1) {
		l.seen["no quorum"]++
		return true
	}
	return false
}

// end ends the open in one way or another.
func (l *life) end() {
	w := l.world
	// A drop that was under way may have reached some labels.
	view := w.views[0]
	for n := 1; n < 1<<len(l.faulted); n++ {
		w.views = append(w.views, slices.DeleteFunc(slices.Clone(view), func(name string) bool {
			for j, i := range l.faulted {
				if n&(1<<j) != 0 && w.mems[i].String() == name {
					return true
				}
			}
			return false
		}))
	}
	how := []string{"close", "kill", "power cut"}[w.rand.IntN(3)]
	if l.dark() {
		how = "power cut"
	}
	l.seen[how]++
	switch how {
	case "close":
		_ = l.e.Close() // faults may show; nothing acknowledged depends on it
		if w.machine.CutAt(0); l.dark() {
			w.restart() // it went during the close
		}
	case "kill":
		w.machine = w.machine.Kill()
		w.mems = w.machine.Disks()
		_ = l.e.Close()
	case "power cut":
		w.machine.Cut()
		_ = l.e.Close()
		w.restart() // which may be a kill in mid-operation
	}
}
