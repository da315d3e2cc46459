package meta

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"regexp"
	"runtime"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/cairnstore/cairn/erasure"
)

const lockName = "LOCK"

// claimIndex makes sure that dir is an index of pool, or makes it one, and
// returns the lock that keeps others out.
func claimIndex(fsys *deadlyFS, dir string, pool erasure.PoolID) (*pebble.Lock, error) {
	// Before anything is written: is it ours to write to?
	if _, err := checkIndexDir(fsys.FS, dir, pool); err != nil {
		return nil, err
	}
	if err := makeDir(fsys.FS, dir); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrIndexFailed, err)
	}
	lock, err := lockIndex(fsys, dir)
	if err != nil {
		return nil, err
	}
	// Again, now that nobody else can change it.
	marked, err := checkIndexDir(fsys.FS, dir, pool)
	if err == nil && !marked {
		if err = writeMarker(fsys.FS, dir, pool); err != nil {
			err = fmt.Errorf("%w: %w", ErrIndexFailed, err)
		}
	}
	if err != nil {
		lock.Close()
		return nil, err
	}
	return lock, nil
}

// CheckIndex returns nil if dir can be the index of pool: it is one, or is empty
// or missing. It writes nothing. Errors are those of OpenPebble.
func CheckIndex(dir string, pool erasure.PoolID) error {
	_, err := checkIndexDir(vfs.Default, dir, pool)
	return err
}

// checkIndexDir returns nil if dir is an index of pool, and then whether it is
// marked as one already: otherwise it is empty or missing.
func checkIndexDir(fsys vfs.FS, dir string, pool erasure.PoolID) (marked bool, err error) {
	owner, version, err := readMarker(fsys, dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, checkEmpty(fsys, dir)
	case errors.Is(err, ErrFormat):
		return false, err
	case err != nil:
		return false, fmt.Errorf("%w: %s: %w", ErrIndexFailed, dir, err)
	}
	err = checkOwner(dir, owner, pool)
	if err == nil && version < indexVersion {
		// The log says all of it again.
		err = fmt.Errorf("%w: %s has the older format %d, this program keeps %d", ErrIndexFailed, dir, version, indexVersion)
	}
	return true, err
}

func checkOwner(dir string, owner, pool erasure.PoolID) error {
	if owner != pool {
		return fmt.Errorf("%w: %s is pool %x's, want %x", ErrForeignIndex, dir, owner, pool)
	}
	return nil
}

// checkEmpty returns nil if dir is missing or holds nothing but what a crash
// leaves before the marker is there.
func checkEmpty(fsys vfs.FS, dir string) error {
	names, err := fsys.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrIndexFailed, err)
	}
	for _, name := range names {
		if name != lockName && name != markerTemp {
			return fmt.Errorf("%w: %s holds %s and no %s", ErrForeignIndex, dir, name, markerName)
		}
	}
	return nil
}

func readMarker(fsys vfs.FS, dir string) (owner erasure.PoolID, version byte, err error) {
	f, err := fsys.Open(fsys.PathJoin(dir, markerName))
	if err != nil {
		return owner, 0, err
	}
	b, err := io.ReadAll(io.LimitReader(f, 2*markerSize))
	if err = errors.Join(err, f.Close()); err != nil {
		return owner, 0, err
	}
	return decodeMarker(b)
}

// writeMarker makes the marker durable, in place of any that is there.
func writeMarker(fsys vfs.FS, dir string, pool erasure.PoolID) error {
	temp := fsys.PathJoin(dir, markerTemp)
	f, err := fsys.Create(temp, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(appendMarker(nil, pool))
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := fsys.Rename(temp, fsys.PathJoin(dir, markerName)); err != nil {
		return err
	}
	return syncDir(fsys, dir)
}

// makeDir makes dir and what is missing above it, each durably.
func makeDir(fsys vfs.FS, dir string) error {
	if _, err := fsys.Stat(dir); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := fsys.PathDir(dir)
	if parent != dir {
		if err := makeDir(fsys, parent); err != nil {
			return err
		}
	}
	if err := fsys.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return syncDir(fsys, parent)
}

func syncDir(fsys vfs.FS, dir string) error {
	d, err := fsys.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// lockIndex takes Pebble's own lock of a directory.
func lockIndex(fsys vfs.FS, dir string) (*pebble.Lock, error) {
	lock, err := pebble.LockDirectory(dir, fsys)
	if err == nil {
		return lock, nil
	}
	if lockHeld(err) {
		return nil, fmt.Errorf("%w: %s: %w", ErrInUse, dir, err)
	}
	return nil, fmt.Errorf("%w: %w", ErrIndexFailed, err)
}

// lockHeld tells a lock that somebody holds from one that could not be tried.
func lockHeld(err error) bool {
	var path *fs.PathError
	if errors.As(err, &path) {
		return false // the lock file itself could not be made
	}
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return true // Pebble's own list of what this process holds
	}
	const sharingViolation = 32 // Windows
	return errno == syscall.EAGAIN || errno == syscall.EACCES ||
		runtime.GOOS == "windows" && errno == sharingViolation
}

// pebbleFile matches the names that Pebble gives to its files.
var pebbleFile = regexp.MustCompile(
	`^(\d+\.(sst|blob|log|dbtmp)|\d+-\d+\.log|(MANIFEST|OPTIONS)-\d+|CURRENT|CURRENT\.\d+\.dbtmp|temporary\.\d+\.dbtmp|marker\..+|REMOTE-OBJ-CATALOG-\d+)$`)

// RemoveIndex empties the index directory dir, so that OpenPebble makes a new
// index there. It does so only if the marker file says that dir is an index of
// pool, or is there and cannot be read; an empty or missing dir is left as it
// is. Files that no index has stay, and keep the directory marked.
//
// Errors: ErrForeignIndex and *FormatError, with nothing removed; ErrInUse. A
// crash leaves the directory marked until all else is gone.
func RemoveIndex(dir string, pool erasure.PoolID) error {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if real, err := filepath.EvalSymlinks(abs); err == nil {
		abs = real
	}
	return removeIndex(vfs.Default, abs, pool)
}

func removeIndex(fsys vfs.FS, dir string, pool erasure.PoolID) error {
	owner, _, err := readMarker(fsys, dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return checkEmpty(fsys, dir)
	case errors.Is(err, ErrFormat):
		return err
	case err == nil: // one that cannot be read is a marker still
		if err := checkOwner(dir, owner, pool); err != nil {
			return err
		}
	}
	lock, err := lockIndex(fsys, dir)
	if err != nil {
		return err
	}
	return errors.Join(emptyIndex(fsys, dir, pool), lock.Close())
}

// emptyIndex removes what an index has in dir, the marker last.
func emptyIndex(fsys vfs.FS, dir string, pool erasure.PoolID) error {
	names, err := fsys.List(dir)
	if err != nil {
		return err
	}
	kept := 0
	for _, name := range names {
		switch {
		case name == markerName || name == lockName:
		case pebbleFile.MatchString(name) || name == markerTemp:
			if err := ignoreMissing(fsys.Remove(fsys.PathJoin(dir, name))); err != nil {
				return err
			}
		default:
			kept++
		}
	}
	if err := syncDir(fsys, dir); err != nil {
		return err
	}
	if kept > 0 {
		return writeMarker(fsys, dir, pool)
	}
	if err := fsys.Remove(fsys.PathJoin(dir, markerName)); err != nil {
		return err
	}
	return syncDir(fsys, dir)
}
