package filedisk

import (
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// dataSyncer runs fdatasync on a file. It goes through the RawConn, which keeps
// the descriptor from being closed, and reused, during the call.
type dataSyncer struct{ conn syscall.RawConn }

func (s *dataSyncer) init(h *os.File) (err error) {
	s.conn, err = h.SyscallConn()
	return err
}

// syncCall carries the result out of the callback without an allocation for
// each call.
type syncCall struct {
	run func(fd uintptr)
	err error
}

var syncCalls = sync.Pool{New: func() any {
	c := new(syncCall)
	c.run = func(fd uintptr) {
		for {
			// EINTR comes before anything was written out and is the one
			// error after which a sync may be tried again.
			if c.err = unix.Fdatasync(int(fd)); c.err != unix.EINTR {
				return
			}
		}
	}
	return c
}}

func (s *dataSyncer) dataSync(*os.File) error {
	c := syncCalls.Get().(*syncCall)
	var err error
	if s.conn.Control(c.run) != nil {
		// Its one reason, for which os has an error that cannot be named.
		err = os.ErrClosed
	} else if c.err != nil {
		err = os.NewSyscallError("fdatasync", c.err)
	}
	c.err = nil
	syncCalls.Put(c)
	return err
}
