package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/disk/filedisk"
	"github.com/cairnstore/cairn/disk/memdisk"
)

const testBucket = "things"

// put stores an object of size bytes under key in testBucket, made if missing,
// and says what further losses it survives.
func (w *world) put(e *Engine, key string, size int) int {
	w.t.Helper()
	if w.model.buckets[testBucket] == nil {
		require.NoError(w.t, w.model.do(e, &step{bucket: testBucket, whole: true, create: true}))
	}
	o := newObject(w.rand.Uint64(), size)
	info, err := e.Bucket(testBucket).PutBytes(context.Background(), key, o.data, nil)
	require.NoError(w.t, err)
	o.version = info.VersionID
	w.model.did(&step{bucket: testBucket, key: key, object: o})
	return info.Survives
}

// refused requires that the store may only be read, says why with all the given
// errors, and takes no mutation.
func refused(t testing.TB, e *Engine, want ...error) {
	t.Helper()
	s := e.Status()
	require.True(t, s.ReadOnly)
	ctx := context.Background()
	_, put := e.Bucket(testBucket).PutBytes(ctx, "new", nil, nil)
	_, striped := e.Bucket(testBucket).PutBytes(ctx, "new", make([]byte, 2*PackMax), nil)
	_, deleted := e.Bucket(testBucket).Delete(ctx, "x", nil)
	for _, target := range append(want, ErrReadOnly) {
		for what, err := range map[string]error{
			"status": s.Reason, "put": put, "put striped": striped, "delete": deleted,
			"create bucket": e.CreateBucket(ctx, "new-bucket"), "delete bucket": e.DeleteBucket(ctx, testBucket),
		} {
			require.ErrorIs(t, err, target, what)
		}
	}
}

// TestF25 is the table of a box of two disks.
func TestF25TwoDisks(t *testing.T) {
	const A, B = 0, 1
	w := newWorld(t, 1, 1, 25)
	var failed []DiskFailedInfo
	w.opts.Events.DiskFailed = func(i DiskFailedInfo) { failed = append(failed, i) }
	e := w.open()
	require.Equal(t, 1, w.put(e, "x", 100_000))
	epoch := e.Status().Epoch

	// A fails while running: B goes on alone.
	w.faults[A].Lose()
	require.Zero(t, w.put(e, "y", 1000))
	require.Zero(t, w.put(e, "y2", 100_000))
	s := e.Status()
	require.Greater(t, s.Epoch, epoch)
	require.Zero(t, s.Survives)
	require.Equal(t, "1+0", s.Geometry)
	require.Len(t, failed, 1)
	require.Equal(t, "d0", failed[0].Name)
	require.ErrorIs(t, failed[0].Err, disk.ErrLost)
	w.expect(e)

	// The stale A alone: what it has may be read.
	before := w.dump()
	e = w.open(B)
	refused(t, e, ErrStaleQuorum)
	require.NoError(t, checkObject(e.Bucket(testBucket), "x", w.model.buckets[testBucket]["x"]))
	_, err := e.Bucket(testBucket).Head(context.Background(), "y", nil)
	require.ErrorIs(t, err, ErrNotFound)
	require.NoError(t, e.Close())
	w.same(before)

	// B alone, under the epoch that is B's own.
	e = w.open(A)
	require.False(t, e.Status().ReadOnly)
	w.put(e, "z", 1000)
	w.expect(e)

	// Both: the newer epoch wins, and A is a member again.
	e = w.open()
	require.Greater(t, e.Status().Epoch, s.Epoch)
	require.Equal(t, 1, w.put(e, "both", 1000))
	w.expect(e)

	// Either alone under the epoch of both.
	before = w.dump()
	e = w.open(A)
	refused(t, e, ErrStaleQuorum)
	w.expect(e)
	w.same(before)
	e = w.open(B) // it lacks a part of the log in the middle
	require.ErrorIs(t, e.Status().Reason, ErrStaleQuorum)
	require.ErrorIs(t, e.CreateBucket(context.Background(), "new-bucket"), ErrStaleQuorum)
	require.NoError(t, e.Close())
	w.same(before)
	w.expect(w.open())
}

// TestF25SplitBrain: two disks that each went on alone are not merged.
func TestF25SplitBrain(t *testing.T) {
	w := newWorld(t, 1, 1, 26)
	e := w.open()
	w.put(e, "x", 1000)
	w.expect(e)
	images := []*memdisk.Image{w.mems[0].Image(), w.mems[1].Image()}
	for i := range images {
		e := w.open()
		w.faults[1-i].Lose()
		w.put(e, fmt.Sprint("side", i), 1000)
		require.NoError(t, e.Close())
		kept := w.mems[i].Image()
		w.putBack(images)
		images[i] = kept
	}
	w.putBack(images)
	before := w.dump()
	_, err := w.tryOpen(context.Background())
	require.ErrorIs(t, err, ErrEpochConflict)
	w.same(before)
}

// TestF26 is about what disks are given, in which order and how often.
func TestF26Swapped(t *testing.T) {
	w := newWorld(t, 4, 2, 27)
	e := w.open()
	w.fill(e, 40)
	w.expect(e)
	for range 4 {
		w.rand.Shuffle(len(w.mems), func(i, j int) { w.mems[i], w.mems[j] = w.mems[j], w.mems[i] })
		e = w.open(w.some(2)...)
		w.fill(e, 3)
		w.expect(e)
		e = w.open()
		w.expect(e)
	}
}

func TestF26SameDiskTwice(t *testing.T) {
	for _, how := range []string{"second handle", "clone"} {
		t.Run(how, func(t *testing.T) {
			w := newWorld(t, 4, 2, 28)
			e := w.open()
			w.fill(e, 10)
			w.expect(e)
			twin := w.mems[3].Reopen()
			if how == "clone" {
				twin = w.machine.NewDiskFrom("twin", w.mems[3].Image())
			}
			before := w.dump()
			for _, absent := range [][]int{nil, {0, 1}} {
				o := w.opts
				o.Disks = append(w.wrap(absent...), twin.Reopen())
				_, err := Open(context.Background(), &o)
				require.ErrorIs(t, err, ErrDuplicateDisk)
				require.ErrorContains(t, err, "d3")
				require.ErrorContains(t, err, twin.String())
			}
			w.same(before)
			w.expect(w.open())
		})
	}
}

func TestF26ForeignPool(t *testing.T) {
	a, b := newWorld(t, 4, 2, 29), newWorld(t, 1, 1, 30)
	for _, w := range []*world{a, b} {
		e := w.open()
		w.fill(e, 10)
		w.expect(e)
	}
	beforeA, beforeB := a.dump(), b.dump()
	for _, absent := range [][]int{nil, {1}, {0, 1, 2, 3, 4}} {
		o := a.opts
		o.Geometry.Data, o.Geometry.Parity = 0, 0
		o.Disks = append(a.wrap(absent...), b.wrap()[0])
		_, err := Open(context.Background(), &o)
		require.ErrorIs(t, err, ErrForeignDisk)
	}
	a.same(beforeA)
	b.same(beforeB)
	a.expect(a.open())
	b.expect(b.open())
}

// TestF21EmptyDisk: a disk that was replaced by an empty one is not taken for
// it, nor written to, and the log of the program tells.
func TestF21EmptyDisk(t *testing.T) {
	w := newWorld(t, 4, 2, 31)
	e := w.open()
	w.fill(e, 40)
	w.expect(e)
	blank := w.machine.NewDisk("blank")
	w.mems[2] = blank
	var said bytes.Buffer
	w.opts.Logger = slog.New(slog.NewTextHandler(&said, nil))
	e = w.open()
	s := e.Status()
	require.False(t, s.ReadOnly)
	require.Equal(t, "3+2", s.Geometry)
	require.Contains(t, said.String(), "blank")
	require.Len(t, s.NotJoined, 1)
	require.ErrorContains(t, s.NotJoined[0], "blank")
	w.fill(e, 20)
	w.expect(e)
	require.Empty(t, dump(t, blank), "written to")
	// It does not stand for the old one, so one more may be lost.
	e = w.open(0)
	require.False(t, e.Status().ReadOnly)
	w.expect(e)
	require.Empty(t, dump(t, blank))
}

// TestF21AllEmptyButFew: empty disks make no quorum.
func TestF21AllEmptyButFew(t *testing.T) {
	w := newWorld(t, 4, 2, 32)
	e := w.open()
	w.put(e, "x", 1000)
	w.expect(e)
	for _, i := range []int{0, 2, 4} {
		w.mems[i] = w.machine.NewDisk("blank")
	}
	before := w.dump()
	e = w.open()
	refused(t, e, ErrStaleQuorum)
	require.NoError(t, e.Close())
	w.same(before)
}

// TestF21ForeignFiles: a disk that holds anything else is refused, whether the
// pool exists or not.
func TestF21ForeignFiles(t *testing.T) {
	for _, exists := range []bool{false, true} {
		w := newWorld(t, 4, 2, 33)
		if exists {
			e := w.open()
			w.fill(e, 10)
			w.expect(e)
			w.mems[3] = w.machine.NewDisk("other")
		}
		f, err := w.mems[3].Create("thesis.txt", 1000)
		require.NoError(t, err)
		require.NoError(t, f.Close())
		before := w.dump()
		_, err = w.tryOpen(context.Background())
		require.ErrorIs(t, err, ErrForeignDisk)
		require.ErrorContains(t, err, w.mems[3].String())
		w.same(before)
	}
}

// TestF22OldCopyOfADisk: one disk, or two, went back in time. Nothing that was
// deleted or replaced comes back, nothing is lost, and other disks may still be
// lost as long as the old ones and they are no more than m together.
func TestF22OldCopyOfADisk(t *testing.T) {
	for _, old := range [][]int{{2}, {0, 5}} {
		w := newWorld(t, 4, 2, 34)
		e := w.open()
		w.fill(e, 40)
		w.expect(e)
		images := map[int]*memdisk.Image{}
		for _, i := range old {
			images[i] = w.mems[i].Image()
		}
		for range 2 {
			e = w.open()
			w.fill(e, 40)
			w.expect(e)
		}
		for i, im := range images {
			w.mems[i] = w.machine.NewDiskFrom(w.mems[i].String(), im)
		}
		if len(old) == 1 {
			e = w.open(4)
			require.False(t, e.Status().ReadOnly)
			w.expect(e)
		}
		e = w.open()
		require.False(t, e.Status().ReadOnly)
		require.NoError(t, w.model.check(e, false))
		w.fill(e, 20)
		w.expect(e)
		w.expect(w.open())
	}
}

// TestStaleQuorum: with half of the disks everything reads and nothing is
// written.
func TestStaleQuorum(t *testing.T) {
	w := pebbleWorld(t, 2, 2, 35)
	e := w.open()
	w.put(e, "x", 1000)
	w.fill(e, 40)
	w.expect(e)
	for _, absent := range [][]int{{0, 1}, {0, 3}, {1, 2}} {
		for _, index := range []string{w.opts.IndexDir, t.TempDir()} {
			before := w.dump()
			o := w.opts
			o.IndexDir = index
			o.Disks = w.wrap(absent...)
			e, err := Open(context.Background(), &o)
			require.NoError(t, err)
			refused(t, e, ErrStaleQuorum)
			require.Equal(t, 2, strings.Count(fmt.Sprint(liveOf(e)), "true"))
			w.expect(e)
			w.same(before)
		}
	}
	e = w.open(1)
	require.False(t, e.Status().ReadOnly)
	w.expect(e)
}

// TestStaleQuorumShowsWhatMayGo: a group that reached one disk before the power
// went is shown by a store that may only be read, and gone when the log was
// decided without that disk: the index must not have kept it.
func TestStaleQuorumShowsWhatMayGo(t *testing.T) {
	w := pebbleWorld(t, 2, 2, 36)
	w.opts.LogSegmentSize, w.opts.LogAhead = 4<<20, 1<<20 // nothing in the background
	e := w.open()
	w.put(e, "x", 1000)
	w.machine.CutAt(w.machine.Ops() + 1)
	require.Error(t, w.model.do(e, &step{bucket: testBucket, key: "y", object: newObject(1, 1000)}))
	_ = e.Close()
	w.machine = w.machine.RestartWith(func(*memdisk.Disk, string, int64) bool { return true })
	w.mems = w.machine.Disks()
	images, saved, doubt := w.images(), filepath.Join(t.TempDir(), "saved"), w.model.doubt
	copyDir(t, w.opts.IndexDir, saved)
	shown := 0
	for a := range w.mems {
		w.putBack(images)
		copyDir(t, saved, w.opts.IndexDir)
		e := w.open((a+1)%4, (a+2)%4)
		require.ErrorIs(t, e.Status().Reason, ErrStaleQuorum)
		require.NoError(t, w.model.check(e, true))
		happened, err := doubt.happened(e)
		require.NoError(t, err)
		require.NoError(t, e.Close())
		if happened {
			shown++
		}
		w.putBack(images)
		e = w.open(a)
		require.False(t, e.Status().ReadOnly, "%v", e.Status().Reason)
		require.NoError(t, w.model.check(e, true))
		require.NoError(t, e.Close())
	}
	require.Equal(t, 2, shown, "one disk has the group")
}

func liveOf(e *Engine) []bool {
	var live []bool
	for _, d := range e.Status().Disks {
		live = append(live, d.Live)
	}
	return live
}

// TestCrashCreation cuts the power at every operation of the creation of a pool,
// and again at the second attempt: the same disks then make a pool that is empty
// and of use.
func TestCrashCreation(t *testing.T) {
	for _, g := range []struct{ k, m int }{{1, 0}, {1, 1}, {2, 1}, {4, 2}} {
		for cut, done := int64(1), false; !done; cut++ {
			w := newWorld(t, g.k, g.m, uint64(cut))
			w.machine.CutAt(cut)
			e, err := w.enter()
			if err == nil {
				done = w.machine.Ops() < cut
				_ = e.Close() // at the last operations the power goes during zero-fill
			}
			w.restart()
			if cut%2 == 0 {
				w.machine.CutAt(1 + w.rand.Int64N(cut))
				if e, err := w.enter(); err == nil {
					_ = e.Close()
				}
				w.restart()
			}
			e, err = w.enter()
			require.NoError(t, err, "%d+%d cut at %d", g.k, g.m, cut)
			require.False(t, e.Status().ReadOnly, "%d+%d cut at %d: %v", g.k, g.m, cut, e.Status().Reason)
			require.Equal(t, fmt.Sprintf("%d+%d", g.k, g.m), e.Status().Geometry)
			require.NoError(t, w.model.check(e, false))
			w.put(e, "x", 1000)
			w.put(e, "y", 100_000)
			w.expect(e)
			w.restart()
			w.expect(w.open(w.some(g.m)...))
		}
	}
}

// TestF30InUse: the disks of a store that is open, in this process or another,
// cannot be opened.
func TestF30InUse(t *testing.T) {
	dir := t.TempDir()
	ctx := context.Background()
	e, err := Open(ctx, dirOptions(t, dir, 4, 2))
	require.NoError(t, err)
	_, err = filedisk.Open(diskDir(dir, 3), nil)
	require.ErrorIs(t, err, disk.ErrInUse)
	require.NoError(t, e.Close())

	e, err = OpenDir(ctx, dir+"/single")
	require.NoError(t, err)
	_, err = OpenDir(ctx, dir+"/single")
	require.ErrorIs(t, err, ErrInUse)
	require.NoError(t, e.Close())
	e, err = OpenDir(ctx, dir+"/single")
	require.NoError(t, err)
	require.NoError(t, e.Close())
}

func TestF30OtherProcess(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := victimCommand(ctx, dir, 1)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	_, err = out.Read(make([]byte, 1))
	require.NoError(t, err, "it never opened the store")
	for i := range 6 {
		_, err = filedisk.Open(diskDir(dir, i), nil)
		require.ErrorIs(t, err, disk.ErrInUse)
		require.ErrorContains(t, err, fmt.Sprint(cmd.Process.Pid))
	}
	require.NoError(t, cmd.Process.Kill())
	var exit *exec.ExitError
	require.True(t, errors.As(cmd.Wait(), &exit))
	e, err := Open(ctx, dirOptions(t, dir, 4, 2))
	require.NoError(t, err)
	require.NoError(t, e.Close())
}
