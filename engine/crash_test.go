package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/disk/faultdisk"
	"github.com/cairnstore/cairn/disk/memdisk"
)

// world is a pool whose power is cut again and again, and what it must hold.
type world struct {
	*rig
	model *model
	rand  *rand.Rand

	mu    sync.Mutex
	names map[string]string // of disks, by id
	// views are the memberships of which one is in force: by names.
	views [][]string
	began [][]string // since the open under way

	index func() // called before each open
}

func newWorld(t testing.TB, k, m int, seed uint64) *world {
	w := &world{rig: newRig(t, k, m), model: newModel(), rand: rand.New(rand.NewPCG(seed, 2)), names: map[string]string{}}
	w.opts.LogSegmentSize, w.opts.LogAhead, w.opts.PayloadSegmentSize, w.opts.PayloadAhead = 256<<10, 32<<10, 1<<20, 128<<10
	w.opts.Rand = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(k), byte(m)})
	w.opts.Events.EpochBegan = func(i EpochInfo) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.began = append(w.began, i.Disks)
	}
	return w
}

// enter opens the store without the absent disks and checks what it says. The
// error is the power's, or says what is wrong.
func (w *world) enter(absent ...int) (*Engine, error) {
	var present []string
	for i, d := range w.mems {
		if !slices.Contains(absent, i) {
			present = append(present, d.String())
		}
	}
	w.mu.Lock()
	w.began = nil
	w.mu.Unlock()
	if w.index != nil {
		w.index()
	}
	before := w.views
	w.views = append(w.views, present) // whatever comes of this open
	e, err := w.tryOpen(context.Background(), absent...)
	if err != nil {
		return nil, err
	}
	s := e.Status()
	for _, d := range s.Disks {
		if d.Name != "" {
			w.names[d.ID] = d.Name
		}
	}
	w.follow()
	if !s.ReadOnly || errors.Is(s.Reason, ErrNoQuorum) && len(present) <= w.opts.Geometry.Parity && len(w.mems) > 2 {
		return e, nil
	}
	for _, v := range before {
		n := 0
		for _, name := range v {
			if slices.Contains(present, name) {
				n++
			}
		}
		if 2*n <= len(v) {
			return e, nil
		}
	}
	_ = e.Close()
	return nil, fmt.Errorf("read-only with %v present of views %v: %w", present, before, s.Reason)
}

// follow takes notice of the epochs that came into force.
func (w *world) follow() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, ids := range w.began {
		var v []string
		for _, id := range ids {
			v = append(v, w.names[id])
		}
		w.views = [][]string{v}
	}
	w.began = nil
}

// some returns a random choice of at most n disks.
func (w *world) some(n int) []int { return w.rand.Perm(len(w.mems))[:w.rand.IntN(n+1)] }

// restart cuts the power. Or it is only the process that dies, and what was not
// synced is still there, until the power goes some other time.
func (w *world) restart() {
	if w.rand.IntN(3) > 0 {
		w.rig.restart(w.rand)
		return
	}
	w.machine = w.machine.Kill()
	w.mems = w.machine.Disks()
}

// survive opens the store after a power cut without the absent disks, and
// compares it with the model. The power may go again meanwhile.
func (w *world) survive(absent ...int) (*Engine, error) {
	if w.rand.IntN(3) == 0 {
		cut := w.machine.Ops() + 1 + w.rand.Int64N(40)
		w.machine.CutAt(cut)
		e, err := w.enter(w.some(w.opts.Geometry.Parity)...)
		if err == nil {
			err = w.model.check(e, true)
			_ = e.Close()
		}
		// Once the power is off, whatever it says is said to nobody.
		if err != nil && w.machine.Ops() < cut {
			return nil, fmt.Errorf("open before a power cut: %w", err)
		}
		w.restart()
	}
	e, err := w.enter(absent...)
	if err != nil {
		return nil, err
	}
	if err := w.model.check(e, e.Status().ReadOnly); err != nil {
		_ = e.Close()
		return nil, err
	}
	return e, nil
}

// isPower reports whether err comes of the power cut.
func isPower(err error) bool { return errorsIsAny(err, memdisk.ErrPower, ErrNoQuorum) }

// crashAt runs a history until the power goes at operation cut, and two more
// crashes after it. done reports that the history was over before.
func crashAt(w *world, steps []*step, cut int64) (done bool, err error) {
	m := w.opts.Geometry.Parity
	w.machine.CutAt(cut)
	e, err := w.enter()
	if err == nil {
		for _, s := range steps {
			if err = w.model.do(e, s); err != nil {
				break
			}
		}
		done = err == nil
		if !done && !isPower(err) {
			return false, err
		}
		_ = e.Close() // with the power off or on
		w.restart()
		e, err = w.survive(w.some(m)...)
	} else {
		if !isPower(err) {
			return false, err
		}
		// Nothing was promised yet, and no disk may be absent.
		w.restart()
		e, err = w.enter()
	}
	if err != nil {
		return done, fmt.Errorf("after the first crash: %w", err)
	}
	w.machine.CutAt(w.machine.Ops() + 1 + w.rand.Int64N(60))
	if err := w.goOn(e, 12); err != nil {
		return done, fmt.Errorf("going on: %w", err)
	}
	w.restart()
	if e, err = w.survive(w.some(m)...); err != nil {
		return done, fmt.Errorf("after the second crash: %w", err)
	}
	if err := w.goOn(e, 3); err != nil {
		return done, fmt.Errorf("going on again: %w", err)
	}
	if w.rand.IntN(2) == 0 {
		w.restart()
	}
	e, err = w.enter()
	if err != nil {
		return done, fmt.Errorf("with all disks: %w", err)
	}
	defer e.Close()
	if s := e.Status(); s.ReadOnly {
		return done, fmt.Errorf("read-only with all disks: %w", s.Reason)
	}
	return done, w.model.check(e, false)
}

// goOn runs n random mutations, until the power goes, and closes the store.
func (w *world) goOn(e *Engine, n int) error {
	defer e.Close()
	if e.Status().ReadOnly {
		return nil
	}
	g := newGenerator(w.rand, w.model)
	for range n {
		if err := w.model.do(e, g.next()); err != nil {
			if isPower(err) {
				return nil
			}
			return err
		}
	}
	return nil
}

// crashEverywhere cuts the power at every operation from first on, by steps.
func crashEverywhere(t *testing.T, k, m int, onDisk bool, steps []*step, first, stride int64) {
	n := 0
	for cut := first; ; cut += stride {
		w := newWorld(t, k, m, uint64(cut))
		if onDisk {
			w.keepIndex(t.TempDir())
		}
		done, err := crashAt(w, steps, cut)
		require.NoError(t, err, "cut at operation %d", cut)
		n++
		if done {
			break
		}
	}
	t.Logf("%d cut points", n)
}

// TestCrashAtEveryOperation cuts the power at every disk operation of a short
// history, and at many, or with -long all, of a longer one: what was
// acknowledged is there, what was in flight is there whole or not at all,
// whichever m disks are absent at the next open, and again after that.
func TestCrashAtEveryOperation(t *testing.T) {
	for _, g := range []struct {
		k, m   int
		stride int64
	}{{1, 0, 19}, {1, 1, 41}, {2, 1, 41}, {4, 2, 67}} {
		t.Run(fmt.Sprintf("%d+%d/40", g.k, g.m), func(t *testing.T) {
			stride := int64(1)
			if raceEnabled && !*long {
				stride = 7 // ten times as slow, and nothing races more for being done everywhere
			}
			crashEverywhere(t, g.k, g.m, false, history(uint64(g.k), 40), 1, stride)
		})
		t.Run(fmt.Sprintf("%d+%d/200", g.k, g.m), func(t *testing.T) {
			stride, first := g.stride, int64(g.k+2)
			switch {
			case *long:
				stride, first = 1, 1
			case raceEnabled:
				stride *= 5
			}
			crashEverywhere(t, g.k, g.m, false, history(7*uint64(g.k), 200), first, stride)
		})
	}
}

// TestCrashWhileDropping cuts the power at every operation of going on without a
// disk that failed. That disk is back at the next open, another one is absent,
// and more than half of every membership is there.
func TestCrashWhileDropping(t *testing.T) {
	for _, g := range []struct{ k, m int }{{2, 2}, {4, 2}} {
		for cut, done := int64(1), false; !done; cut++ {
			w := newWorld(t, g.k, g.m, uint64(cut))
			e, err := w.enter()
			require.NoError(t, err)
			w.put(e, "before", 1000)
			w.faults[2].Lose()
			w.machine.CutAt(w.machine.Ops() + cut)
			for err == nil && e.Metrics().DisksFailed == 0 {
				err = w.model.do(e, &step{bucket: testBucket, key: "meanwhile", object: newObject(1, 1000)})
			}
			require.True(t, err == nil || isPower(err), "%v", err)
			done = err == nil
			_ = e.Close()
			w.restart()
			for i := range w.mems {
				images := w.images()
				if i == 2 {
					continue
				}
				e, err := w.tryOpen(context.Background(), i)
				require.NoError(t, err)
				require.False(t, e.Status().ReadOnly, "%d+%d cut at %d, d%d absent: %v", g.k, g.m, cut, i, e.Status().Reason)
				require.NoError(t, w.model.check(e, true))
				require.NoError(t, e.Close())
				w.putBack(images)
			}
		}
	}
}

// TestCrashAfterKill kills the process that makes a pool when the first segment
// is written in all its shards and synced in none. The next process goes on from
// it, and the power cut that follows takes nothing away.
func TestCrashAfterKill(t *testing.T) {
	w := newWorld(t, 2, 1, 48)
	hold, entered := make(chan struct{}), make(chan struct{}, 100)
	o := w.opts
	o.Disks = w.wrap()
	for _, f := range w.faults {
		f.Add(faultdisk.Rule{Ops: faultdisk.OpSync, Name: "s-*", Block: hold, Hook: func(faultdisk.Call) { entered <- struct{}{} }})
	}
	opened := make(chan struct{})
	go func() {
		defer close(opened)
		if e, err := Open(context.Background(), &o); err == nil {
			_ = e.Close()
		}
	}()
	for range w.mems {
		<-entered
	}
	w.machine = w.machine.Kill()
	w.mems = w.machine.Disks()
	close(hold)
	<-opened
	e := w.open()
	require.False(t, e.Status().ReadOnly)
	w.put(e, "x", 1000)
	w.machine = w.machine.RestartWith(func(*memdisk.Disk, string, int64) bool { return false })
	w.mems = w.machine.Disks()
	_ = e.Close()
	e = w.open(1)
	require.False(t, e.Status().ReadOnly, "%v", e.Status().Reason)
	w.expect(e)
}

// TestCrashWithIndexOnDisk is the same with an index that outlives the power
// cut, as it is or as an older copy, or is gone.
func TestCrashWithIndexOnDisk(t *testing.T) {
	stride := int64(43)
	if *long {
		stride = 1
	}
	crashEverywhere(t, 4, 2, true, history(5, 60), 20, stride)
	crashEverywhere(t, 1, 1, true, history(6, 60), 20, stride)
}

// keepIndex puts the index into a directory under dir.
func (w *world) keepIndex(dir string) {
	index, old := filepath.Join(dir, "index"), filepath.Join(dir, "old")
	w.opts.plainIndex, w.opts.IndexDir = false, index
	w.index = func() {
		from, to := index, old
		switch w.rand.IntN(5) {
		case 0: // an older copy, or none
			from, to = old, index
		case 1, 2:
		case 3:
			require.NoError(w.t, os.RemoveAll(index))
			return
		default:
			return
		}
		copyDir(w.t, from, to)
	}
}

// copyDir makes to a copy of from, or removes it if there is no from.
func copyDir(t testing.TB, from, to string) {
	t.Helper()
	require.NoError(t, os.RemoveAll(to))
	if _, err := os.Stat(from); err == nil {
		require.NoError(t, os.CopyFS(to, os.DirFS(from)))
	}
}
