package engine

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/disk/filedisk"
	"github.com/cairnstore/cairn/erasure"
)

// noLeaks fails the test if fn leaves a goroutine or, on linux, an open file
// behind.
func noLeaks(t *testing.T, fn func()) {
	t.Helper()
	before := openFiles(t)
	ignore := goleak.IgnoreCurrent()
	fn()
	require.NoError(t, goleak.Find(ignore))
	require.Equal(t, before, openFiles(t), "open files")
}

func openFiles(t *testing.T) int {
	if runtime.GOOS != "linux" {
		return 0
	}
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(entries)
}

// dirs makes n directories for disks.
func dirs(t testing.TB, n int) (paths []string) {
	root := t.TempDir()
	for i := range n {
		paths = append(paths, filepath.Join(root, fmt.Sprintf("d%d", i)))
		require.NoError(t, os.Mkdir(paths[i], 0o777))
	}
	return paths
}

// openDirs opens filedisks.
func openDirs(t testing.TB, paths []string) (disks []disk.Disk) {
	for _, p := range paths {
		d, err := filedisk.Open(p, nil)
		require.NoError(t, err)
		disks = append(disks, d)
	}
	return disks
}

// TestNothingLeft opens, uses and closes a store on directories, and fails to
// open it: goroutines and open files are those from before.
func TestNothingLeft(t *testing.T) {
	ctx := context.Background()
	paths, index := dirs(t, 3), t.TempDir()
	opts := func() *Options {
		return &Options{Disks: openDirs(t, paths), IndexDir: index, Geometry: erasure.Geometry{Data: 2, Parity: 1}}
	}
	for range 2 {
		noLeaks(t, func() {
			e, err := Open(ctx, opts())
			require.NoError(t, err)
			_ = e.CreateBucket(ctx, "bucket") // the second time it is there
			b := e.Bucket("bucket")
			for _, n := range []int{100, 200 << 10} {
				_, err := b.PutBytes(ctx, "key", content(1, n), nil)
				require.NoError(t, err)
				o, err := b.Get(ctx, "key", nil)
				require.NoError(t, err)
				_, err = o.Read(make([]byte, 10))
				require.NoError(t, err)
				// An Object that is never closed holds memory, nothing else.
				for _, err := range b.List(ctx, nil) {
					require.NoError(t, err)
				}
			}
			require.NoError(t, e.Close())
			require.NoError(t, e.Close())
		})
	}
	noLeaks(t, func() {
		o := opts()
		o.Geometry = erasure.Geometry{Data: 1, Parity: 1}
		_, err := Open(ctx, o)
		require.ErrorIs(t, err, ErrOptions)
		o = opts()
		o.Disks = append(o.Disks, nil)
		_, err = Open(ctx, o)
		require.ErrorIs(t, err, ErrOptions)
		o = opts()
		o.IndexDir = paths[0] // a directory with other files
		_, err = Open(ctx, o)
		require.ErrorIs(t, err, ErrForeignDisk)
	})
	noLeaks(t, func() {
		e, err := Open(ctx, opts())
		require.NoError(t, err)
		require.NoError(t, e.Close())
	})
}
