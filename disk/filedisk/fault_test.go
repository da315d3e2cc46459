//go:build linux

package filedisk_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/disk/filedisk"
)

// withSizeLimit runs f while writes beyond n bytes of any file fail with EFBIG.
// The runtime ignores the signal that comes with it.
func withSizeLimit(t *testing.T, n uint64, f func()) {
	t.Helper()
	var old unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_FSIZE, &old))
	defer func() { require.NoError(t, unix.Setrlimit(unix.RLIMIT_FSIZE, &old)) }()
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: n, Max: old.Max}))
	f()
}

// TestWriteFails: a Create or Extend that fails in the middle has no effect,
// and the disk is none the worse.
func TestWriteFails(t *testing.T) {
	d := mustOpen(t, t.TempDir())
	f, err := d.Create("file", 1<<20)
	require.NoError(t, err)
	withSizeLimit(t, 2<<20+100, func() {
		_, err := d.Create("other", 4<<20)
		require.ErrorIs(t, err, unix.EFBIG)
		require.ErrorContains(t, err, "other on "+d.String())
		require.ErrorIs(t, f.Extend(4<<20), unix.EFBIG)
		require.ErrorIs(t, disk.Reserve(f, 4<<20), unix.EFBIG)
	})
	entries, err := d.List()
	require.NoError(t, err)
	require.Equal(t, []disk.Entry{{Name: "file", Size: 1 << 20}}, entries)
	require.NoError(t, d.Check())
	_, err = d.Create("other", 4<<20)
	require.NoError(t, err)
	require.NoError(t, f.Extend(4<<20))
}

// TestErrnos: shortages of the host are told from faults of the disk.
func TestErrnos(t *testing.T) {
	d := mustOpen(t, t.TempDir())
	f, err := d.Create("file", 1)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	dir := t.TempDir()
	var opened []disk.File
	err = withDescriptors(t, func() error {
		for {
			f, err := d.Open("file")
			if err != nil {
				return err
			}
			opened = append(opened, f)
		}
	})
	require.ErrorIs(t, err, disk.ErrBusy)
	require.ErrorIs(t, err, unix.EMFILE)
	require.NotErrorIs(t, err, disk.ErrLost)
	err = withDescriptors(t, func() error { _, err := d.Create("new", 1); return err })
	require.ErrorIs(t, err, disk.ErrBusy)
	err = withDescriptors(t, func() error { _, err := d.List(); return err })
	require.ErrorIs(t, err, disk.ErrBusy)
	err = withDescriptors(t, func() error { _, err := filedisk.Open(dir, nil); return err })
	require.ErrorIs(t, err, disk.ErrBusy)
	require.NoError(t, withDescriptors(t, d.Check), "Check needs no descriptor")
	for _, f := range opened {
		require.NoError(t, f.Close())
	}
	entries, err := d.List()
	require.NoError(t, err)
	require.Equal(t, []disk.Entry{{Name: "file", Size: 1}}, entries)
}

// withDescriptors runs f when no descriptor is left but a few below those open
// already, which f may use up.
func withDescriptors(t *testing.T, f func() error) error {
	t.Helper()
	var old unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &old))
	defer func() { require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &old)) }()
	next, err := unix.Dup(0)
	require.NoError(t, err)
	require.NoError(t, unix.Close(next))
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(next), Max: old.Max}))
	return f()
}

// TestCloseDuringCreate: a Create under which the disk is closed leaves nothing
// or all of the file, and the claim is free once both have returned.
func TestCloseDuringCreate(t *testing.T) {
	dir := t.TempDir()
	for range 10 {
		d := mustOpen(t, dir)
		begun, done := make(chan struct{}), make(chan error, 1)
		go func() {
			close(begun)
			_, err := d.Create("file", 8<<20)
			done <- err
		}()
		<-begun
		require.NoError(t, d.Close())
		err := <-done
		d = mustOpen(t, dir)
		entries, lerr := d.List()
		require.NoError(t, lerr)
		if err == nil {
			require.Equal(t, []disk.Entry{{Name: "file", Size: 8 << 20}}, entries)
			require.NoError(t, d.Remove("file"))
		} else {
			require.True(t, errors.Is(err, disk.ErrClosed), "%v", err)
			require.Empty(t, entries)
		}
		require.NoError(t, d.Close())
	}
}

func TestAllocations(t *testing.T) {
	d := mustOpen(t, t.TempDir())
	f, err := d.Create("file", 1<<16)
	require.NoError(t, err)
	p := make([]byte, 4096)
	require.Zero(t, testing.AllocsPerRun(100, func() { _, err = f.WriteAt(p, 4096) }))
	require.NoError(t, err)
	require.Zero(t, testing.AllocsPerRun(100, func() { _, err = f.ReadAt(p, 4096) }))
	require.NoError(t, err)
	require.Less(t, testing.AllocsPerRun(20, func() { err = f.Sync() }), 1.0)
	require.NoError(t, err)
}
