package memdisk

import (
	"fmt"
	"io/fs"
	"slices"
)

// Image is what a disk held at one moment. It never changes.
type Image struct {
	files          map[string]*inode
	used, capacity int64
}

// Image copies the disk as it is read now, unsynced writes included. It costs
// little: the content is shared until written.
func (d *Disk) Image() *Image {
	s := d.store
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tok = new(token)
	im := &Image{files: cloneFiles(s.files), used: s.used, capacity: s.capacity}
	for _, ino := range im.files {
		// With a token that nothing else has, sync leaves shared pages alone.
		ino.sync(new(token))
	}
	return im
}

// cloneFiles returns a copy for a store with a token of its own.
func cloneFiles(files map[string]*inode) map[string]*inode {
	c := make(map[string]*inode, len(files))
	for name, ino := range files {
		c[name] = ino.clone()
	}
	return c
}

// Corrupt flips the bits xor of the byte at offset off of a file, on the disk
// and in what a power cut may go back to. It is no operation: it is not counted
// and works without power. A file or byte that is not there is an error.
func (d *Disk) Corrupt(name string, off int64, xor byte) error {
	s := d.store
	s.mu.Lock()
	defer s.mu.Unlock()
	ino := s.files[name]
	if ino == nil {
		return d.fail("corrupt", name, fs.ErrNotExist)
	}
	if off < 0 || off >= ino.size {
		return d.fail("corrupt", name, fmt.Errorf("%w: offset %d of %d bytes", fs.ErrInvalid, off, ino.size))
	}
	n, at := off/pageSize, off%pageSize
	p := ino.own(s.tok, n)
	p.data[at] ^= xor
	if p.dirty != 0 {
		old := zeroPage
		if p.old != nil {
			old = *p.old
		}
		old[at] ^= xor
		p.old = &old
	}
	if mid := ino.mid[off/SectorSize]; len(mid) > 0 {
		mid = slices.Clone(mid) // shared with clones
		for i := range mid {
			mid[i][off%SectorSize] ^= xor
		}
		ino.mid[off/SectorSize] = mid
	}
	return nil
}

// Wipe makes the disk empty, as if replaced by a new one. Files that are open
// stay readable and make Check, and every Create, fail with disk.ErrLost.
func (d *Disk) Wipe() {
	s := d.store
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files, s.unsynced, s.used = make(map[string]*inode), nil, 0
}

// SetCapacity limits the sum of the sizes of all files to n bytes: what would
// exceed it is disk.ErrNoSpace. Zero, as at first, is no limit; what is already
// there stays.
func (d *Disk) SetCapacity(n int64) {
	d.store.mu.Lock()
	d.store.capacity = n
	d.store.mu.Unlock()
}

// Reopen returns a fresh handle of the same content, as another process would
// get after a clean restart, and makes it the one that Machine.Disks returns.
// The old handle should be closed, but need not be.
func (d *Disk) Reopen() *Disk {
	s := d.store
	fresh := s.open()
	m := s.machine
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, other := range m.disks {
		if other.store == s {
			m.disks[i] = fresh
		}
	}
	return fresh
}
