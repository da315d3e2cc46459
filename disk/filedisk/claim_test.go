//go:build linux

package filedisk_test

import (
	"bufio"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/disk/filedisk"
)

// holdEnv has the test binary claim the directory it names, say so, and wait
// to be killed.
const holdEnv = "FILEDISK_TEST_HOLD"

func TestMain(m *testing.M) {
	if path := os.Getenv(holdEnv); path != "" {
		hold(path)
	}
	goleak.VerifyTestMain(m)
}

func hold(path string) {
	if _, err := filedisk.Open(path, nil); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("held")
	_, _ = os.Stdin.Read(make([]byte, 1)) // the parent never writes
	os.Exit(0)
}

func TestOpenWritesNothing(t *testing.T) {
	dir := t.TempDir()
	before, err := os.Stat(dir)
	require.NoError(t, err)
	d := mustOpen(t, dir)
	_, err = d.List()
	require.NoError(t, err)
	require.NoError(t, d.Check())
	require.NoError(t, d.Close())
	after, err := os.Stat(dir)
	require.NoError(t, err)
	require.Equal(t, before.ModTime(), after.ModTime())
	names, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, names)
}

func TestOpenNoDirectory(t *testing.T) {
	dir := t.TempDir()
	_, err := filedisk.Open(filepath.Join(dir, "missing"), nil)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, filepath.Join(dir, "missing"))
	require.NoDirExists(t, filepath.Join(dir, "missing"))

	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	_, err = filedisk.Open(filepath.Join(dir, "file"), nil)
	require.ErrorIs(t, err, unix.ENOTDIR)

	// A pipe that nobody writes must not hang Open.
	require.NoError(t, unix.Mkfifo(filepath.Join(dir, "pipe"), 0o600))
	_, err = filedisk.Open(filepath.Join(dir, "pipe"), nil)
	require.ErrorIs(t, err, unix.ENOTDIR)
}

func TestName(t *testing.T) {
	d, err := filedisk.Open(t.TempDir(), &filedisk.Options{Name: "bay 3"})
	require.NoError(t, err)
	defer d.Close()
	require.Equal(t, "bay 3", d.String())
}

func TestSecondOpen(t *testing.T) {
	base := t.TempDir()
	dir, link := filepath.Join(base, "dir"), filepath.Join(base, "link")
	require.NoError(t, os.Mkdir(dir, 0o700))
	require.NoError(t, os.Symlink(dir, link))
	d := mustOpen(t, dir)
	for _, path := range []string{dir, link, dir + "/../dir/"} {
		_, err := filedisk.Open(path, nil)
		require.ErrorIs(t, err, disk.ErrInUse)
		require.ErrorContains(t, err, filepath.Clean(path))
		require.ErrorContains(t, err, fmt.Sprintf("pid %d", os.Getpid()))
	}
	// Using the disk does not let go of it, as a POSIX lock would.
	f, err := d.Create("file", 1)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	_, err = d.List()
	require.NoError(t, err)
	_, err = filedisk.Open(dir, nil)
	require.ErrorIs(t, err, disk.ErrInUse)

	require.NoError(t, d.Close())
	require.NoError(t, mustOpen(t, link).Close())
}

func TestClaimDiesWithProcess(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), holdEnv+"="+dir)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	defer in.Close()
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "held\n", line)

	_, err = filedisk.Open(dir, nil)
	require.ErrorIs(t, err, disk.ErrInUse)
	require.ErrorContains(t, err, "pid "+strconv.Itoa(cmd.Process.Pid))

	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())
	require.NoError(t, mustOpen(t, dir).Close())
}

func TestDescriptors(t *testing.T) {
	dir := t.TempDir()
	before := descriptors(t)
	for range 3 {
		d := mustOpen(t, dir)
		for i := range 5 {
			_, err := d.Create(fmt.Sprintf("file-%d", i), 10)
			require.NoError(t, err)
		}
		_, err := d.Create("file-0", 10)
		require.ErrorIs(t, err, fs.ErrExist)
		_, err = d.Open("missing")
		require.ErrorIs(t, err, fs.ErrNotExist)
		_, err = d.Open("file-1")
		require.NoError(t, err)
		_, err = filedisk.Open(dir, nil)
		require.ErrorIs(t, err, disk.ErrInUse)
		for i := range 5 {
			require.NoError(t, d.Remove(fmt.Sprintf("file-%d", i))) // handles stay open
		}
		require.NoError(t, d.Close())
		// Handles of removed files are the caller's; Close must reach them too.
		require.Equal(t, before, descriptors(t))
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(names)
}
