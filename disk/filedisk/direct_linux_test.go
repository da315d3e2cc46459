package filedisk

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cairnstore/cairn/disk"
)

// pages returns n bytes at an address that directAlign divides.
func pages(n int) []byte {
	b := make([]byte, n+directAlign)
	skip := (directAlign - int(uintptr(unsafe.Pointer(unsafe.SliceData(b)))%uintptr(directAlign))) % directAlign
	return b[skip : skip+n : skip+n]
}

// direct reports whether files in dir can be written past the page cache.
func direct(t *testing.T, dir string) bool {
	h, err := os.OpenFile(filepath.Join(dir, "probe"), os.O_RDWR|os.O_CREATE|unix.O_DIRECT, 0o600)
	if err != nil {
		return false
	}
	defer h.Close()
	_, err = h.WriteAt(pages(directAlign), 0)
	return err == nil
}

// What is aligned goes past the page cache once the file is reserved, and only
// then: judged by a plain file on the same file system.
func TestDirect(t *testing.T) {
	dir := t.TempDir()
	works := direct(t, t.TempDir())
	page := int64(directAlign)
	p := pages(directAlign * 3)
	copy(p, bytes.Repeat([]byte{7}, len(p)))
	for _, mode := range []Direct{DirectAuto, DirectOff} {
		d, err := Open(dir, &Options{Direct: mode})
		require.NoError(t, err)
		f, err := d.Create("file", page)
		require.NoError(t, err)
		// write reports whether the page cache took the write.
		write := func(p []byte, off int64) bool {
			before := f.(*file).past.Load()
			_, err := f.WriteAt(p, off)
			require.NoError(t, err)
			require.NoError(t, f.Sync())
			return f.(*file).past.Load() == before
		}
		require.True(t, write(p[:page], 0), "before Reserve")
		require.NoError(t, disk.Reserve(f, 64*page))
		off := !works || mode == DirectOff
		require.Equal(t, off, write(p[:page], page))
		require.Equal(t, off, write(p, 4*page))
		require.True(t, write(p[:page-1], 8*page), "length")
		require.True(t, write(p[1:page+1], 16*page), "address")
		require.True(t, write(p[:page], 24*page+512), "offset")
		require.Equal(t, off, write(p[:page], 28*page), "the next one again")
		require.NoError(t, f.Extend(80*page))
		require.True(t, write(p[:page], 32*page), "after Extend")
		got := make([]byte, 3*page)
		_, err = f.ReadAt(got, 4*page)
		require.NoError(t, err)
		require.Equal(t, p, got)
		require.NoError(t, f.Close())
		require.NoError(t, d.Remove("file"))
		require.NoError(t, d.Close())
	}
}

// A file system that refuses a direct write gets it the other way, at the same
// place, and is not asked again.
func TestDirectRefused(t *testing.T) {
	works := direct(t, t.TempDir())
	d, err := Open(t.TempDir(), nil)
	require.NoError(t, err)
	defer d.Close()
	d.align = 1 // we think that anything goes
	f, err := d.Create("file", 4096)
	require.NoError(t, err)
	require.NoError(t, disk.Reserve(f, 1<<20))
	require.Equal(t, works, f.(*file).direct.Load())
	p := bytes.Repeat([]byte{9}, 10_001)
	n, err := f.WriteAt(p, 5)
	require.NoError(t, err)
	require.Equal(t, len(p), n)
	got := make([]byte, len(p))
	_, err = f.ReadAt(got, 5)
	require.NoError(t, err)
	require.Equal(t, p, got)
	require.NoError(t, f.Sync())
	if works {
		require.False(t, f.(*file).direct.Load())
		other, err := d.Create("other", 4096)
		require.NoError(t, err)
		require.NoError(t, disk.Reserve(other, 1<<20))
		require.False(t, other.(*file).direct.Load())
	}
}

// A file that was removed, or whose name is another's, is written as before; no
// descriptor is left open.
func TestDirectOfRemovedFile(t *testing.T) {
	d, err := Open(t.TempDir(), nil)
	require.NoError(t, err)
	count := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		require.NoError(t, err)
		return len(entries)
	}
	before := count()
	f, err := d.Create("file", 4096)
	require.NoError(t, err)
	require.NoError(t, d.Remove("file"))
	_, err = f.WriteAt(pages(directAlign), 0)
	require.NoError(t, err)
	require.NoError(t, disk.Reserve(f, 1<<20))
	require.False(t, f.(*file).direct.Load())

	other, err := d.Create("file", 4096) // the same name
	require.NoError(t, err)
	require.NoError(t, disk.Reserve(f, 2<<20))
	p := bytes.Repeat([]byte{5}, directAlign)
	_, err = f.WriteAt(p, int64(directAlign))
	require.NoError(t, err)
	size, err := other.Size()
	require.NoError(t, err)
	require.EqualValues(t, 4096, size, "written to the file that has its name")
	require.NoError(t, disk.Reserve(other, 1<<20))
	require.NoError(t, f.Close())
	require.NoError(t, other.Close())
	require.NoError(t, other.Close())
	require.Equal(t, before, count())
	require.NoError(t, d.Close())
}

// Writes and reservations beside Close end with their result or ErrClosed, and
// leave no descriptor.
func TestDirectBesideClose(t *testing.T) {
	d, err := Open(t.TempDir(), nil)
	require.NoError(t, err)
	defer d.Close()
	for range 20 {
		f, err := d.Create("file", 4096)
		require.NoError(t, err)
		begun := make(chan struct{}, 2)
		var wg sync.WaitGroup
		wg.Go(func() {
			begun <- struct{}{}
			if err := disk.Reserve(f, 1<<20); err != nil && !errors.Is(err, disk.ErrClosed) {
				t.Error(err)
			}
		})
		wg.Go(func() {
			p := pages(directAlign)
			begun <- struct{}{}
			for i := range 50 {
				if _, err := f.WriteAt(p, int64(i+1)*int64(directAlign)); err != nil && !errors.Is(err, disk.ErrClosed) {
					t.Error(err)
				}
			}
		})
		<-begun
		<-begun
		require.NoError(t, f.Close())
		wg.Wait()
		if h := f.(*file).second.Load(); h != nil {
			_, err := h.Stat()
			require.ErrorIs(t, err, os.ErrClosed)
		}
		require.NoError(t, d.Remove("file"))
	}
}
