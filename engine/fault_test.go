package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/disk/faultdisk"
	"github.com/cairnstore/cairn/disk/memdisk"
	"github.com/cairnstore/cairn/erasure"
)

// faultOps are the operations that the fault loops fail.
var faultOps = []faultdisk.Op{
	faultdisk.OpCreate, faultdisk.OpOpen, faultdisk.OpRead, faultdisk.OpWrite, faultdisk.OpSync,
	faultdisk.OpExtend, faultdisk.OpRemove, faultdisk.OpList, faultdisk.OpCheck,
}

// faultRig is a rig whose store holds want, and that can be set up again from
// images of its disks.
type faultRig struct {
	*rig
	images []*memdisk.Image
	want   map[string][]byte
}

// newFaultRig makes a store with packed and striped objects, in more than one
// log segment.
func newFaultRig(t testing.TB, g erasure.Geometry) *faultRig {
	r := newRig(t, g.Data, g.Parity)
	r.opts.LogSegmentSize, r.opts.LogAhead = 64<<10, 16<<10
	r.opts.PayloadSegmentSize, r.opts.PayloadAhead = 1<<20, 128<<10
	f := &faultRig{rig: r, want: map[string][]byte{}}
	e := r.open()
	b := bucketOf(t, e, "bucket")
	for i, n := range []int{0, 100, 4 << 10, 60 << 10, 70 << 10, 700 << 10} {
		key := fmt.Sprintf("base%d", i)
		f.want[key] = content(uint64(i), n)
		_, err := b.PutBytes(context.Background(), key, f.want[key], nil)
		require.NoError(t, err)
	}
	require.NoError(t, e.Close())
	for _, d := range r.mems {
		f.images = append(f.images, d.Image())
	}
	return f
}

// fresh returns the rig on disks as they were after newFaultRig, with a want of
// its own.
func (f *faultRig) fresh() *faultRig {
	r := *f.rig
	r.machine, r.mems = memdisk.NewMachine(), nil
	for i, im := range f.images {
		r.mems = append(r.mems, r.machine.NewDiskFrom(fmt.Sprintf("d%d", i), im))
	}
	c := &faultRig{rig: &r, images: f.images, want: map[string][]byte{}}
	for k, v := range f.want {
		c.want[k] = v
	}
	return c
}

// put stores content; only if that succeeds is it wanted.
func (f *faultRig) put(b *Bucket, key string, seed uint64, n int) error {
	p := content(seed, n)
	_, err := b.PutBytes(context.Background(), key, p, nil)
	if err == nil {
		f.want[key] = p
	}
	return err
}

// verify compares everything that the store shows with want.
func (f *faultRig) verify(e *Engine) error {
	b := e.Bucket("bucket")
	var keys []string
	for o, err := range b.List(context.Background(), nil) {
		if err != nil {
			return fmt.Errorf("listing: %w", err)
		}
		if want, ok := f.want[o.Key]; !ok || o.Size != int64(len(want)) {
			return fmt.Errorf("listing shows %q, %d bytes; wanted: %v, %d bytes", o.Key, o.Size, ok, len(want))
		}
		keys = append(keys, o.Key)
	}
	if len(keys) != len(f.want) {
		return fmt.Errorf("listing shows %d keys, not %d", len(keys), len(f.want))
	}
	var total int64
	for _, key := range keys {
		p, err := read(b, key)
		if err != nil {
			return fmt.Errorf("reading %q: %w", key, err)
		}
		if !bytes.Equal(p, f.want[key]) {
			return fmt.Errorf("%q has wrong bytes", key)
		}
		total += int64(len(p))
	}
	buckets, err := e.Buckets(context.Background())
	if err != nil {
		return err
	}
	if len(buckets) != 1 || buckets[0].Objects != int64(len(keys)) || buckets[0].Bytes != total {
		return fmt.Errorf("usage is %+v, not %d objects of %d bytes", buckets, len(keys), total)
	}
	return nil
}

// syncWatch fails the test when a file is synced again after a sync of it has
// failed (I6).
type syncWatch struct {
	mu     sync.Mutex
	failed map[string]bool
	again  []string
}

func watchSyncs(d *faultdisk.Disk) *syncWatch {
	w := &syncWatch{failed: map[string]bool{}}
	d.Add(faultdisk.Rule{Ops: faultdisk.OpSync, Hook: func(c faultdisk.Call) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.failed[c.Name] {
			w.again = append(w.again, c.Name)
		}
	}})
	return w
}

func (w *syncWatch) fail(c faultdisk.Call) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.Op == faultdisk.OpSync {
		w.failed[c.Name] = true
	}
}

// within runs fn, and ends everything with all stacks if it hangs: nothing would
// come of closing what hangs.
func within(t testing.TB, d time.Duration, what string, fn func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		fn()
	}()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		buf := make([]byte, 1<<20)
		panic(fmt.Sprintf("%s: %s hangs\n%s", t.Name(), what, buf[:runtime.Stack(buf, true)]))
	}
}

// faultStep is what runs while a disk fails. Its errors are the caller's.
type faultStep struct {
	name string
	run  func(f *faultRig, e *Engine) error
}

var faultSteps = []faultStep{
	{"put packed", func(f *faultRig, e *Engine) error {
		b := e.Bucket("bucket")
		return errors.Join(f.put(b, "new", 100, 4<<10), f.put(b, "base2", 101, 5<<10), f.put(b, "wide", 102, 64<<10), f.put(b, "void", 103, 0))
	}},
	{"put striped", func(f *faultRig, e *Engine) error {
		b := e.Bucket("bucket")
		size := 300 << 10
		if *long {
			size = 5 << 20 // several windows
		}
		return errors.Join(f.put(b, "striped", 104, 200<<10), f.put(b, "base5", 105, 900<<10), f.put(b, "other", 106, size))
	}},
	{"get", func(f *faultRig, e *Engine) error { return f.verify(e) }},
	{"delete", func(f *faultRig, e *Engine) error {
		b := e.Bucket("bucket")
		var errs []error
		for _, key := range []string{"base1", "base5", "absent"} {
			_, err := b.Delete(context.Background(), key, nil)
			if err == nil {
				delete(f.want, key)
			}
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	}},
	{"roll", func(f *faultRig, e *Engine) error {
		b := e.Bucket("bucket")
		var errs []error
		for i := range 24 {
			errs = append(errs, f.put(b, fmt.Sprintf("roll%d", i), 200+uint64(i), 12<<10))
		}
		return errors.Join(errs...)
	}},
	{"check", func(f *faultRig, e *Engine) error {
		e.checkDisks()
		return f.put(e.Bucket("bucket"), "after", 107, 3<<10)
	}},
	{"bucket", func(f *faultRig, e *Engine) error {
		ctx := context.Background()
		return errors.Join(e.CreateBucket(ctx, "passing"), e.DeleteBucket(ctx, "passing"))
	}},
	{"close", func(f *faultRig, e *Engine) error {
		_ = e.Close() // may report a disk; what was acknowledged is there
		return nil
	}},
}

// TestFaultRunning fails the Nth call of every disk operation on one disk, once
// and for good, during each kind of operation: the caller never hears of it, and
// nothing acknowledged is lost or changed, then or after a reopen.
func TestFaultRunning(t *testing.T) {
	geometries := []erasure.Geometry{{Data: 2, Parity: 1}, {Data: 1, Parity: 1}, {Data: 4, Parity: 2}}
	if raceEnabled && !*long {
		geometries = geometries[:1]
	}
	for _, g := range geometries {
		base := newFaultRig(t, g)
		for _, step := range faultSteps {
			t.Run(fmt.Sprintf("%v/%s", g, step.name), func(t *testing.T) {
				cases := 0
				for _, op := range faultOps {
					for _, sticky := range []bool{false, true} {
						for _, d := range someDisks(g) {
							for n := 1; base.faultCase(t, step, d, faultdisk.Rule{Ops: op, Nth: n, Sticky: sticky}); n = nextFault(n) {
								cases++
							}
						}
					}
				}
				t.Logf("%d faults", cases)
			})
		}
	}
}

// someDisks returns the disks that the fault loops disturb, one at a time.
func someDisks(g erasure.Geometry) (disks []int) {
	if !*long {
		return []int{1}
	}
	for d := range g.Shards() {
		disks = append(disks, d)
	}
	return disks
}

// nextFault returns the number of the next call to fail: every one of the first
// few, and then fewer, unless there is time.
func nextFault(n int) int {
	switch {
	case *long:
		return n + 1
	case raceEnabled: // ten times slower, and looking for something else
		return 2*n + 1
	case n < 4:
		return n + 1
	default:
		return n + 1 + n/3
	}
}

// faultCase runs a step under one rule and reports whether the rule fired.
func (base *faultRig) faultCase(t *testing.T, step faultStep, d int, rule faultdisk.Rule) (fired bool) {
	what := fmt.Sprintf("%v number %d of disk %d, sticky %v", rule.Ops, rule.Nth, d, rule.Sticky)
	f := base.fresh()
	within(t, time.Minute, what, func() {
		e, err := f.tryOpen(context.Background())
		if err != nil {
			t.Errorf("%s: open: %v", what, err)
			return
		}
		defer e.Close()
		w := watchSyncs(f.faults[d])
		var mu sync.Mutex
		rule.Err = faultdisk.ErrInjected
		rule.Hook = func(c faultdisk.Call) {
			mu.Lock()
			fired = true
			mu.Unlock()
			w.fail(c)
		}
		f.faults[d].Add(rule)
		if err := step.run(f, e); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if step.name != "close" {
			if err := f.verify(e); err != nil {
				t.Errorf("%s: while running: %v", what, err)
			}
		}
		_ = e.Close() // may report the disk
		mu.Lock()
		defer mu.Unlock()
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.again) > 0 {
			t.Errorf("%s: synced again after a failure: %v", what, w.again)
		}
		if !fired {
			return
		}
		f.reopenAndVerify(t, what)
	})
	return fired && !t.Failed()
}

// reopenAndVerify opens the store on healthy disks and compares.
func (f *faultRig) reopenAndVerify(t testing.TB, what string, absent ...int) {
	e, err := f.tryOpen(context.Background(), absent...)
	if err != nil {
		t.Errorf("%s: reopen: %v", what, err)
		return
	}
	defer e.Close()
	if err := f.verify(e); err != nil {
		t.Errorf("%s: after a reopen: %v", what, err)
	}
}

// TestFaultOpening is the same for Open.
func TestFaultOpening(t *testing.T) {
	for _, g := range []erasure.Geometry{{Data: 4, Parity: 2}, {Data: 2, Parity: 1}, {Data: 1, Parity: 1}} {
		base := newFaultRig(t, g)
		t.Run(g.String(), func(t *testing.T) {
			for _, op := range faultOps {
				for _, sticky := range []bool{false, true} {
					for n := 1; base.openCase(t, faultdisk.Rule{Ops: op, Nth: n, Sticky: sticky, Err: faultdisk.ErrInjected}); n = nextFault(n) {
					}
				}
			}
		})
	}
}

// openUnder opens the store with a rule on disk 0, and reports whether it fired.
func (f *faultRig) openUnder(rule faultdisk.Rule) (e *Engine, w *syncWatch, fired bool, err error) {
	o := f.opts
	o.Disks = f.wrap()
	w = watchSyncs(f.faults[0])
	var mu sync.Mutex
	rule.Hook = func(c faultdisk.Call) {
		mu.Lock()
		fired = true
		mu.Unlock()
		w.fail(c)
	}
	remove := f.faults[0].Add(rule)
	e, err = Open(context.Background(), &o)
	if !rule.Sticky {
		remove()
	}
	mu.Lock()
	defer mu.Unlock()
	return e, w, fired, err
}

func (base *faultRig) openCase(t *testing.T, rule faultdisk.Rule) (fired bool) {
	what := fmt.Sprintf("%v number %d, sticky %v", rule.Ops, rule.Nth, rule.Sticky)
	f := base.fresh()
	within(t, time.Minute, what, func() {
		var e *Engine
		var w *syncWatch
		var err error
		e, w, fired, err = f.openUnder(rule)
		if err == nil && f.geometryIs(1, 1) && e.Status().ReadOnly {
			// One label of two: that is half of the view.
			if reason := e.Status().Reason; !errors.Is(reason, ErrReadOnly) && !errors.Is(reason, ErrNoQuorum) {
				t.Errorf("%s: read-only because of %v", what, e.Status().Reason)
			}
		} else if err == nil {
			err = f.put(e.Bucket("bucket"), "opened", 1000, 10<<10)
		}
		if err != nil {
			t.Errorf("%s: %v", what, err)
			return
		}
		if err := f.verify(e); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		_ = e.Close() // may report the disk
		w.mu.Lock()
		if len(w.again) > 0 {
			t.Errorf("%s: synced again after a failure: %v", what, w.again)
		}
		w.mu.Unlock()
		f.reopenAndVerify(t, what)
	})
	return fired && !t.Failed()
}

func (f *faultRig) geometryIs(k, m int) bool {
	return f.opts.Geometry == erasure.Geometry{Data: k, Parity: m}
}

// TestFaultCreating is the same for the making of a pool, which needs all its
// disks: it may fail, and then the same disks make a pool at the next try.
func TestFaultCreating(t *testing.T) {
	for _, op := range faultOps {
		for n := 1; ; n++ {
			what := fmt.Sprintf("%v number %d", op, n)
			f := &faultRig{rig: newRig(t, 2, 1), want: map[string][]byte{}}
			e, _, fired, err := f.openUnder(faultdisk.Rule{Ops: op, Nth: n, Err: faultdisk.ErrInjected})
			if err == nil {
				require.NoError(t, e.Close())
			}
			if !fired {
				require.NoError(t, err, what)
				break
			}
			e, err = f.tryOpen(context.Background())
			require.NoError(t, err, what)
			require.False(t, e.Status().ReadOnly, what)
			bucketOf(t, e, "bucket")
			require.NoError(t, f.put(e.Bucket("bucket"), "key", 1, 100), what)
			require.NoError(t, e.Close(), what)
			f.reopenAndVerify(t, what)
		}
	}
}

// TestFaultTwoDisks has two disks of 4+2 fail, at once and at different
// operations.
func TestFaultTwoDisks(t *testing.T) {
	base := newFaultRig(t, erasure.Geometry{Data: 4, Parity: 2})
	for _, step := range faultSteps[:5] {
		for n := 1; n <= 6; n = nextFault(n) {
			for _, ops := range [][2]faultdisk.Op{
				{faultdisk.OpWrite, faultdisk.OpWrite}, {faultdisk.OpSync, faultdisk.OpSync}, {faultdisk.OpWrite, faultdisk.OpSync},
				{faultdisk.OpCreate, faultdisk.OpSync}, {faultdisk.OpAll &^ faultdisk.OpClose, faultdisk.OpAll &^ faultdisk.OpClose},
			} {
				what := fmt.Sprintf("%s, %v and %v number %d", step.name, ops[0], ops[1], n)
				f := base.fresh()
				within(t, time.Minute, what, func() {
					e, err := f.tryOpen(context.Background())
					if err != nil {
						t.Errorf("%s: open: %v", what, err)
						return
					}
					defer e.Close()
					f.faults[1].Add(faultdisk.Rule{Ops: ops[0], Nth: n, Sticky: true, Err: faultdisk.ErrInjected})
					f.faults[4].Add(faultdisk.Rule{Ops: ops[1], Nth: n, Sticky: true, Err: faultdisk.ErrInjected})
					if err := errors.Join(step.run(f, e), f.verify(e)); err != nil {
						t.Errorf("%s: %v", what, err)
					}
					_ = e.Close() // may report the disks
					f.reopenAndVerify(t, what+", without them", 1, 4)
					f.reopenAndVerify(t, what)
				})
				if t.Failed() {
					return
				}
			}
		}
	}
}

// TestFaultBusy has any call return disk.ErrBusy once: it is waited out or
// returned, the disk stays, and a call that failed has done nothing.
func TestFaultBusy(t *testing.T) {
	base := newFaultRig(t, erasure.Geometry{Data: 4, Parity: 2})
	for _, step := range append(slices.Clone(faultSteps), faultStep{name: "open"}) {
		t.Run(step.name, func(t *testing.T) {
			for _, op := range faultOps {
				for n := 1; base.busyCase(t, step, op, n); n = nextFault(n) {
				}
			}
		})
	}
}

func (base *faultRig) busyCase(t *testing.T, step faultStep, op faultdisk.Op, n int) (fired bool) {
	what := fmt.Sprintf("%v number %d", op, n)
	f := base.fresh()
	within(t, time.Minute, what, func() {
		var e *Engine
		var err error
		rule := faultdisk.Rule{Ops: op, Nth: n, Err: disk.ErrBusy}
		if step.run == nil {
			e, _, fired, err = f.openUnder(rule)
			if errors.Is(err, ErrBusy) {
				f.reopenAndVerify(t, what)
				return
			}
		} else {
			e, err = f.tryOpen(context.Background())
		}
		if err != nil {
			t.Errorf("%s: open: %v", what, err)
			return
		}
		defer e.Close()
		epoch := e.Status().Epoch
		if step.run != nil {
			var mu sync.Mutex
			rule.Hook = func(faultdisk.Call) {
				mu.Lock()
				defer mu.Unlock()
				fired = true
			}
			f.faults[0].Add(rule)
			if err := step.run(f, e); err != nil && !errors.Is(err, ErrBusy) {
				t.Errorf("%s: %v", what, err)
			}
			mu.Lock()
			defer mu.Unlock()
		}
		if !fired {
			return
		}
		if step.name != "close" {
			if got := e.Status().Epoch; got != epoch || e.Metrics().DisksFailed != 0 {
				t.Errorf("%s: epoch went from %d to %d, %d disks failed", what, epoch, got, e.Metrics().DisksFailed)
			}
			if err := f.verify(e); err != nil {
				t.Errorf("%s: while running: %v", what, err)
			}
			if err := f.put(e.Bucket("bucket"), "again", 5, 9<<10); err != nil && !errors.Is(err, ErrBusy) {
				t.Errorf("%s: put after it: %v", what, err)
			}
		}
		_ = e.Close()
		f.reopenAndVerify(t, what)
	})
	return fired && !t.Failed()
}
