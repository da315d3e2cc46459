package meta

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"
	"github.com/zeebo/blake3"
	"go.uber.org/goleak"
)

func resum(marker []byte) []byte {
	sum := blake3.Sum256(marker[:32])
	return append(marker[:32:32], sum[:]...)
}

// failNth fails the nth call that match accepts, once.
type failNth struct {
	match func(errorfs.Op) bool
	n     int64
	err   error
	calls atomic.Int64
	hit   atomic.Value // the call that failed, as text
}

func (f *failNth) String() string { return fmt.Sprintf("call %d fails with %v", f.n, f.err) }

func (f *failNth) MaybeError(op errorfs.Op) error {
	if f.match(op) && f.calls.Add(1) == f.n {
		f.hit.Store(fmt.Sprintf("%v %s", op.Kind, op.Path))
		return f.err
	}
	return nil
}

func isWrite(op errorfs.Op) bool {
	return op.Kind.ReadOrWrite() == errorfs.OpIsWrite && op.Kind != errorfs.OpFileClose
}

// faultRun is a history on a file system with a fault in it. It reports whether
// the fault was met.
func faultRun(t *testing.T, inject *failNth) (met bool) {
	mem := vfs.NewCrashableMem()
	var failures atomic.Int32
	opts := PebbleOptions{
		Dir: "/index", Pool: testPool, fs: errorfs.Wrap(mem, inject), CacheBytes: 1 << 20, MemTableBytes: 256 << 10,
		OnFailure: func(error) { failures.Add(1) },
	}
	states := []map[string]string{{}}
	var durable uint64
	x, err := OpenPebble(opts)
	if err == nil {
		rng := rand.New(rand.NewPCG(3, 3))
		failed := false
		for seq := uint64(1); seq <= 60; seq++ {
			state := maps.Clone(states[seq-1])
			b := NewBatch()
			randomBatch(rng, state, b)
			err := x.Apply(b, Position{Seq: seq})
			if err == nil && seq%5 == 0 {
				err = x.Flush()
			}
			states = append(states, state)
			if err != nil {
				require.ErrorIs(t, err, ErrIndexFailed)
				failed = true
				break
			}
			durable = x.Durable().Seq
		}
		if failed {
			durable = x.Durable().Seq
			_, err = x.Get([]byte("k"), nil)
			require.ErrorIs(t, err, ErrIndexFailed)
			_, err = x.NewIter(nil, nil)
			require.ErrorIs(t, err, ErrIndexFailed)
			require.ErrorIs(t, x.Flush(), ErrIndexFailed)
			require.ErrorIs(t, x.Apply(NewBatch(), Position{Seq: 99}), ErrIndexFailed)
			require.EqualValues(t, durable, x.Durable().Seq, "durable moved in a failed index")
		}
		err = x.Close()
		require.Equal(t, errors.Is(err, ErrIndexFailed), failures.Load() == 1)
		require.LessOrEqual(t, failures.Load(), int32(1))
	}
	if met = inject.calls.Load() >= inject.n; met {
		require.ErrorIs(t, err, ErrIndexFailed, "%v went unnoticed", inject.hit.Load())
	} else {
		require.NoError(t, err)
	}

	// Whatever is there now, and whatever a power cut would leave of it, is the
	// state at some position, and not before what was durable.
	for _, percent := range []int{100, 0, 50} {
		rng := rand.New(rand.NewPCG(1, uint64(inject.n)))
		opts.fs = mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng})
		y, err := OpenPebble(opts)
		if durable == 0 && errors.Is(err, ErrIndexFailed) {
			// An open cut short may leave nothing that can be opened; it is
			// cleared away then.
			require.NoError(t, removeIndex(opts.fs, opts.Dir, testPool))
			y, err = OpenPebble(opts)
		}
		require.NoError(t, err)
		at := y.Position().Seq
		require.GreaterOrEqual(t, at, durable)
		require.Equal(t, states[at], entries(t, y))
		require.NoError(t, y.Close())
	}
	return met
}

// TestPebbleWriteFaults fails each write-side call of a history in turn, until
// the history passes untouched.
func TestPebbleWriteFaults(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	for _, err := range []error{syscall.EIO, syscall.ENOSPC} {
		n := int64(1)
		for step := int64(1); faultRun(t, &failNth{match: isWrite, n: n, err: err}); n += step {
			if err == syscall.ENOSPC {
				step = 7
			}
		}
		t.Logf("%v: %d calls", err, n-1)
		require.Greater(t, n, int64(50), "the history did not write")
	}
}

// TestPebbleReadFaults: a read that fails once fails the index, now or at open,
// and the next open is well.
func TestPebbleReadFaults(t *testing.T) {
	mem := vfs.NewMem()
	opts := PebbleOptions{Dir: "/index", Pool: testPool, fs: mem, CacheBytes: 1}
	x, err := OpenPebble(opts)
	require.NoError(t, err)
	for seq := uint64(1); seq <= 20; seq++ {
		apply(t, x, seq, func(b *Batch) {
			for i := range 100 {
				b.Set(fmt.Appendf(nil, "k%03d", i), fmt.Appendf(nil, "%d", seq))
			}
		})
	}
	require.NoError(t, x.Close())
	for n := int64(1); ; n++ {
		inject := &failNth{n: n, err: syscall.EIO, match: func(op errorfs.Op) bool {
			return op.Kind == errorfs.OpFileReadAt || op.Kind == errorfs.OpFileRead || op.Kind == errorfs.OpOpen
		}}
		opts.fs = errorfs.Wrap(mem, inject)
		x, err := OpenPebble(opts)
		if err == nil {
			_, err = x.Get([]byte("k050"), nil)
			if err == nil {
				_, err = List(x, ListQuery{})
			}
			if closeErr := x.Close(); err == nil {
				err = closeErr
			}
		}
		if inject.calls.Load() < n {
			require.NoError(t, err)
			require.Greater(t, n, int64(5))
			return
		}
		require.ErrorIs(t, err, ErrIndexFailed, "read %d: %v", n, inject.hit.Load())
	}
}

// TestPebbleShortOfDescriptors: EMFILE is waited out, and says nothing about
// the disk.
func TestPebbleShortOfDescriptors(t *testing.T) {
	inject := &failNth{n: 1, err: &os.PathError{Op: "open", Err: syscall.EMFILE}, match: func(op errorfs.Op) bool {
		return op.Kind == errorfs.OpCreate && strings.HasSuffix(op.Path, ".sst")
	}}
	x := openDir(t, PebbleOptions{Dir: "/index", fs: errorfs.Wrap(vfs.NewMem(), inject)})
	set(t, x, 1)
	require.NoError(t, x.Flush())
	require.EqualValues(t, 2, inject.calls.Load())
	require.Equal(t, "1", value(t, x))
}

// TestPebbleRot flips bits all over an index: it opens and answers as before,
// or as of an earlier position, or it fails; it never lies, and the process
// lives. F-10.
func TestPebbleRot(t *testing.T) {
	dir := t.TempDir()
	x := openDir(t, PebbleOptions{Dir: dir})
	rng := rand.New(rand.NewPCG(5, 5))
	states := []map[string]string{{}}
	for seq := uint64(1); seq <= 60; seq++ {
		state := maps.Clone(states[seq-1])
		apply(t, x, seq, func(b *Batch) { randomBatch(rng, state, b) })
		states = append(states, state)
		if seq%20 == 0 {
			require.NoError(t, x.Flush())
		}
	}
	require.NoError(t, x.Close())
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	refused, older := 0, 0
	for _, f := range files {
		clean, err := os.ReadFile(filepath.Join(dir, f.Name()))
		require.NoError(t, err)
		for at := 0; at < len(clean); at += 1 + len(clean)/40 {
			mem := vfs.NewMem()
			_, err := vfs.Clone(vfs.Default, mem, dir, "/index")
			require.NoError(t, err)
			flip(t, mem, mem.PathJoin("/index", f.Name()), clean, at, byte(1<<rng.IntN(8)))
			x, err := OpenPebble(PebbleOptions{Dir: "/index", Pool: testPool, fs: mem, CacheBytes: 1 << 20})
			if err != nil {
				refused++
				continue // every error is an answer; a wrong entry is none
			}
			got, err := tryEntries(x)
			switch {
			case err != nil:
				require.ErrorIs(t, err, ErrIndexFailed, "%s, byte %d", f.Name(), at)
				refused++
			default:
				pos := x.Position().Seq
				require.Equal(t, states[pos], got, "%s, byte %d", f.Name(), at)
				if pos < 60 {
					older++
				}
			}
			x.Close()
		}
	}
	t.Logf("refused %d, at an earlier position %d", refused, older)
	require.Positive(t, refused)
}

func flip(t *testing.T, fs vfs.FS, path string, clean []byte, at int, bit byte) {
	f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	b := append([]byte(nil), clean...)
	b[at] ^= bit
	_, err = f.Write(b)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

// tryEntries is entries for an index that may fail.
func tryEntries(x Index) (all map[string]string, err error) {
	it, err := x.NewIter([]byte{spaceMeta + 1}, nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	all = map[string]string{}
	for it.Next() {
		v, err := it.Value()
		if err != nil {
			return nil, err
		}
		all[string(it.Key())] = string(v)
	}
	return all, it.Error()
}

// TestPebbleDescriptors: a failed index holds no file open.
func TestPebbleDescriptors(t *testing.T) {
	open := &openCounter{FS: vfs.NewMem()}
	var armed atomic.Bool
	inject := &failNth{match: func(op errorfs.Op) bool { return armed.Load() && isWrite(op) }, n: 20, err: syscall.EIO}
	x, err := OpenPebble(PebbleOptions{Dir: "/index", Pool: testPool, fs: errorfs.Wrap(open, inject)})
	require.NoError(t, err)
	armed.Store(true)
	for seq := uint64(1); err == nil; seq++ {
		if err = x.Apply(NewBatch(), Position{Seq: seq}); err == nil {
			err = x.Flush()
		}
	}
	require.ErrorIs(t, err, ErrIndexFailed)
	require.Positive(t, open.most.Load())
	// The index lets go of everything by itself; Close only waits for that.
	require.Eventually(t, func() bool { return open.now.Load() == 0 }, 5*time.Second, time.Millisecond)
	require.ErrorIs(t, x.Close(), ErrIndexFailed)
}

// openCounter counts the files and locks that are open.
type openCounter struct {
	vfs.FS
	now, most atomic.Int64
}

type countedFile struct {
	vfs.File
	c *openCounter
}

func (f countedFile) Close() error {
	f.c.now.Add(-1)
	return f.File.Close()
}

type countedLock struct {
	io.Closer
	c *openCounter
}

func (l countedLock) Close() error {
	l.c.now.Add(-1)
	return l.Closer.Close()
}

func (c *openCounter) count(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	c.most.Store(max(c.most.Load(), c.now.Add(1)))
	return countedFile{f, c}, nil
}

func (c *openCounter) Create(name string, k vfs.DiskWriteCategory) (vfs.File, error) {
	return c.count(c.FS.Create(name, k))
}

func (c *openCounter) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	return c.count(c.FS.Open(name, opts...))
}

func (c *openCounter) OpenDir(name string) (vfs.File, error) { return c.count(c.FS.OpenDir(name)) }

func (c *openCounter) Lock(name string) (io.Closer, error) {
	l, err := c.FS.Lock(name)
	if err != nil {
		return nil, err
	}
	c.now.Add(1)
	return countedLock{l, c}, nil
}
