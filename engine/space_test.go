package engine

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/disk/faultdisk"
	"github.com/cairnstore/cairn/erasure"
)

// fill puts until the store says that it is full.
func (f *faultRig) fill(t *testing.T, e *Engine, size int) {
	b := e.Bucket("bucket")
	for i := range 1000 {
		key := fmt.Sprintf("fill%d", len(f.want))
		if err := f.put(b, key, uint64(i), size); err != nil {
			require.ErrorIs(t, err, ErrNoSpace)
			_, err := b.Head(context.Background(), key, nil)
			require.ErrorIs(t, err, ErrNotFound)
			return
		}
	}
	t.Fatal("the disks do not fill up")
}

// limit leaves room bytes on the given disks; negative is no limit.
func (f *faultRig) limit(room int64, disks ...int) {
	for _, i := range disks {
		if room < 0 {
			f.mems[i].SetCapacity(0)
			continue
		}
		var used int64
		entries, err := f.mems[i].List()
		require.NoError(f.t, err)
		for _, e := range entries {
			used += e.Size
		}
		f.mems[i].SetCapacity(used + room)
	}
}

func TestNoSpaceAnywhere(t *testing.T) {
	all := []int{0, 1, 2, 3, 4, 5}
	f := newFaultRig(t, erasure.Geometry{Data: 4, Parity: 2})
	e := f.open()
	epoch := e.Status().Epoch
	f.limit(200<<10, all...)
	for round := range 2 {
		for _, size := range []int{4 << 10, 64 << 10, 300 << 10} {
			f.fill(t, e, size)
			require.NoError(t, f.verify(e), "reads go on, size %d", size)
		}
		f.fill(t, e, 4<<10)
		s := e.Status()
		require.False(t, s.ReadOnly)
		require.Equal(t, epoch, s.Epoch)
		require.Zero(t, e.Metrics().DisksFailed)
		// Space comes back.
		f.limit(4<<20, all...)
		for i := range 8 {
			require.NoError(t, f.put(e.Bucket("bucket"), fmt.Sprintf("more%d-%d", round, i), 1, 100<<10>>i))
		}
		f.limit(0, all...)
	}
	require.NoError(t, f.verify(e))
	f.fill(t, e, 8<<10)

	// What is full can be opened and read.
	require.NoError(t, e.Close())
	f.wrap()
	f.limit(0, all...)
	e = f.open()
	require.NoError(t, f.verify(e))
	if s := e.Status(); s.ReadOnly {
		require.ErrorIs(t, s.Reason, ErrNoSpace)
		require.ErrorIs(t, f.put(e.Bucket("bucket"), "x", 1, 1), ErrNoSpace)
	}
	require.NoError(t, e.Close())
	f.limit(-1, all...)
	e = f.open()
	require.NoError(t, f.put(e.Bucket("bucket"), "x", 1, 1))
	require.NoError(t, f.verify(e))
}

func TestNoSpaceOnOneDisk(t *testing.T) {
	f := newFaultRig(t, erasure.Geometry{Data: 4, Parity: 2})
	e := f.open()
	epoch := e.Status().Epoch
	f.limit(100<<10, 2)
	for i := range 60 {
		if err := f.put(e.Bucket("bucket"), fmt.Sprint(i), uint64(i), 1000*(i*i)%300000); err != nil {
			require.ErrorIs(t, err, ErrNoSpace)
		}
	}
	require.NoError(t, f.verify(e))
	require.Equal(t, epoch, e.Status().Epoch, "a full disk is no lost disk")
	f.limit(-1, 2)
	require.NoError(t, f.put(e.Bucket("bucket"), "packed", 1, 60<<10))
	require.NoError(t, f.put(e.Bucket("bucket"), "striped", 1, 600<<10))
	require.NoError(t, f.verify(e))
	e = f.reopen(e, 0, 1)
	require.NoError(t, f.verify(e))
}

// TestNoSpaceByRule has each kind of growth fail on all disks, from each moment
// on, until space comes back.
func TestNoSpaceByRule(t *testing.T) {
	base := newFaultRig(t, erasure.Geometry{Data: 2, Parity: 1})
	for _, step := range []faultStep{faultSteps[0], faultSteps[1], faultSteps[4]} {
		for _, op := range []faultdisk.Op{faultdisk.OpCreate, faultdisk.OpWrite, faultdisk.OpExtend} {
			for n := 1; n < 8; n = nextFault(n) {
				what := fmt.Sprintf("%s, %v number %d", step.name, op, n)
				f := base.fresh()
				e := f.open()
				var remove []func()
				for _, d := range f.faults {
					remove = append(remove, d.Add(faultdisk.Rule{Ops: op, Nth: n, Sticky: true, Err: disk.ErrNoSpace}))
				}
				if err := step.run(f, e); err != nil {
					require.ErrorIs(t, err, ErrNoSpace, what)
				}
				require.NoError(t, f.verify(e), what)
				for _, r := range remove {
					r()
				}
				require.NoError(t, f.put(e.Bucket("bucket"), "after", 3, 5<<10), what)
				require.NoError(t, f.put(e.Bucket("bucket"), "after too", 4, 80<<10), what)
				require.NoError(t, f.verify(e), what)
				require.Zero(t, e.Metrics().DisksFailed, what)
				require.NoError(t, e.Close(), what)
				f.reopenAndVerify(t, what)
			}
		}
	}
}

// TestReadOnlyDisks has all disks refuse writes: the store is read-only, says
// so, and is well when it is opened on better disks.
func TestReadOnlyDisks(t *testing.T) {
	f := newFaultRig(t, erasure.Geometry{Data: 4, Parity: 2})
	e := f.open()
	for _, d := range f.faults {
		d.Add(faultdisk.Rule{Ops: faultdisk.OpCreate | faultdisk.OpWrite | faultdisk.OpSync | faultdisk.OpExtend | faultdisk.OpRemove, Err: syscall.EROFS})
	}
	for _, size := range []int{1 << 10, 200 << 10, 1 << 10} {
		require.ErrorIs(t, f.put(e.Bucket("bucket"), "new", 1, size), ErrNoQuorum)
		require.NoError(t, f.verify(e))
	}
	s := e.Status()
	require.True(t, s.ReadOnly)
	require.ErrorIs(t, s.Reason, ErrNoQuorum)
	_ = e.Close() // may report the disks
	f.reopenAndVerify(t, "reopened")
}

// TestHang has a sync of one disk hang: the put waits, reads go on, and so does
// everything else once it ends.
func TestHang(t *testing.T) {
	f := newFaultRig(t, erasure.Geometry{Data: 4, Parity: 2})
	e := f.open()
	b := e.Bucket("bucket")
	for _, size := range []int{4 << 10, 300 << 10} {
		gate, began := make(chan struct{}), make(chan struct{}, 16)
		var remove []func()
		for _, d := range f.faults {
			remove = append(remove, d.Add(faultdisk.Rule{
				Ops: faultdisk.OpSync, Nth: 1, Block: gate, Hook: func(faultdisk.Call) { began <- struct{}{} },
			}))
		}
		key := fmt.Sprint("hang", size)
		p := content(9, size)
		put := make(chan error, 1)
		go func() {
			_, err := b.PutBytes(context.Background(), key, p, nil)
			put <- err
		}()
		<-began
		require.NoError(t, f.verify(e), "readers do not wait, and do not see it")
		require.Empty(t, put)
		closed := make(chan error, 1)
		if size > PackMax {
			go func() { closed <- e.Close() }()
		}
		close(gate)
		within(t, time.Minute, "put", func() { require.NoError(t, <-put) })
		f.want[key] = p
		for _, r := range remove {
			r()
		}
		if size > PackMax {
			within(t, time.Minute, "close", func() { require.NoError(t, <-closed) })
		} else {
			require.NoError(t, f.verify(e))
		}
	}
	f.reopenAndVerify(t, "after a hang")
}
