//go:build linux || darwin || freebsd || openbsd || netbsd || dragonfly

package filedisk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/cairnstore/cairn/disk"
)

// claimFile is the name of a lock file in the directory; here there is none.
const claimFile = ""

var (
	busyErrnos  = []error{unix.EMFILE, unix.ENFILE, unix.ENOMEM}
	spaceErrnos = []error{unix.ENOSPC, unix.EDQUOT}
)

// claim is an exclusive flock on a descriptor of the directory. Nothing else
// uses the descriptor but fsync and fstatfs of the directory.
type claim struct{ dir *os.File }

func takeClaim(path string) (*claim, error) {
	// O_DIRECTORY also keeps the open from waiting on a pipe. os adds
	// O_CLOEXEC.
	dir, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	c := &claim{dir: dir}
	err = c.control(func(fd int) error { return unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) })
	if err == nil {
		return c, nil
	}
	if err == unix.EWOULDBLOCK {
		err = fmt.Errorf("%w%s: %w", disk.ErrInUse, owner(dir), err)
	} else {
		err = os.NewSyscallError("flock", err)
	}
	_ = dir.Close()
	return nil, err
}

// owner says which process holds the claim on dir, or nothing.
func owner(dir *os.File) string {
	fi, err := dir.Stat()
	if err != nil {
		return ""
	}
	switch pid := lockOwner(fi); pid {
	case 0:
		return ""
	case os.Getpid():
		return fmt.Sprintf(" by this process (pid %d)", pid)
	default:
		return fmt.Sprintf(" by pid %d", pid)
	}
}

func (c *claim) stat() (fs.FileInfo, error) { return c.dir.Stat() }

// sync makes the directory's entries durable.
func (c *claim) sync() error {
	if err := c.dir.Sync(); err != nil {
		return fmt.Errorf("directory: %w", err)
	}
	return nil
}

func (c *claim) release() error {
	// Unlocked by name: a child between fork and exec holds a copy of the
	// descriptor, and with it the lock, for a moment after our close.
	err := c.control(func(fd int) error { return unix.Flock(fd, unix.LOCK_UN) })
	return errors.Join(err, c.dir.Close())
}

// control runs f on the descriptor, again while it is interrupted.
func (c *claim) control(f func(fd int) error) error {
	conn, err := c.dir.SyscallConn()
	if err != nil {
		return err
	}
	var ferr error
	err = conn.Control(func(fd uintptr) {
		for {
			if ferr = f(int(fd)); ferr != unix.EINTR {
				return
			}
		}
	})
	if err != nil {
		return os.ErrClosed // the one reason, for which os has no exported error
	}
	return ferr
}
