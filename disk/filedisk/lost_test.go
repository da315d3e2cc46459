//go:build linux

package filedisk_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/disk/filedisk"
)

// lostCase is a way to lose a disk that lies in dir and has the files "open",
// which is open, and "other".
var lostCases = map[string]func(t *testing.T, dir string){
	"removed":  func(t *testing.T, dir string) { require.NoError(t, os.RemoveAll(dir)) },
	"renamed":  func(t *testing.T, dir string) { require.NoError(t, os.Rename(dir, dir+"-away")) },
	"replaced": replace,
	"link retargeted": func(t *testing.T, dir string) {
		require.NoError(t, os.Rename(dir, dir+"-away"))
		require.NoError(t, os.Mkdir(dir+"-new", 0o700))
		require.NoError(t, os.Symlink(dir+"-new", dir))
	},
	"open file deleted": func(t *testing.T, dir string) { require.NoError(t, os.Remove(filepath.Join(dir, "open"))) },
	"open file replaced": func(t *testing.T, dir string) {
		data, err := os.ReadFile(filepath.Join(dir, "open"))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, "copy"), data, 0o600))
		require.NoError(t, os.Rename(filepath.Join(dir, "copy"), filepath.Join(dir, "open")))
	},
	"open file renamed": func(t *testing.T, dir string) {
		require.NoError(t, os.Rename(filepath.Join(dir, "open"), filepath.Join(dir, "renamed")))
	},
}

func replace(t *testing.T, dir string) {
	require.NoError(t, os.Rename(dir, dir+"-away"))
	require.NoError(t, os.Mkdir(dir, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "open"), make([]byte, 100), 0o600))
}

func lostDisk(t *testing.T, lose func(t *testing.T, dir string)) (*filedisk.Disk, disk.File) {
	dir := filepath.Join(t.TempDir(), "disk")
	require.NoError(t, os.Mkdir(dir, 0o700))
	d := mustOpen(t, dir)
	f, err := d.Create("open", 100)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte("content"), 0)
	require.NoError(t, err)
	other, err := d.Create("other", 1)
	require.NoError(t, err)
	require.NoError(t, other.Close())
	require.NoError(t, d.Check())
	lose(t, dir)
	return d, f
}

func TestLost(t *testing.T) {
	for name, lose := range lostCases {
		t.Run(name, func(t *testing.T) {
			d, f := lostDisk(t, lose)
			require.ErrorIs(t, d.Check(), disk.ErrLost)
			require.ErrorIs(t, d.Check(), disk.ErrLost, "for good")

			_, err := d.Create("new", 1)
			require.ErrorIs(t, err, disk.ErrLost)
			require.ErrorContains(t, err, d.String())
			_, err = d.Open("other")
			require.ErrorIs(t, err, disk.ErrLost)
			require.ErrorIs(t, d.Remove("other"), disk.ErrLost)
			_, err = d.List()
			require.ErrorIs(t, err, disk.ErrLost)
			_, err = f.WriteAt([]byte("x"), 0)
			require.ErrorIs(t, err, disk.ErrLost)
			require.ErrorIs(t, f.Sync(), disk.ErrLost)
			require.ErrorIs(t, f.Extend(200), disk.ErrLost)
			p := make([]byte, 7)
			_, err = f.ReadAt(p, 0)
			require.NoError(t, err, "reads of open files go on")
			require.Equal(t, "content", string(p))
			require.NoError(t, d.Close())
		})
	}
}

// TestLostUnchecked: the calls that look at the directory tell a missing
// directory from a missing file and from an empty disk, without a Check before.
func TestLostUnchecked(t *testing.T) {
	for _, name := range []string{"removed", "renamed", "replaced"} {
		calls := map[string]func(d *filedisk.Disk) error{
			"create": func(d *filedisk.Disk) error { _, err := d.Create("new", 1); return err },
			"open":   func(d *filedisk.Disk) error { _, err := d.Open("missing"); return err },
			"remove": func(d *filedisk.Disk) error { return d.Remove("other") },
			"list":   func(d *filedisk.Disk) error { _, err := d.List(); return err },
		}
		for call, run := range calls {
			t.Run(name+"/"+call, func(t *testing.T) {
				d, _ := lostDisk(t, lostCases[name])
				require.ErrorIs(t, run(d), disk.ErrLost)
				require.NoFileExists(t, filepath.Join(d.String(), "new"))
				if name == "renamed" {
					require.FileExists(t, filepath.Join(d.String()+"-away", "other"), "removed from a disk that was lost")
				}
			})
		}
	}
}

// TestCheckBesideRemove: files that come and go by our own hand, open or not,
// never make a disk lost.
func TestCheckBesideRemove(t *testing.T) {
	d := mustOpen(t, t.TempDir())
	done, checked := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			select {
			case <-done:
				checked <- nil
				return
			default:
			}
			if err := d.Check(); err != nil {
				checked <- err
				return
			}
		}
	}()
	for range 300 {
		f, err := d.Create("file", 0)
		require.NoError(t, err)
		g, err := d.Open("file")
		require.NoError(t, err)
		require.NoError(t, d.Remove("file"))
		require.NoError(t, f.Close())
		require.NoError(t, g.Close())
	}
	close(done)
	require.NoError(t, <-checked)
}

func TestForeignEntries(t *testing.T) {
	dir := t.TempDir()
	d := mustOpen(t, dir)
	require.NoError(t, os.Mkdir(filepath.Join(dir, "lost+found"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, ".Hidden"), []byte("abc"), 0o600))
	outside := filepath.Join(t.TempDir(), "outside")
	require.NoError(t, os.WriteFile(outside, []byte("secret"), 0o600))
	require.NoError(t, os.Symlink(outside, filepath.Join(dir, "link")))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "target"), []byte("abcd"), 0o600))
	require.NoError(t, os.Symlink("target", filepath.Join(dir, "link-inside")))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "sub"), 0o700))

	entries, err := d.List()
	require.NoError(t, err)
	require.Equal(t, []disk.Entry{
		{Name: ".Hidden", Size: 3},
		{Name: "link", Dir: true},
		{Name: "link-inside", Dir: true},
		{Name: "lost+found", Dir: true},
		{Name: "sub", Dir: true},
		{Name: "target", Size: 4},
	}, entries)
	for _, name := range []string{"link", "link-inside", "sub"} {
		_, err := d.Open(name)
		require.Error(t, err, name)
		require.NotErrorIs(t, err, os.ErrNotExist, "it is there")
		_, err = d.Create(name, 1)
		require.ErrorIs(t, err, os.ErrExist, name)
	}
	require.Error(t, d.Remove("sub"))
	require.DirExists(t, filepath.Join(dir, "sub"))
	require.NoError(t, d.Check(), "none of this is a reason to call the disk lost")
}

func TestPathSurvivesChdir(t *testing.T) {
	base := t.TempDir()
	t.Chdir(base)
	require.NoError(t, os.Mkdir("disk", 0o700))
	d := mustOpen(t, "disk")
	t.Chdir("/")
	require.NoError(t, d.Check())
	_, err := d.Create("file", 1)
	require.NoError(t, err)
	require.FileExists(t, filepath.Join(base, "disk", "file"))
}
