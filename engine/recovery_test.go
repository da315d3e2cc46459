package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/disk/memdisk"
)

// pebbleWorld is a pool on memory disks whose index lies in a directory.
func pebbleWorld(t testing.TB, k, m int, seed uint64) *world {
	w := newWorld(t, k, m, seed)
	w.opts.plainIndex, w.opts.IndexDir = false, filepath.Join(t.TempDir(), "index")
	return w
}

// fill runs n random mutations.
func (w *world) fill(e *Engine, n int) {
	w.t.Helper()
	g := newGenerator(w.rand, w.model)
	for range n {
		require.NoError(w.t, w.model.do(e, g.next()))
	}
}

// expect compares the store with the model and closes it.
func (w *world) expect(e *Engine) {
	w.t.Helper()
	require.NoError(w.t, w.model.check(e, e.Status().ReadOnly))
	require.NoError(w.t, e.Close())
}

// dump returns the content of all files of a disk.
func dump(t testing.TB, d *memdisk.Disk) map[string]string {
	t.Helper()
	d = d.Reopen()
	entries, err := d.List()
	require.NoError(t, err)
	all := map[string]string{}
	for _, e := range entries {
		f, err := d.Open(e.Name)
		require.NoError(t, err)
		p := make([]byte, e.Size)
		_, err = f.ReadAt(p, 0)
		require.NoError(t, err)
		all[e.Name] = string(p)
	}
	return all
}

func (w *world) dump() []map[string]string {
	w.t.Helper()
	var all []map[string]string
	for _, d := range w.mems {
		all = append(all, dump(w.t, d))
	}
	return all
}

// same requires that nothing on the disks has changed.
func (w *world) same(before []map[string]string) {
	w.t.Helper()
	after := w.dump()
	for i := range before {
		if !mapsEqual(before[i], after[i]) {
			w.t.Fatalf("disk %d was changed", i)
		}
	}
}

func mapsEqual(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if w, ok := b[k]; !ok || v != w {
			return false
		}
	}
	return true
}

// dumpDir returns the content of all files below dir.
func dumpDir(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			all[path] = "directory"
			return nil
		}
		b, err := os.ReadFile(path)
		all[path] = string(b)
		return err
	}))
	return all
}

func TestIndexDeleted(t *testing.T) {
	w := pebbleWorld(t, 4, 2, 1)
	e := w.open()
	w.fill(e, 60)
	w.expect(e)
	dir := w.opts.IndexDir
	for name, damage := range map[string]func() error{
		"directory": func() error { return os.RemoveAll(dir) },
		"content": func() error {
			return errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o777))
		},
	} {
		require.NoError(t, damage(), name)
		e = w.open()
		require.Positive(t, e.Metrics().Replayed, name)
		require.NoError(t, w.model.check(e, false))
		w.fill(e, 5)
		w.expect(e)
		e = w.open()
		require.LessOrEqual(t, e.Metrics().Replayed, int64(5), "the new index was kept")
		w.expect(e)
	}
}

// TestF10IndexRotten damages single files of the index: the store answers right,
// at once or, if it finds the damage while running, after the next open.
func TestF10IndexRotten(t *testing.T) {
	w := pebbleWorld(t, 2, 1, 2)
	e := w.open()
	w.fill(e, 60)
	w.expect(e)
	dir := w.opts.IndexDir
	good := filepath.Join(t.TempDir(), "good")
	copyDir(t, dir, good)
	trials, rebuilt, failed := 36, 0, 0
	if *long {
		trials = 5000
	}
	r := rand.New(rand.NewPCG(10, 10))
	for trial := range trials {
		copyDir(t, good, dir)
		what := damageFile(t, r, dir)
		e, err := w.tryOpen(context.Background())
		require.NoError(t, err, "trial %d: %s", trial, what)
		rebuilt += int(e.Metrics().IndexRebuilds)
		err = w.model.check(e, false)
		if errors.Is(err, ErrIndexFailed) {
			failed++
			require.NoError(t, e.Close(), what)
			e, err = w.tryOpen(context.Background())
			require.NoError(t, err, "trial %d: %s", trial, what)
			err = w.model.check(e, false)
		}
		require.NoError(t, err, "trial %d: %s", trial, what)
		require.NoError(t, e.Close(), "trial %d: %s", trial, what)
	}
	t.Logf("%d trials, %d rebuilt at open, %d found while running", trials, rebuilt, failed)
	require.Positive(t, rebuilt)
}

// damageFile flips a bit of a random file in dir, cuts it short or removes it. A
// directory without its marker is not known to be an index, so that stays.
func damageFile(t *testing.T, r *rand.Rand, dir string) string {
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for {
		name := entries[r.IntN(len(entries))].Name()
		path := filepath.Join(dir, name)
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		if name == "LOCK" || (len(b) == 0 && r.IntN(2) == 0) {
			continue
		}
		switch r.IntN(5) {
		case 0:
			if isMarker(b) {
				continue
			}
			require.NoError(t, os.Remove(path))
			return "removed " + name
		case 1:
			n := r.IntN(len(b) + 1)
			require.NoError(t, os.Truncate(path, int64(n)))
			return fmt.Sprintf("%s cut from %d bytes to %d", name, len(b), n)
		default:
			if len(b) == 0 {
				continue
			}
			i, bit := r.IntN(len(b)), r.IntN(8)
			b[i] ^= 1 << bit
			require.NoError(t, os.WriteFile(path, b, 0o600))
			return fmt.Sprintf("bit %d of byte %d of %d of %s flipped", bit, i, len(b), name)
		}
	}
}

func isMarker(b []byte) bool { return strings.HasPrefix(string(b), "cairn") }

// TestF24IndexOlder: an index that lags is brought up to date from where it
// stands.
func TestF24IndexOlder(t *testing.T) {
	w := pebbleWorld(t, 4, 2, 3)
	e := w.open()
	w.fill(e, 60)
	w.expect(e)
	old := filepath.Join(t.TempDir(), "old")
	copyDir(t, w.opts.IndexDir, old)
	for range 3 { // the log goes on, through rolls and epochs
		e = w.open()
		w.fill(e, 25)
		w.expect(e)
	}
	copyDir(t, old, w.opts.IndexDir)
	e = w.open(1, 4)
	m := e.Metrics()
	require.Zero(t, m.IndexRebuilds)
	require.Positive(t, m.Replayed)
	require.LessOrEqual(t, m.Replayed, int64(90), "only what is missing, and descriptors, is replayed")
	w.expect(e)
}

// TestF24IndexNewer: disks that all went back in time do not match an index that
// did not. The store may be read, and nothing is changed.
func TestF24IndexNewer(t *testing.T) {
	w := pebbleWorld(t, 4, 2, 4)
	e := w.open()
	w.fill(e, 40)
	w.expect(e)
	var images []*memdisk.Image
	for _, d := range w.mems {
		images = append(images, d.Image())
	}
	e = w.open()
	w.fill(e, 20)
	w.expect(e)
	w.putBack(images)
	before, index := w.dump(), dumpDir(t, w.opts.IndexDir)
	e = w.open()
	s := e.Status()
	require.True(t, s.ReadOnly)
	require.ErrorIs(t, s.Reason, ErrLogMissing)
	require.ErrorIs(t, s.Reason, ErrReadOnly)
	err := e.CreateBucket(context.Background(), "another")
	require.ErrorIs(t, err, ErrLogMissing)
	require.ErrorIs(t, err, ErrReadOnly)
	require.NoError(t, e.Close())
	w.same(before)
	// The index may tidy its own files but still is the newer one.
	require.NotEmpty(t, index)
	e = w.open()
	require.ErrorIs(t, e.Status().Reason, ErrLogMissing, "and it stays so")
	require.NoError(t, e.Close())
	w.same(before)
}

// putBack replaces all disks by images of them.
func (w *world) putBack(images []*memdisk.Image) {
	w.machine = memdisk.NewMachine()
	for i, im := range images {
		w.mems[i] = w.machine.NewDiskFrom(w.mems[i].String(), im)
	}
}

// TestF23OldImages: all disks together went back, and the index is gone: the
// store is as it was then, and goes on from there.
func TestF23OldImages(t *testing.T) {
	w := pebbleWorld(t, 4, 2, 5)
	e := w.open()
	w.fill(e, 40)
	w.expect(e)
	var images []*memdisk.Image
	for _, d := range w.mems {
		images = append(images, d.Image())
	}
	then := newModel()
	for name, objects := range w.model.buckets {
		then.buckets[name] = map[string]*object{}
		for key, o := range objects {
			then.buckets[name][key] = o
		}
	}
	e = w.open()
	w.fill(e, 30)
	w.expect(e)
	w.putBack(images)
	require.NoError(t, os.RemoveAll(w.opts.IndexDir))
	w.model = then
	e = w.open()
	require.False(t, e.Status().ReadOnly)
	require.NoError(t, w.model.check(e, false))
	w.fill(e, 30)
	w.expect(e)
	w.expect(w.open(0, 5))
}

// TestIndexOfAnotherPool: neither the index nor the disks are touched.
func TestIndexOfAnotherPool(t *testing.T) {
	a, b := pebbleWorld(t, 2, 1, 6), pebbleWorld(t, 2, 1, 7)
	for _, w := range []*world{a, b} {
		e := w.open()
		w.fill(e, 20)
		w.expect(e)
	}
	own := a.opts.IndexDir
	a.opts.IndexDir = b.opts.IndexDir
	index, disks := dumpDir(t, b.opts.IndexDir), a.dump()
	_, err := a.tryOpen(context.Background())
	require.ErrorIs(t, err, ErrForeignDisk)
	require.Equal(t, index, dumpDir(t, b.opts.IndexDir))
	a.same(disks)
	a.opts.IndexDir = own
	a.expect(a.open())
	b.expect(b.open())
}

// TestIndexDirIsForeign: a directory with anything else in it is left alone, for
// a pool that exists and one that does not.
func TestIndexDirIsForeign(t *testing.T) {
	for _, exists := range []bool{false, true} {
		w := pebbleWorld(t, 2, 1, 8)
		if exists {
			e := w.open()
			w.fill(e, 20)
			w.expect(e)
		}
		own := w.opts.IndexDir
		w.opts.IndexDir = t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(w.opts.IndexDir, "thesis.txt"), []byte("only copy"), 0o600))
		index, disks := dumpDir(t, w.opts.IndexDir), w.dump()
		_, err := w.tryOpen(context.Background())
		require.ErrorIs(t, err, ErrForeignDisk)
		require.Equal(t, index, dumpDir(t, w.opts.IndexDir))
		w.same(disks)
		w.opts.IndexDir = own
		w.expect(w.open())
	}
}

// TestF17IndexLostWhileRunning: the directory goes from under a running store.
// From the first flush that fails nothing is answered, Close returns, and the
// next open has everything.
func TestF17IndexLostWhileRunning(t *testing.T) {
	w := pebbleWorld(t, 2, 1, 9)
	w.opts.MemTableBytes = 256 << 10
	events := make(chan error, 10)
	w.opts.Events.IndexFailed = func(err error) { events <- err }
	e := w.open()
	w.fill(e, 30)
	require.NoError(t, os.RemoveAll(w.opts.IndexDir))
	g := newGenerator(w.rand, w.model)
	g.big = 1 << 30
	var err error
	for i := 0; err == nil; i++ {
		require.Less(t, i, 20_000, "the index never noticed")
		err = w.model.do(e, g.next())
	}
	require.ErrorIs(t, err, ErrIndexFailed)
	select {
	case err = <-events:
		require.ErrorIs(t, err, ErrIndexFailed)
	case <-time.After(20 * time.Second):
		t.Fatal("no event")
	}
	ctx := context.Background()
	_, err = e.Bucket("bucket-1").Get(ctx, "key/1", nil)
	require.ErrorIs(t, err, ErrIndexFailed)
	_, err = e.Buckets(ctx)
	require.ErrorIs(t, err, ErrIndexFailed)
	require.ErrorIs(t, e.CreateBucket(ctx, "another"), ErrIndexFailed)
	require.ErrorIs(t, e.Status().Reason, ErrIndexFailed)
	require.NoError(t, e.Close())
	require.Empty(t, events, "told once")
	e = w.open()
	require.NoError(t, w.model.check(e, false))
	w.fill(e, 5)
	w.expect(e)
}
