package memdisk

import (
	"fmt"
	"io"
	"io/fs"

	"github.com/cairnstore/cairn/disk"
)

// file is one handle. It implements disk.File. All fields are under store.mu.
type file struct {
	d      *Disk
	name   string
	ino    *inode
	closed bool
}

var (
	_ disk.File     = (*file)(nil)
	_ disk.Reserver = (*file)(nil)
)

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, f.fail("read", fmt.Errorf("%w: offset %d", fs.ErrInvalid, off))
	}
	s := f.d.store
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := f.readable(); err != nil {
		return 0, f.fail("read", err)
	}
	if len(p) == 0 {
		return 0, nil
	}
	n := int(min(int64(len(p)), max(0, f.ino.size-off)))
	f.ino.readAt(p[:n], off)
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *file) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || off > maxFile-int64(len(p)) {
		return 0, f.fail("write", fmt.Errorf("%w: %d bytes at offset %d", fs.ErrInvalid, len(p), off))
	}
	s := f.d.store
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := f.writable(); err != nil {
		return 0, f.fail("write", err)
	}
	if len(p) == 0 {
		return 0, nil
	}
	grow := max(0, off+int64(len(p))-f.ino.size)
	if err := f.room(grow); err != nil {
		return 0, f.fail("write", err)
	}
	pw := s.machine.begin()
	if pw == powerOff {
		return 0, f.fail("write", ErrPower)
	}
	f.grow(grow)
	f.ino.writeAt(s.tok, p, off)
	if pw == powerGoes {
		return 0, f.fail("write", ErrPower)
	}
	return len(p), nil
}

// Extend makes only the new zeros and the size durable, not what was written
// before: disk.File promises no more.
func (f *file) Extend(size int64) error {
	return f.fail("extend", f.growTo(size, true))
}

// Reserve leaves the size unsynced, as disk.Reserver allows.
func (f *file) Reserve(size int64) error {
	return f.fail("reserve", f.growTo(size, false))
}

func (f *file) growTo(size int64, durable bool) error {
	if size > maxFile {
		return fmt.Errorf("%w: size %d", fs.ErrInvalid, size)
	}
	s := f.d.store
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := f.writable(); err != nil {
		return err
	}
	grow := size - f.ino.size
	if grow <= 0 {
		return nil
	}
	if err := f.room(grow); err != nil {
		return err
	}
	pw := s.machine.begin()
	if pw == powerOff {
		return ErrPower
	}
	f.grow(grow)
	if pw == powerGoes {
		return ErrPower
	}
	if durable {
		f.ino.synced = size
	}
	return nil
}

func (f *file) Sync() error {
	s := f.d.store
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := f.writable(); err != nil {
		return f.fail("sync", err)
	}
	if s.machine.begin() != powerOn {
		return f.fail("sync", ErrPower)
	}
	f.ino.sync(s.tok)
	return nil
}

func (f *file) Size() (int64, error) {
	f.d.store.mu.RLock()
	defer f.d.store.mu.RUnlock()
	if err := f.readable(); err != nil {
		return 0, f.fail("size", err)
	}
	return f.ino.size, nil
}

func (f *file) Close() error {
	f.d.store.mu.Lock()
	defer f.d.store.mu.Unlock()
	f.closed = true
	delete(f.d.open, f)
	return nil
}

// readable and writable are called with store.mu held.
func (f *file) readable() error {
	switch {
	case f.closed:
		return disk.ErrClosed
	case !f.d.store.machine.powered():
		return ErrPower
	}
	return nil
}

func (f *file) writable() error {
	err := f.readable()
	if err == nil && f.d.lost {
		err = disk.ErrLost
	}
	return err
}

// room and grow count the file's bytes only while it is linked.
func (f *file) room(n int64) error {
	if n == 0 || f.d.store.files[f.name] != f.ino {
		return nil
	}
	return f.d.store.room(n)
}

func (f *file) grow(n int64) {
	if f.d.store.files[f.name] == f.ino {
		f.d.store.used += n
	}
	f.ino.size += n
}

func (f *file) fail(op string, err error) error { return f.d.fail(op, f.name, err) }
