package faultdisk

import (
	"fmt"

	"github.com/cairnstore/cairn/disk"
)

// file is a disk.File around another.
type file struct {
	d     *Disk
	name  string
	inner disk.File
}

var (
	_ disk.File     = (*file)(nil)
	_ disk.Reserver = (*file)(nil)
)

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	c := Call{Op: OpRead, Name: f.name, Off: off, Size: int64(len(p))}
	r, err := f.d.begin(c)
	if err != nil {
		return 0, err
	}
	if r != nil && r.Err != nil && !r.After {
		return 0, f.d.fail(c, r.Err)
	}
	if r != nil && r.Misdirect != 0 {
		off = max(0, off+r.Misdirect)
	}
	n, err := f.inner.ReadAt(p, off)
	f.d.counters[counterReadBytes].Add(int64(n))
	if r != nil && r.Flip && n > 0 {
		bit := f.d.intN(n * 8)
		p[bit/8] ^= 1 << (bit % 8)
	}
	if r != nil && r.After && err == nil {
		return n, f.d.fail(c, r.err())
	}
	return n, err
}

func (f *file) WriteAt(p []byte, off int64) (int, error) {
	c := Call{Op: OpWrite, Name: f.name, Off: off, Size: int64(len(p))}
	r, err := f.d.begin(c)
	switch {
	case err != nil:
		return 0, err
	case r == nil:
		return f.write(p, off)
	case r.Lie:
		return len(p), nil
	}
	if r.Misdirect != 0 {
		off = max(0, off+r.Misdirect)
	}
	switch {
	case r.Torn > 0:
		n, err := f.write(p[:min(r.Torn, len(p))], off)
		if err == nil {
			err = f.d.fail(c, r.err())
		}
		return n, err
	case r.After:
		n, err := f.write(p, off)
		if err == nil {
			err = f.d.fail(c, r.err())
		}
		return n, err
	case r.Err != nil:
		return 0, f.d.fail(c, r.Err)
	default:
		return f.write(p, off)
	}
}

func (f *file) write(p []byte, off int64) (int, error) {
	n, err := f.inner.WriteAt(p, off)
	f.d.counters[counterWriteBytes].Add(int64(n))
	return n, err
}

func (f *file) Extend(size int64) error {
	return f.d.call(Call{Op: OpExtend, Name: f.name, Size: size}, func() error { return f.inner.Extend(size) })
}

// Reserve is an OpExtend too.
func (f *file) Reserve(size int64) error {
	return f.d.call(Call{Op: OpExtend, Name: f.name, Size: size}, func() error { return disk.Reserve(f.inner, size) })
}

func (f *file) Sync() error {
	c := Call{Op: OpSync, Name: f.name}
	r, err := f.d.begin(c)
	switch {
	case err != nil:
		return err
	case r == nil:
		return f.inner.Sync()
	case r.Lie:
		return nil
	case r.After:
		if err := f.inner.Sync(); err != nil {
			return err
		}
	}
	return f.d.fail(c, r.err())
}

func (f *file) Size() (int64, error) {
	if f.d.lost.Load() {
		return 0, fmt.Errorf("faultdisk: size of %s on %s: %w", f.name, f.d, disk.ErrLost)
	}
	return f.inner.Size()
}

// Close closes the file inside, also when a rule has it return an error.
func (f *file) Close() error {
	return f.d.close(Call{Op: OpClose, Name: f.name}, f.inner.Close)
}

func (d *Disk) intN(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rand.IntN(n)
}
