package memdisk

import (
	"fmt"
	"io/fs"
	"math"
	"sync"

	"github.com/cairnstore/cairn/disk"
)

// Disk is a handle of a disk in memory. It implements disk.Disk, except that
// nothing keeps a second handle from being open.
type Disk struct {
	store *store

	// Under store.mu.
	closed bool
	lost   bool
	open   map[*file]struct{}
}

// store is a disk's content.
type store struct {
	machine *Machine
	name    string

	mu       sync.RWMutex
	tok      *token            // of the pages that may be written in place
	files    map[string]*inode // as seen by List and Open
	unsynced map[string]entry  // what a cut may undo
	capacity int64             // bytes; 0: no limit
	used     int64             // bytes, the sizes of all files
}

// entry is a creation or removal that was in flight when the power went.
type entry struct {
	before *inode // nil: no such file
	after  *inode
}

var _ disk.Disk = (*Disk)(nil)

func (s *store) open() *Disk { return &Disk{store: s, open: make(map[*file]struct{})} }

// String returns the name given to NewDisk.
func (d *Disk) String() string { return d.store.name }

// Level returns disk.LogCapable.
func (d *Disk) Level() disk.Level { return disk.LogCapable }

// Machine returns the machine of the disk.
func (d *Disk) Machine() *Machine { return d.store.machine }

// Create implements disk.Disk.
func (d *Disk) Create(name string, size int64) (disk.File, error) {
	if err := disk.ValidName(name); err != nil {
		return nil, d.fail("create", "", err)
	}
	if size < 0 || size > maxFile {
		return nil, d.fail("create", name, fmt.Errorf("%w: size %d", fs.ErrInvalid, size))
	}
	s := d.store
	s.mu.Lock()
	defer s.mu.Unlock()
	err := d.usable()
	if err == nil {
		err = d.check()
	}
	if err == nil && s.files[name] != nil {
		err = fs.ErrExist
	}
	if err == nil {
		err = s.room(size)
	}
	if err != nil {
		return nil, d.fail("create", name, err)
	}
	p := s.machine.begin()
	if p == powerOff {
		return nil, d.fail("create", name, ErrPower)
	}
	ino := &inode{size: size, synced: size}
	if p == powerGoes {
		ino.synced = 0
		s.remember(name, nil, ino)
	} else {
		delete(s.unsynced, name)
	}
	s.files[name] = ino
	s.used += size
	if p == powerGoes {
		return nil, d.fail("create", name, ErrPower)
	}
	return d.handle(name, ino), nil
}

// Open implements disk.Disk.
func (d *Disk) Open(name string) (disk.File, error) {
	if err := disk.ValidName(name); err != nil {
		return nil, d.fail("open", "", err)
	}
	s := d.store
	s.mu.Lock()
	defer s.mu.Unlock()
	err := d.usable()
	if err == nil && s.files[name] == nil {
		err = fs.ErrNotExist
	}
	if err != nil {
		return nil, d.fail("open", name, err)
	}
	return d.handle(name, s.files[name]), nil
}

func (d *Disk) handle(name string, ino *inode) *file {
	f := &file{d: d, name: name, ino: ino}
	d.open[f] = struct{}{}
	return f
}

// Remove implements disk.Disk.
func (d *Disk) Remove(name string) error {
	if err := disk.ValidName(name); err != nil {
		return d.fail("remove", "", err)
	}
	s := d.store
	s.mu.Lock()
	defer s.mu.Unlock()
	err := d.usable()
	ino := s.files[name]
	if err == nil && ino == nil {
		err = fs.ErrNotExist
	}
	if err != nil {
		return d.fail("remove", name, err)
	}
	p := s.machine.begin()
	if p == powerOff {
		return d.fail("remove", name, ErrPower)
	}
	if p == powerGoes {
		s.remember(name, ino, nil)
	} else {
		delete(s.unsynced, name)
	}
	delete(s.files, name)
	s.used -= ino.size
	ino.removed = true
	if p == powerGoes {
		return d.fail("remove", name, ErrPower)
	}
	return nil
}

// remember notes an entry that a cut may undo.
func (s *store) remember(name string, before, after *inode) {
	if s.unsynced == nil {
		s.unsynced = make(map[string]entry)
	}
	s.unsynced[name] = entry{before, after}
}

// List implements disk.Disk.
func (d *Disk) List() ([]disk.Entry, error) {
	s := d.store
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := d.usable(); err != nil {
		return nil, d.fail("list", "", err)
	}
	entries := make([]disk.Entry, 0, len(s.files))
	for _, name := range sortedNames(s.files) {
		entries = append(entries, disk.Entry{Name: name, Size: s.files[name].size})
	}
	return entries, nil
}

// Check implements disk.Disk. A file that is open and was wiped away makes the
// handle lost, for good.
func (d *Disk) Check() error {
	d.store.mu.Lock()
	defer d.store.mu.Unlock()
	err := d.usable()
	if err == nil {
		err = d.check()
	}
	return d.fail("check", "", err)
}

func (d *Disk) check() error {
	for f := range d.open {
		if !f.ino.removed && d.store.files[f.name] != f.ino {
			d.lost = true
			return fmt.Errorf("%w: open file %s is not linked", disk.ErrLost, f.name)
		}
	}
	return nil
}

// Usage implements disk.Disk.
func (d *Disk) Usage() (disk.Usage, error) {
	s := d.store
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := d.usable(); err != nil {
		return disk.Usage{}, d.fail("usage", "", err)
	}
	if s.capacity == 0 {
		return disk.Usage{Total: math.MaxInt64, Free: math.MaxInt64}, nil
	}
	return disk.Usage{Total: s.capacity, Free: max(0, s.capacity-s.used)}, nil
}

// Close implements disk.Disk: it closes this handle and its files. The content
// stays, for Reopen.
func (d *Disk) Close() error {
	d.store.mu.Lock()
	defer d.store.mu.Unlock()
	d.closed = true
	for f := range d.open {
		f.closed = true
	}
	clear(d.open)
	return nil
}

// usable is called with store.mu held.
func (d *Disk) usable() error {
	switch {
	case d.closed:
		return disk.ErrClosed
	case !d.store.machine.powered():
		return ErrPower
	case d.lost:
		return disk.ErrLost
	}
	return nil
}

// room returns disk.ErrNoSpace if n more bytes do not fit.
func (s *store) room(n int64) error {
	if s.capacity != 0 && n > s.capacity-s.used {
		return disk.ErrNoSpace
	}
	return nil
}

func (d *Disk) fail(op, file string, err error) error {
	switch {
	case err == nil:
		return nil
	case file == "":
		return fmt.Errorf("memdisk: %s %s: %w", op, d.store.name, err)
	default:
		return fmt.Errorf("memdisk: %s %s on %s: %w", op, file, d.store.name, err)
	}
}
