package meta

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/erasure"
)

func openDir(t testing.TB, opts PebbleOptions) Index {
	t.Helper()
	opts.Pool = testPool
	x, err := OpenPebble(opts)
	require.NoError(t, err)
	t.Cleanup(func() { x.Close() })
	return x
}

func set(t testing.TB, x Index, seq uint64) {
	t.Helper()
	apply(t, x, seq, func(b *Batch) { b.Set([]byte("k"), fmt.Append(nil, seq)) })
}

func value(t testing.TB, x Index) string {
	t.Helper()
	v, err := x.Get([]byte("k"), nil)
	require.NoError(t, err)
	return string(v)
}

func TestPebbleReopen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "index")
	x := openDir(t, PebbleOptions{Dir: dir})
	set(t, x, 7)
	want := x.Position()
	require.NoError(t, x.Close())
	y := openDir(t, PebbleOptions{Dir: dir})
	require.Equal(t, want, y.Position())
	require.Equal(t, want, y.Durable())
	require.Equal(t, "7", value(t, y))
	require.Positive(t, y.Metrics().Bytes)
}

func TestPebbleInUse(t *testing.T) {
	dir := t.TempDir()
	x := openDir(t, PebbleOptions{Dir: dir})
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(dir, link))
	for _, path := range []string{dir, dir + "/", link} {
		_, err := OpenPebble(PebbleOptions{Dir: path, Pool: testPool})
		require.ErrorIs(t, err, ErrInUse, path)
	}
	require.ErrorIs(t, RemoveIndex(dir, testPool), ErrInUse)
	set(t, x, 1)
	require.NoError(t, x.Close())
	openDir(t, PebbleOptions{Dir: link})
}

// listing names all that is in dir, with its content.
func listing(t *testing.T, dir string) (all []string) {
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		require.NoError(t, err)
		if !d.IsDir() {
			b, err := os.ReadFile(path)
			require.NoError(t, err)
			all = append(all, fmt.Sprintf("%s %x", path, b))
		}
		return nil
	}))
	return all
}

func TestPebbleForeign(t *testing.T) {
	refused := func(dir string, want error) {
		t.Helper()
		before := listing(t, dir)
		_, err := OpenPebble(PebbleOptions{Dir: dir, Pool: testPool})
		require.ErrorIs(t, err, want)
		require.ErrorIs(t, RemoveIndex(dir, testPool), want)
		require.Equal(t, before, listing(t, dir), "something was written")
	}
	home := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(home, "thesis.txt"), []byte("x"), 0o644))
	refused(home, ErrForeignIndex)

	other := t.TempDir()
	x, err := OpenPebble(PebbleOptions{Dir: other, Pool: erasure.PoolID{9}})
	require.NoError(t, err)
	require.NoError(t, x.Close())
	refused(other, ErrForeignIndex)

	newer := t.TempDir()
	marker := appendMarker(nil, testPool)
	marker[len(markerMagic)] = 7
	require.NoError(t, os.WriteFile(filepath.Join(newer, markerName), resum(marker), 0o644))
	refused(newer, ErrFormat)

	require.NoError(t, os.Remove(filepath.Join(other, markerName)))
	refused(other, ErrForeignIndex) // a Pebble database, but whose?
}

// TestPebbleOlder: an index of an older format is for its own pool to remove,
// and is not opened.
func TestPebbleOlder(t *testing.T) {
	dir := t.TempDir()
	x := openDir(t, PebbleOptions{Dir: dir})
	set(t, x, 3)
	require.NoError(t, x.Close())
	marker := appendMarker(nil, testPool)
	marker[len(markerMagic)] = indexVersion - 1
	require.NoError(t, os.WriteFile(filepath.Join(dir, markerName), resum(marker), 0o644))
	_, err := OpenPebble(PebbleOptions{Dir: dir, Pool: testPool})
	require.ErrorIs(t, err, ErrIndexFailed)
	require.ErrorIs(t, CheckIndex(dir, testPool), ErrIndexFailed)
	_, err = OpenPebble(PebbleOptions{Dir: dir, Pool: erasure.PoolID{9}})
	require.ErrorIs(t, err, ErrForeignIndex)
	require.ErrorIs(t, RemoveIndex(dir, erasure.PoolID{9}), ErrForeignIndex)
	require.NoError(t, RemoveIndex(dir, testPool))
	require.Zero(t, openDir(t, PebbleOptions{Dir: dir}).Position())
}

func TestRemoveIndex(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, RemoveIndex(filepath.Join(dir, "missing"), testPool))
	require.NoError(t, RemoveIndex(dir, testPool), "empty")
	for _, damage := range []string{"", "marker", "foreign file"} {
		x := openDir(t, PebbleOptions{Dir: dir})
		require.Zero(t, x.Position(), "left over after: %s", damage)
		set(t, x, 3)
		require.NoError(t, x.Close())
		if damage == "marker" {
			require.NoError(t, os.WriteFile(filepath.Join(dir, markerName), []byte("rot"), 0o644))
			_, err := OpenPebble(PebbleOptions{Dir: dir, Pool: testPool})
			require.ErrorIs(t, err, ErrIndexFailed)
		}
		if damage == "foreign file" {
			require.NoError(t, os.WriteFile(filepath.Join(dir, "core"), []byte("x"), 0o644))
		}
		require.NoError(t, RemoveIndex(dir, testPool))
		if damage != "foreign file" {
			for _, left := range listing(t, dir) {
				require.Equal(t, filepath.Join(dir, lockName)+" ", left)
			}
		}
	}
	require.FileExists(t, filepath.Join(dir, "core"), "no index has this file")
	x := openDir(t, PebbleOptions{Dir: dir})
	require.Zero(t, x.Position())
}

// TestPebbleDirLost: a directory deleted under a running index fails it at the
// next flush; the next open finds nothing and starts anew.
func TestPebbleDirLost(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "index")
	var failures atomic.Int32
	x := openDir(t, PebbleOptions{Dir: dir, OnFailure: func(error) { failures.Add(1) }})
	set(t, x, 1)
	require.NoError(t, os.RemoveAll(dir))
	require.ErrorIs(t, x.Flush(), ErrIndexFailed)
	require.ErrorIs(t, x.Apply(NewBatch(), Position{Seq: 2}), ErrIndexFailed)
	_, err := x.Get([]byte("k"), nil)
	require.ErrorIs(t, err, ErrIndexFailed)
	require.ErrorIs(t, x.Close(), ErrIndexFailed)
	require.EqualValues(t, 1, failures.Load())
	require.NoDirExists(t, dir, "a failed index must not write")
	require.Zero(t, openDir(t, PebbleOptions{Dir: dir}).Position())
}

func TestPebbleFlushForced(t *testing.T) {
	flushed := make(chan Position, 10)
	small := func(change func(*PebbleOptions)) Index {
		opts := PebbleOptions{Dir: "/index", fs: vfs.NewMem(), FlushBytes: 1 << 30, FlushRecords: 1 << 30, FlushGroups: 1 << 30, FlushInterval: time.Hour}
		opts.OnFlush = func(p Position) { flushed <- p }
		change(&opts)
		return openDir(t, opts)
	}
	none := func() {
		t.Helper()
		require.Empty(t, flushed, "flushed too early")
	}

	x := small(func(o *PebbleOptions) { o.FlushGroups = 3 })
	set(t, x, 1)
	set(t, x, 2)
	none()
	set(t, x, 3)
	require.EqualValues(t, 3, (<-flushed).Seq)
	require.EqualValues(t, 3, x.Durable().Seq)

	x = small(func(o *PebbleOptions) { o.FlushRecords = 100 })
	set(t, x, 99)
	none()
	set(t, x, 100)
	require.EqualValues(t, 100, (<-flushed).Seq)

	x = small(func(o *PebbleOptions) { o.FlushBytes = 1000 })
	apply(t, x, 1, func(b *Batch) { b.Set([]byte("k"), make([]byte, 500)) })
	none()
	apply(t, x, 2, func(b *Batch) { b.Set([]byte("k"), make([]byte, 500)) })
	require.EqualValues(t, 2, (<-flushed).Seq)

	var now atomic.Int64
	x = small(func(o *PebbleOptions) {
		o.FlushInterval = time.Minute
		o.Clock = func() time.Time { return time.Unix(now.Load(), 0) }
	})
	set(t, x, 1)
	now.Add(59)
	set(t, x, 2)
	none()
	now.Add(1)
	set(t, x, 3)
	require.EqualValues(t, 3, (<-flushed).Seq)

	// Without a further Apply the clock alone does it.
	x = small(func(o *PebbleOptions) { o.FlushInterval = 10 * time.Millisecond })
	set(t, x, 1)
	require.EqualValues(t, 1, (<-flushed).Seq)
	require.EqualValues(t, 1, x.Durable().Seq)
}

// stuckFS holds every Create of a table back while stuck.
type stuckFS struct {
	vfs.FS
	hold chan struct{}
}

func (f *stuckFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if strings.HasSuffix(name, ".sst") {
		<-f.hold
	}
	return f.FS.Create(name, c)
}

// TestPebbleBackpressure: when flushes do not come through, Apply waits once
// twice the limit is unflushed, and Durable stays where it is.
func TestPebbleBackpressure(t *testing.T) {
	stuck := &stuckFS{FS: vfs.NewMem(), hold: make(chan struct{})}
	x := openDir(t, PebbleOptions{Dir: "/index", fs: stuck, FlushGroups: 4})
	for seq := range uint64(8) {
		set(t, x, seq+1)
	}
	var done atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		set(t, x, 9)
		done.Store(true)
	})
	require.Never(t, done.Load, 50*time.Millisecond, 5*time.Millisecond, "nine groups with a limit of twice four")
	require.Zero(t, x.Durable())
	require.Equal(t, "8", value(t, x), "readers do not wait")
	close(stuck.hold)
	wg.Wait()
	require.NoError(t, x.Flush())
	require.EqualValues(t, 9, x.Durable().Seq)
}

// TestPebbleCloseWaits: Close waits for an open iterator, which stays good.
func TestPebbleCloseWaits(t *testing.T) {
	x := openDir(t, PebbleOptions{Dir: "/index", fs: vfs.NewMem()})
	set(t, x, 1)
	it, err := x.NewIter(nil, nil)
	require.NoError(t, err)
	closed := make(chan error)
	go func() { closed <- x.Close() }()
	require.Eventually(t, func() bool {
		_, err := x.Get([]byte("k"), nil)
		return err != nil
	}, time.Second, time.Millisecond)
	_, err = x.Get([]byte("k"), nil)
	require.ErrorIs(t, err, ErrClosed, "a holder of an iterator is refused, not made to wait")
	require.True(t, it.SeekGE([]byte("k")))
	require.Empty(t, closed)
	require.NoError(t, it.Close())
	require.NoError(t, <-closed)
}
