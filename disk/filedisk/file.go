package filedisk

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"unsafe"

	"github.com/cairnstore/cairn/disk"
)

// zeroChunk is how many zeros one write lays down, in bytes: while it does the
// file takes no other write.
const zeroChunk = 256 << 10

// zeros is shared by all files and never written. It is aligned for direct
// writes.
var zeros = func() []byte {
	b := make([]byte, zeroChunk+directAlign)
	from := -int(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) & (directAlign - 1)
	return b[from : from+zeroChunk]
}()

// file is one handle. It implements disk.File.
type file struct {
	d    *Disk
	node *node
	h    *os.File
	sync dataSyncer

	second atomic.Pointer[os.File] // for direct writes; opened by the first Reserve
	direct atomic.Bool             // aligned writes go through second
	past   atomic.Int64            // writes that went through second
	closed bool                    // under Disk.mu
}

var (
	_ disk.File     = (*file)(nil)
	_ disk.Reserver = (*file)(nil)
)

// register makes a handle of h, and a node if it is the first of its file. The
// caller holds Disk.entries.
func (d *Disk) register(name string, h *os.File) (*file, error) {
	ident, err := h.Stat()
	if err != nil {
		return nil, err
	}
	f := &file{d: d, h: h}
	if err := f.sync.init(h); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, disk.ErrClosed
	}
	n := d.nodes[name]
	if n == nil {
		n = &node{name: name, ident: ident}
		d.nodes[name] = n
	} else if !os.SameFile(n.ident, ident) {
		return nil, d.lose(name, errors.New("the name leads to another file"))
	}
	f.node = n
	n.handles++
	d.files[f] = struct{}{}
	return f, nil
}

// unregister undoes register. It may be called twice.
func (d *Disk) unregister(f *file) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f.closed = true
	if _, ok := d.files[f]; !ok {
		return
	}
	delete(d.files, f)
	n := f.node
	n.handles--
	if n.handles == 0 && d.nodes[n.name] == n {
		delete(d.nodes, n.name)
	}
}

// forget takes n out of what Check looks at. It reports false if Remove had
// done so.
func (d *Disk) forget(n *node) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n.removed {
		return false
	}
	n.removed = true
	delete(d.nodes, n.name)
	return true
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.h.ReadAt(p, off)
	if err != nil && err != io.EOF {
		err = f.fail("read", err)
	}
	return n, err
}

func (f *file) WriteAt(p []byte, off int64) (int, error) {
	if f.d.lost.Load() {
		return 0, f.fail("write", disk.ErrLost)
	}
	n, err := f.writeAt(p, off)
	if err != nil {
		err = f.fail("write", err)
	}
	return n, err
}

func (f *file) Extend(size int64) error {
	f.node.extend.Lock()
	defer f.node.extend.Unlock()
	if f.d.lost.Load() {
		return f.fail("extend", disk.ErrLost)
	}
	fi, err := f.h.Stat()
	if err != nil {
		return f.fail("extend", err)
	}
	old := fi.Size()
	if old >= size {
		return nil
	}
	// Zeros may go through the page cache, and the two must not meet.
	f.direct.Store(false)
	if err := f.writeZeros(old, size); err != nil {
		// No visible effect: give back what did fit. If this fails too, the
		// file is longer than it was and ends in zeros.
		_ = f.h.Truncate(old)
		return f.fail("extend", err)
	}
	return f.fail("extend", f.sync.dataSync(f.h))
}

// Reserve implements disk.Reserver: it costs no sync. Where the file system
// cannot allocate without writing, it writes zeros.
func (f *file) Reserve(size int64) error {
	f.node.extend.Lock()
	defer f.node.extend.Unlock()
	if f.d.lost.Load() {
		return f.fail("reserve", disk.ErrLost)
	}
	fi, err := f.h.Stat()
	if err != nil {
		return f.fail("reserve", err)
	}
	old := fi.Size()
	if old >= size {
		return nil
	}
	err = allocate(f.h, old, size)
	switch {
	case err == nil:
		f.enableDirect()
		return nil
	case allocateUnsupported(err):
		f.direct.Store(false)
		err = f.writeZeros(old, size)
	}
	if err != nil {
		_ = f.h.Truncate(old) // as in Extend
	}
	return f.fail("reserve", err)
}

func (f *file) Sync() error {
	if f.d.lost.Load() {
		return f.fail("sync", disk.ErrLost)
	}
	return f.fail("sync", f.sync.dataSync(f.h))
}

func (f *file) Size() (int64, error) {
	fi, err := f.h.Stat()
	if err != nil {
		return 0, f.fail("size", err)
	}
	return fi.Size(), nil
}

func (f *file) Close() error {
	f.d.unregister(f)
	if err := f.closeDirect(); err != nil {
		return f.fail("close", errors.Join(err, f.h.Close()))
	}
	if err := f.h.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return f.fail("close", err)
	}
	return nil
}

// fill gives a new file its size and makes it durable. The full fsync, not
// fdatasync: the inode is new.
func (f *file) fill(size int64) error {
	if err := f.writeZeros(0, size); err != nil {
		return err
	}
	return f.h.Sync()
}

// writeZeros grows the file from from to to. It goes past the page cache where it
// can: zeros that nobody reads would push out what is read, and cost ten times
// the processor time. The caller holds node.extend, or the only handle.
func (f *file) writeZeros(from, to int64) error {
	h := f.h
	if (from|to)&int64(directAlign-1) == 0 && to > from {
		if direct := f.openDirect(); direct != nil {
			defer direct.Close() // what counts is synced by the caller
			h = direct
		}
	}
	for from < to {
		n, err := h.WriteAt(zeros[:min(zeroChunk, to-from)], from)
		from += int64(n)
		if err != nil && h != f.h && directUnsupported(err) {
			f.d.buffered.Store(true)
			h = f.h
			continue
		}
		if err != nil {
			return fmt.Errorf("zeros at offset %d: %w", from, err)
		}
	}
	return nil
}

func (f *file) fail(op string, err error) error { return f.d.fail(op, f.node.name, err) }
