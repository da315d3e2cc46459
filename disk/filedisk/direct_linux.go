package filedisk

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

func openDirect(root *os.Root, name string) (*os.File, error) {
	return root.OpenFile(name, os.O_WRONLY|unix.O_DIRECT, 0)
}

// directUnsupported reports whether err says that the file system has no direct
// writes, or not such ones.
func directUnsupported(err error) bool {
	return errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.EOPNOTSUPP)
}

// allocate takes the space of [from, to) of a file that ends at from, unwritten,
// and grows it.
func allocate(h *os.File, from, to int64) error {
	conn, err := h.SyscallConn()
	if err != nil {
		return err
	}
	var errno error
	err = conn.Control(func(fd uintptr) {
		for {
			if errno = unix.Fallocate(int(fd), 0, from, to-from); errno != unix.EINTR {
				return
			}
		}
	})
	if err != nil {
		return os.ErrClosed // the one reason, for which os has an error that cannot be named
	}
	return os.NewSyscallError("fallocate", errno)
}

// allocateUnsupported reports whether err says that the file system cannot
// allocate without writing.
func allocateUnsupported(err error) bool {
	return errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.ENOSYS)
}
