package filedisk

import (
	"os"
	"runtime"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxContexts bounds the kernel's AIO contexts that a Disk keeps: the system has
// a limit on all of them (fs.aio-max-nr). More syncs at once go to goroutines.
const maxContexts = 8

// asyncSyncs begins fdatasyncs that the kernel runs on threads of its own
// (Linux AIO, IOCB_CMD_FDSYNC, Linux 4.18).
type asyncSyncs struct {
	mu     sync.Mutex
	free   []*aioContext
	made   int
	off    bool // the kernel, or a sandbox, has none of it
	closed bool
}

// aioContext is a kernel context that runs one sync at a time.
type aioContext struct {
	id  uintptr
	cb  iocb
	cbs [1]*iocb
	ev  ioEvent
}

// iocb is struct iocb of linux/aio_abi.h, with what a sync needs of it.
type iocb struct {
	_      [16]byte // data, key, flags of a read or write
	opcode uint16
	_      int16 // priority
	fd     uint32
	_      [40]byte // buffer, length, offset, flags: zero for a sync
}

// ioEvent is struct io_event.
type ioEvent struct {
	_   [16]byte
	res int64 // 0, or an error's negative number
	_   int64
}

const iocbFdsync = 3

// start begins an fdatasync of h. It returns nil if it cannot, with nothing
// begun.
func (a *asyncSyncs) start(s *dataSyncer) *aioContext {
	c := a.get()
	if c == nil {
		return nil
	}
	var n uintptr
	var errno syscall.Errno
	err := s.conn.Control(func(fd uintptr) {
		c.cb = iocb{opcode: iocbFdsync, fd: uint32(fd)}
		c.cbs[0] = &c.cb
		// The kernel takes a reference to the file and is done with cb.
		n, _, errno = unix.Syscall(unix.SYS_IO_SUBMIT, c.id, 1, uintptr(unsafe.Pointer(&c.cbs[0])))
	})
	if err == nil && n == 1 {
		return c
	}
	a.put(c)
	if err == nil && errno != unix.EAGAIN {
		a.disable()
	}
	return nil
}

// wait returns the outcome of the sync begun in c, whose use ends.
func (a *asyncSyncs) wait(c *aioContext) error {
	for {
		n, _, errno := unix.Syscall6(unix.SYS_IO_GETEVENTS, c.id, 1, 1, uintptr(unsafe.Pointer(&c.ev)), 0, 0)
		switch {
		case n == 1:
			res := c.ev.res
			a.put(c)
			if res < 0 {
				return os.NewSyscallError("fdatasync", syscall.Errno(-res))
			}
			return nil
		case errno != 0 && errno != unix.EINTR:
			// Not seen in any kernel. The sync's outcome is not known, and c
			// stays out of use.
			return os.NewSyscallError("io_getevents", errno)
		}
	}
}

func (a *asyncSyncs) get() *aioContext {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.off || a.closed {
		return nil
	}
	if n := len(a.free); n > 0 {
		c := a.free[n-1]
		a.free = a.free[:n-1]
		return c
	}
	if a.made == maxContexts {
		return nil
	}
	c := new(aioContext)
	if _, _, errno := unix.Syscall(unix.SYS_IO_SETUP, 1, uintptr(unsafe.Pointer(&c.id)), 0); errno != 0 {
		a.off = true
		return nil
	}
	a.made++
	return c
}

func (a *asyncSyncs) put(c *aioContext) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		c.destroy()
		return
	}
	a.free = append(a.free, c)
}

func (a *asyncSyncs) disable() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.off = true
}

// close gives the contexts back that are not in use; the others when they are
// waited for.
func (a *asyncSyncs) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	for _, c := range a.free {
		c.destroy()
	}
	a.free = nil
}

func (c *aioContext) destroy() {
	_, _, _ = unix.Syscall(unix.SYS_IO_DESTROY, c.id, 0, 0) // nothing is in flight
	runtime.KeepAlive(c)
}

// StartSync implements disk.SyncStarter.
func (f *file) StartSync() (wait func() error) {
	if !f.d.lost.Load() {
		if c := f.d.syncs.start(&f.sync); c != nil {
			return func() error { return f.fail("sync", f.d.syncs.wait(c)) }
		}
	}
	done := make(chan error, 1)
	go func() { done <- f.Sync() }()
	return func() error { return <-done }
}
