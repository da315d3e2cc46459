package filedisk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/windows"

	"github.com/cairnstore/cairn/disk"
)

// claimFile is the lock file. List does not show it, and no valid name is equal
// to it.
const claimFile = ".cairn-lock"

var (
	busyErrnos  = []error{windows.ERROR_TOO_MANY_OPEN_FILES, windows.ERROR_NOT_ENOUGH_MEMORY, windows.ERROR_NO_SYSTEM_RESOURCES}
	spaceErrnos = []error{windows.ERROR_DISK_FULL, windows.ERROR_HANDLE_DISK_FULL, windows.ERROR_DISK_QUOTA_EXCEEDED}
)

// claim is the lock file, open with no sharing and deleted on close.
type claim struct {
	path string
	file windows.Handle
}

func takeClaim(path string) (*claim, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !fi.IsDir() {
		return nil, fmt.Errorf("%w: not a directory", fs.ErrInvalid)
	}
	name, err := windows.UTF16PtrFromString(filepath.Join(path, claimFile))
	if err != nil {
		return nil, err
	}
	h, err := windows.CreateFile(name, windows.GENERIC_READ|windows.GENERIC_WRITE|windows.DELETE, 0, nil,
		windows.OPEN_ALWAYS, windows.FILE_ATTRIBUTE_HIDDEN|windows.FILE_FLAG_DELETE_ON_CLOSE, 0)
	switch {
	case errors.Is(err, windows.ERROR_SHARING_VIOLATION), errors.Is(err, windows.ERROR_DELETE_PENDING):
		return nil, fmt.Errorf("%w: %w", disk.ErrInUse, err)
	case err != nil:
		return nil, os.NewSyscallError("CreateFile", err)
	}
	return &claim{path: path, file: h}, nil
}

func (c *claim) stat() (fs.FileInfo, error) { return os.Stat(c.path) }

// sync has nothing to do: NTFS logs its directory changes and offers no flush
// of a directory without administrator's rights.
func (c *claim) sync() error { return nil }

func (c *claim) release() error { return windows.CloseHandle(c.file) }

func (c *claim) usage() (disk.Usage, error) {
	name, err := windows.UTF16PtrFromString(c.path)
	if err != nil {
		return disk.Usage{}, err
	}
	var free, total, all uint64
	if err := windows.GetDiskFreeSpaceEx(name, &free, &total, &all); err != nil {
		return disk.Usage{}, os.NewSyscallError("GetDiskFreeSpaceEx", err)
	}
	return disk.Usage{Total: int64(total), Free: int64(free)}, nil
}
