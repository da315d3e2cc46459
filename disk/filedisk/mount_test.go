//go:build linux

package filedisk_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/disk/filedisk"
)

// mountEnv says that the test runs with mounts of its own.
const mountEnv = "FILEDISK_TEST_MOUNTS"

// runWithMounts runs the test again in a process with a mount namespace of its
// own, and if need be a user namespace in which it may mount.
func runWithMounts(t *testing.T) {
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), mountEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.NotContains(t, string(out), "no tests to run")
}

// TestMounts fills a small file system, opens it a second time through a bind
// mount, and hides it below another.
func TestMounts(t *testing.T) {
	if os.Getenv(mountEnv) == "" {
		runWithMounts(t)
		return
	}
	dir := filepath.Join(t.TempDir(), "full")
	require.NoError(t, os.Mkdir(dir, 0o700))
	require.NoError(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"))
	t.Cleanup(func() { require.NoError(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	d := mustOpen(t, dir)
	u, err := d.Usage()
	require.NoError(t, err)
	require.Equal(t, disk.Usage{Total: 4 << 20, Free: 4 << 20}, u)
	f, err := d.Create("file", 1<<20)
	require.NoError(t, err)
	want := bytes.Repeat([]byte("x"), 1<<20)
	_, err = f.WriteAt(want, 0)
	require.NoError(t, err)
	err = f.Extend(8 << 20)
	require.ErrorIs(t, err, disk.ErrNoSpace)
	require.ErrorIs(t, err, unix.ENOSPC)
	n, err := f.Size()
	require.NoError(t, err)
	require.Equal(t, int64(1<<20), n)
	_, err = d.Create("other", 8<<20)
	require.ErrorIs(t, err, disk.ErrNoSpace)
	u, err = d.Usage()
	require.NoError(t, err)
	require.Equal(t, int64(3<<20), u.Free, "nothing stayed of what failed")
	require.NoError(t, f.Extend(2<<20))
	got := make([]byte, 1<<20)
	_, err = f.ReadAt(got, 0)
	require.NoError(t, err)
	require.True(t, bytes.Equal(want, got))
	require.NoError(t, f.Close())

	bind := t.TempDir()
	require.NoError(t, unix.Mount(dir, bind, "", unix.MS_BIND, ""))
	_, err = filedisk.Open(bind, nil)
	require.ErrorIs(t, err, disk.ErrInUse)
	require.NoError(t, unix.Unmount(bind, 0))

	// A mount put over the directory hides the disk.
	require.NoError(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"))
	err = d.Check()
	require.NoError(t, unix.Unmount(dir, 0))
	require.ErrorIs(t, err, disk.ErrLost)
	require.NoError(t, d.Close())
}
