package filedisk

import (
	"errors"
	"os"
	"unsafe"
)

// Direct says whether files may be written past the page cache.
type Direct uint8

const (
	// DirectAuto has writes to a file that was reserved (disk.Reserve) go
	// straight to the disk where offset, length and address of the bytes are
	// aligned to pages, and the system and the file system can do that. It
	// saves the copy and most of the processor time, and leaves the page cache
	// to what is read. The default.
	DirectAuto Direct = iota
	// DirectOff has all writes go through the page cache.
	DirectOff
)

// directAlign is what offset, length and address of a direct write must be
// multiples of: no less than a page of the page cache, so that none is written
// both ways.
var directAlign = max(4096, os.Getpagesize())

// enableDirect opens the second descriptor that direct writes need. It does
// nothing if it has one or cannot have one: nobody but the clock notices. The
// caller holds node.extend.
func (f *file) enableDirect() {
	if f.second.Load() != nil {
		return
	}
	h := f.openDirect()
	if h == nil {
		return
	}
	f.second.Store(h)
	f.direct.Store(true)
	f.d.mu.Lock()
	closed := f.closed
	f.d.mu.Unlock()
	if closed {
		_ = h.Close() // Close came between and saw none
	}
}

// openDirect returns a descriptor for direct writes, nil if there can be none.
func (f *file) openDirect() *os.File {
	if f.d.buffered.Load() {
		return nil
	}
	h, err := openDirect(f.d.root, f.node.name)
	if err != nil {
		if directUnsupported(err) {
			f.d.buffered.Store(true)
		}
		return nil
	}
	// The name may have been removed, and even be another file's by now.
	ident, err := h.Stat()
	if err != nil || !os.SameFile(ident, f.node.ident) {
		_ = h.Close() // nothing was written through it
		return nil
	}
	return h
}

// writeAt writes p the direct way if it may.
func (f *file) writeAt(p []byte, off int64) (int, error) {
	h := f.second.Load()
	if h == nil || !f.direct.Load() || len(p) == 0 || !f.d.aligned(p, off) {
		return f.h.WriteAt(p, off)
	}
	n, err := h.WriteAt(p, off)
	if err == nil || !directUnsupported(err) {
		f.past.Add(1)
		return n, err
	}
	// The file system wants more of it than we give, and took nothing of what
	// is left. It will not tomorrow either.
	f.d.buffered.Store(true)
	f.direct.Store(false)
	m, err := f.h.WriteAt(p[n:], off+int64(n))
	return n + m, err
}

func (d *Disk) aligned(p []byte, off int64) bool {
	address := uintptr(unsafe.Pointer(unsafe.SliceData(p)))
	return (uint64(off)|uint64(len(p))|uint64(address))&uint64(d.align-1) == 0
}

// EndWrites implements disk.WriteEnder.
func (f *file) EndWrites() {
	f.direct.Store(false)
	_ = f.closeDirect() // what counts was synced
}

// closeDirect closes the second descriptor, if there is one.
func (f *file) closeDirect() error {
	h := f.second.Swap(nil)
	if h == nil {
		return nil
	}
	if err := h.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}
