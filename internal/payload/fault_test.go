package payload

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/disk/faultdisk"
	"github.com/cairnstore/cairn/disk/memdisk"
	"github.com/cairnstore/cairn/erasure"
	"github.com/cairnstore/cairn/internal/segment"
)

var errIO = errors.New("input/output error")

// syncRule holds syncs up until block is closed, telling entered.
func syncRule(block <-chan struct{}, entered chan<- struct{}) faultdisk.Rule {
	return faultdisk.Rule{Ops: faultdisk.OpSync, Block: block, Hook: func(faultdisk.Call) {
		select {
		case entered <- struct{}{}:
		default:
		}
	}}
}

// On one disk the Nth write, sync, extend or create fails, for every N until
// none is left to fail: the object is stored each time and survives m lost
// disks after that.
func TestEveryFault(t *testing.T) {
	leaks(t)
	step := 1
	if raceEnabled {
		step = 4
	}
	for _, tc := range []struct {
		g     erasure.Geometry
		disks int
		after bool // the operation takes place and is reported as failed
		own   bool // the stream gets segments of its own
	}{{geometries[3], 7, false, false}, {geometries[3], 6, true, false}, {geometries[2], 3, false, false}, {geometries[3], 7, false, true}} {
		for _, op := range []faultdisk.Op{faultdisk.OpCreate, faultdisk.OpWrite, faultdisk.OpSync, faultdisk.OpExtend} {
			t.Run(fmt.Sprintf("%s on %d/own=%v/%s", tc.g, tc.disks, tc.own, op), func(t *testing.T) {
				r := newRand(t)
				n := 1
				for faultOnce(t, r, tc.g, tc.disks, tc.own, faultdisk.Rule{Ops: op, Nth: n, Sticky: n%2 == 0, Err: errIO, After: tc.after}) {
					n += step
				}
				require.Greater(t, n, 1, "nothing failed")
			})
		}
	}
}

// faultOnce stores an object with rule on one disk and reports whether it fired.
func faultOnce(t *testing.T, r *rand.Rand, g erasure.Geometry, disks int, own bool, rule faultdisk.Rule) bool {
	p := memPool(g, disks)
	cfg := p.config()
	cfg.SegmentSize, cfg.Prealloc, cfg.WindowBytes, cfg.SyncBytes = 512<<10, 128<<10, 256<<10, 512<<10
	if own {
		cfg.OwnSegment, cfg.OwnSegmentSize = 1<<20, 300<<10
	}
	s, err := New(cfg)
	require.NoError(t, err)
	p.disks[2].Add(rule) // a disk of the first two segments
	hint := int64(0)
	if own {
		hint = 1 << 20
	}
	o, err := putHinted(s, content(r.Uint64(), 1<<20+r.IntN(1<<20)), 70_000, hint)
	require.NoError(t, err, "N=%d", rule.Nth)
	require.NoError(t, s.Close())
	fired := len(p.dropped) > 0
	require.LessOrEqual(t, len(p.dropped), 2, "reported once per disk and segment")
	require.Zero(t, s.Metrics().OpenSegments)
	require.Zero(t, s.Metrics().Windows)
	if own {
		require.NoError(t, p.onlyKnown(o), "N=%d", rule.Nth)
	}
	// What was acknowledged lies whole on its disks: not only on those that
	// were left.
	lost := r.Perm(disks)[:g.Parity]
	for i, d := range p.disks {
		if slices.Contains(lost, i) {
			d.Lose()
		}
	}
	require.NoError(t, o.check(s, r), "N=%d, %v lost", rule.Nth, lost)
	require.NoError(t, p.set.Close())
	return fired
}

// After a failed sync the shard is never synced again, and what it did not cover
// is written elsewhere: its own old bytes do not count. So in the shared segment
// and in a leased one.
func TestFailedSyncIsNotRetried(t *testing.T) {
	leaks(t)
	for _, n := range []int{900_000, 3 << 20} {
		p := memPool(geometries[3], 6)
		s := p.open(t)
		mustPut(t, s, content(0, n)) // opens the segment
		var failed, again atomic.Int64
		p.disks[0].Add(faultdisk.Rule{Ops: faultdisk.OpSync, Err: errIO, Hook: func(faultdisk.Call) {
			if failed.Add(1) > 1 {
				again.Add(1)
			}
		}})
		o := mustPut(t, s, content(1, n))
		require.EqualValues(t, 1, failed.Load())
		require.Zero(t, again.Load())
		require.Equal(t, []disk.ID{p.ids[0]}, p.dropped)
		for _, d := range o.descs {
			require.NotContains(t, d.Disks, p.ids[0])
			require.Equal(t, erasure.Geometry{Data: 3, Parity: 2}, d.Geometry)
		}
		require.Positive(t, s.Metrics().DeadBytes)
		require.NoError(t, o.check(s, newRand(t)))
	}
}

// A disk that the log dropped for its own reasons ends the segment too.
func TestDroppedDisk(t *testing.T) {
	leaks(t)
	p := memPool(geometries[3], 7)
	s := p.open(t)
	mustPut(t, s, content(0, 1000))
	p.set.Drop(p.ids[2], errIO)
	o := mustPut(t, s, content(1, 3<<20))
	for _, d := range o.descs {
		require.NotContains(t, d.Disks, p.ids[2])
	}
	require.Empty(t, p.dropped, "the log knows")
}

// One disk after another fails until no quorum is left.
func TestDisksRunOut(t *testing.T) {
	leaks(t)
	p := memPool(geometries[3], 6)
	s := p.open(t)
	for _, d := range p.disks[:4] {
		d.Add(faultdisk.Rule{Ops: faultdisk.OpSync | faultdisk.OpWrite, Nth: 3, Sticky: true, Err: errIO})
	}
	var err error
	for i := 0; err == nil; i++ {
		require.Less(t, i, 100)
		_, err = put(s, content(1, 2<<20), 100_000)
	}
	require.ErrorIs(t, err, errNoQuorum)
}

// A shortage in the host is no fault of the disk.
func TestBusyIsNotADiskError(t *testing.T) {
	leaks(t)
	p := memPool(geometries[3], 6)
	s := p.open(t)
	p.disks[1].Add(faultdisk.Rule{Ops: faultdisk.OpCreate, Nth: 1, Err: disk.ErrBusy})
	o := mustPut(t, s, content(1, 3<<20))
	require.Empty(t, p.dropped)
	e := o.extents[0]
	require.NoError(t, p.set.Close())
	p.set = segment.NewSet(poolID, 0)
	for i, d := range p.disks {
		p.set.Add(p.ids[i], d)
		d.Add(faultdisk.Rule{Ops: faultdisk.OpOpen, Err: disk.ErrBusy})
	}
	cfg := p.config()
	again, err := New(cfg)
	require.NoError(t, err)
	err = again.ReadAt(t.Context(), o.descs[e.Segment], e, make([]byte, 100_000), 0)
	require.ErrorIs(t, err, disk.ErrBusy)
	require.NotErrorIs(t, err, ErrCorrupt)
	_, err = again.Copy(t.Context(), io.Discard, o.descs[e.Segment], e, 0, e.Length)
	require.ErrorIs(t, err, disk.ErrBusy)
	require.Empty(t, p.bad)
	require.NoError(t, again.Close())
}

// The power goes when Finish has returned, and at any moment before.
func TestPowerCut(t *testing.T) {
	leaks(t)
	r := newRand(t)
	rounds := 40
	if raceEnabled {
		rounds = 6
	}
	for i := range rounds {
		g := geometries[1+i%4]
		m := memdisk.NewMachine()
		var disks []disk.Disk
		for i := range g.Shards() {
			disks = append(disks, m.NewDisk(fmt.Sprint("mem", i)))
		}
		p := newPool(g, disks...)
		cfg := p.config()
		cfg.OwnSegment, cfg.OwnSegmentSize = 2<<20, 1<<20
		s, err := New(cfg)
		require.NoError(t, err)
		o1, err := putHinted(s, content(uint64(i), 1+r.IntN(3<<20)), 50_000, r.Int64N(3<<20)*r.Int64N(2))
		require.NoError(t, err)
		if i%2 == 0 {
			m.CutAt(m.Ops() + 1 + r.Int64N(40))
		}
		o2, err := putHinted(s, content(uint64(i)+100, 1+r.IntN(3<<20)), 50_000, r.Int64N(3<<20)*r.Int64N(2))
		after := m.Restart(r)
		_ = s.Close()
		_ = p.set.Close()
		p2 := newPool(g)
		for i, d := range after.Disks() {
			p2.set.Add(p.ids[i], d)
		}
		s2, err2 := New(p2.config())
		require.NoError(t, err2)
		require.NoError(t, o1.check(s2, r))
		if err == nil {
			require.NoError(t, o2.check(s2, r))
		}
		require.Zero(t, s2.Metrics().RowsReconstructed, "whole on all disks")
		require.NoError(t, s2.Close())
		require.NoError(t, p2.set.Close())
	}
}

// A disk fails while many streams share its segment: each of them writes again
// what was not durable, whoever met the failure.
func TestFaultBesideManyStreams(t *testing.T) {
	leaks(t)
	r := newRand(t)
	rounds := 30
	if raceEnabled {
		rounds = 5
	}
	for range rounds {
		p := memPool(geometries[3], 7)
		s, err := New(p.config())
		require.NoError(t, err)
		ops := []faultdisk.Op{faultdisk.OpWrite, faultdisk.OpSync, faultdisk.OpExtend, faultdisk.OpWrite | faultdisk.OpSync}
		p.disks[1].Add(faultdisk.Rule{Ops: ops[r.IntN(len(ops))], Nth: 2 + r.IntN(8), Sticky: true, Err: errIO, After: r.IntN(2) == 0})
		objects := make([]*object, 8)
		var wg sync.WaitGroup
		for i := range objects {
			data := content(r.Uint64(), 1+r.IntN(16<<10<<r.IntN(8)))
			wg.Go(func() {
				var err error
				if objects[i], err = put(s, data, 50_000); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		require.False(t, t.Failed())
		require.LessOrEqual(t, len(p.dropped), 2)
		// Not on the failed disk: two more may go.
		for _, i := range r.Perm(len(p.disks))[:2] {
			p.disks[i].Lose()
		}
		for _, o := range objects {
			require.NoError(t, o.check(s, r))
		}
		require.NoError(t, s.Close())
		require.NoError(t, p.set.Close())
		require.Zero(t, s.Metrics().OpenSegments)
	}
}

// slowFile is a file whose extension fails when it is told to.
type slowFile struct {
	disk.File
	begun, end chan struct{}
	syncs      atomic.Int64
}

func (f *slowFile) Extend(int64) error {
	close(f.begun)
	<-f.end
	return errIO
}

func (f *slowFile) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }

func (f *slowFile) Sync() error {
	f.syncs.Add(1)
	return nil
}

// An extension syncs the file, so its failure may be that of bytes which a Sync
// beside it was asked for: such a Sync does not count.
func TestSyncBesideFailingExtension(t *testing.T) {
	file := &slowFile{begun: make(chan struct{}), end: make(chan struct{})}
	f := &shard{file: file, ready: 1 << 20}
	require.NoError(t, f.write(make([]byte, 100), 0, 0))
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := f.extend(2<<20, 2<<20, false); !errors.Is(err, errIO) {
			t.Error(err)
		}
	})
	<-file.begun
	synced := make(chan error)
	go func() {
		_, err := f.startSync()()
		synced <- err
	}()
	for file.syncs.Load() == 0 {
		runtime.Gosched()
	}
	close(file.end)
	require.ErrorIs(t, <-synced, errIO)
	wg.Wait()
	// Dead for good.
	require.ErrorIs(t, f.write(make([]byte, 100), 4096, 0), errIO)
	_, err := f.startSync()()
	require.ErrorIs(t, err, errIO)
	require.EqualValues(t, 1, file.syncs.Load())
}
