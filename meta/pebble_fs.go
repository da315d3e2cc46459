package meta

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// deadlyFS stands between Pebble and the disk, and never tells Pebble of a
// write error: Pebble answers one by ending the process, by trying again in a
// tight loop or by a panic under a lock. After the first error of a write, a
// sync or a change of names the file system is dead: the failure is recorded,
// and everything that would change the disk from then on is dropped and called
// a success. So Pebble ends quietly, and what is on the disk is a state that it
// would have left in a crash: some earlier position, whole.
//
// A read error is passed on, but kills as well: what a disk cannot read once,
// the log can replace.
type deadlyFS struct {
	vfs.FS
	fail *failure
}

// Unwrap hides the file system below: nothing of Pebble's may go around.
func (f *deadlyFS) Unwrap() vfs.FS { return nil }

// change runs a change of the disk unless the file system is dead. What it
// returns is nil, or an error that Pebble expects.
func (f *deadlyFS) change(op func() error) error {
	if f.fail.err() != nil {
		return nil
	}
	if err := op(); err != nil {
		f.fail.set(err)
	}
	return nil
}

func (f *deadlyFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return f.writable(func() (vfs.File, error) { return f.FS.Create(name, c) })
}

func (f *deadlyFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return f.writable(func() (vfs.File, error) { return f.FS.OpenReadWrite(name, c, opts...) })
}

func (f *deadlyFS) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return f.writable(func() (vfs.File, error) { return f.FS.ReuseForWrite(oldname, newname, c) })
}

func (f *deadlyFS) writable(open func() (vfs.File, error)) (vfs.File, error) {
	var file vfs.File
	f.change(func() (err error) {
		file, err = f.patient(open)
		return err
	})
	if file == nil {
		return &deadlyFile{fail: f.fail}, nil
	}
	return &deadlyFile{File: file, fail: f.fail}, nil
}

func (f *deadlyFS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	// Not through opts: they take a descriptor off the file for read-ahead
	// and need the file below, which is where FS.Open applies them.
	return f.readable(func() (vfs.File, error) { return f.FS.Open(name, opts...) })
}

func (f *deadlyFS) OpenDir(name string) (vfs.File, error) {
	if f.fail.err() != nil {
		return &deadlyFile{fail: f.fail}, nil
	}
	return f.readable(func() (vfs.File, error) { return f.FS.OpenDir(name) })
}

// readable opens a file to be read. That a file is missing is Pebble's to
// judge, but no longer once files are missing because they were never written.
func (f *deadlyFS) readable(open func() (vfs.File, error)) (vfs.File, error) {
	if err := f.fail.err(); err != nil {
		return nil, err
	}
	file, err := f.patient(open)
	if err != nil {
		return nil, f.read(err)
	}
	return &deadlyFile{File: file, fail: f.fail}, nil
}

func (f *deadlyFS) read(err error) error {
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		f.fail.set(err)
	}
	return err
}

// patient repeats open while the process or the host is out of descriptors,
// for a second: that says nothing about the disk.
func (f *deadlyFS) patient(open func() (vfs.File, error)) (vfs.File, error) {
	const tries, pause = 50, 20 * time.Millisecond
	for i := 0; ; i++ {
		file, err := open()
		if err == nil {
			return file, nil
		}
		if i == tries || !errors.Is(err, syscall.EMFILE) && !errors.Is(err, syscall.ENFILE) {
			return nil, err
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-f.fail.failed():
			t.Stop()
			return nil, err
		}
	}
}

func (f *deadlyFS) Link(oldname, newname string) error {
	return f.change(func() error { return f.FS.Link(oldname, newname) })
}

func (f *deadlyFS) Remove(name string) error {
	return f.change(func() error { return ignoreMissing(f.FS.Remove(name)) })
}

func (f *deadlyFS) RemoveAll(name string) error {
	return f.change(func() error { return f.FS.RemoveAll(name) })
}

func (f *deadlyFS) Rename(oldname, newname string) error {
	return f.change(func() error { return f.FS.Rename(oldname, newname) })
}

func (f *deadlyFS) MkdirAll(dir string, perm os.FileMode) error {
	return f.change(func() error { return f.FS.MkdirAll(dir, perm) })
}

func (f *deadlyFS) List(dir string) ([]string, error) {
	names, err := f.FS.List(dir)
	return names, f.read(err)
}

func (f *deadlyFS) Stat(name string) (vfs.FileInfo, error) {
	info, err := f.FS.Stat(name)
	return info, f.read(err)
}

// ignoreMissing: Pebble removes what may be gone already.
func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// deadlyFile is an open file of a deadlyFS. It has none below if the file
// system was dead when it was opened.
type deadlyFile struct {
	vfs.File
	fail *failure
}

func (f *deadlyFile) change(op func() error) error {
	if f.File == nil || f.fail.err() != nil {
		return nil
	}
	if err := op(); err != nil {
		f.fail.set(err)
	}
	return nil
}

func (f *deadlyFile) Write(p []byte) (int, error) {
	err := f.change(func() error {
		_, err := f.File.Write(p)
		return err
	})
	return len(p), err
}

func (f *deadlyFile) WriteAt(p []byte, off int64) (int, error) {
	err := f.change(func() error {
		_, err := f.File.WriteAt(p, off)
		return err
	})
	return len(p), err
}

func (f *deadlyFile) Preallocate(off, length int64) error {
	return f.change(func() error { return f.File.Preallocate(off, length) })
}

func (f *deadlyFile) Sync() error { return f.change(func() error { return f.File.Sync() }) }

func (f *deadlyFile) SyncData() error { return f.change(func() error { return f.File.SyncData() }) }

func (f *deadlyFile) SyncTo(length int64) (fullSync bool, err error) {
	err = f.change(func() (err error) {
		fullSync, err = f.File.SyncTo(length)
		return err
	})
	return fullSync, err
}

func (f *deadlyFile) Read(p []byte) (int, error) {
	if f.File == nil {
		return 0, f.fail.err()
	}
	n, err := f.File.Read(p)
	return n, f.read(err)
}

func (f *deadlyFile) ReadAt(p []byte, off int64) (int, error) {
	if f.File == nil {
		return 0, f.fail.err()
	}
	n, err := f.File.ReadAt(p, off)
	return n, f.read(err)
}

func (f *deadlyFile) read(err error) error {
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		f.fail.set(err)
	}
	return err
}

func (f *deadlyFile) Stat() (vfs.FileInfo, error) {
	if f.File == nil {
		return nil, f.fail.err()
	}
	info, err := f.File.Stat()
	return info, f.read(err)
}

func (f *deadlyFile) Prefetch(off, length int64) error {
	if f.File == nil {
		return nil
	}
	return f.File.Prefetch(off, length)
}

func (f *deadlyFile) Fd() uintptr {
	if f.File == nil {
		return vfs.InvalidFd
	}
	return f.File.Fd()
}

// Close releases the descriptor, dead or not.
func (f *deadlyFile) Close() error {
	if f.File == nil {
		return nil
	}
	if err := f.File.Close(); err != nil {
		f.fail.set(err)
	}
	return nil
}
