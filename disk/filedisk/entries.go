package filedisk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/cairnstore/cairn/disk"
)

// filePerm is what new files get, less the umask. Only the owner of a store has
// business in its files.
const filePerm = 0o600

// Create implements disk.Disk. It costs one fsync of the file and one of the
// directory.
func (d *Disk) Create(name string, size int64) (disk.File, error) {
	if err := disk.ValidName(name); err != nil {
		return nil, d.fail("create", "", err)
	}
	if size < 0 {
		return nil, d.fail("create", name, fmt.Errorf("%w: size %d", fs.ErrInvalid, size))
	}
	end, err := d.begin()
	if err != nil {
		return nil, d.fail("create", name, err)
	}
	defer end()
	if err := d.check(); err != nil {
		return nil, d.fail("create", name, err)
	}
	f, err := d.openNew(name)
	if err != nil {
		return nil, d.fail("create", name, d.explain(err))
	}
	if err := f.fill(size); err != nil {
		d.discard(f)
		// The directory entry may be on the disk already: make its end
		// durable if the disk still can. Nothing relies on the result.
		_ = d.claim.sync()
		return nil, d.fail("create", name, err)
	}
	if err := d.claim.sync(); err != nil {
		// Not synced again: what a second fsync says after a failed one
		// means nothing.
		d.discard(f)
		return nil, d.fail("create", name, err)
	}
	return f, nil
}

// openNew makes an empty file and registers it.
func (d *Disk) openNew(name string) (*file, error) {
	d.entries.Lock()
	defer d.entries.Unlock()
	h, err := d.root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, filePerm)
	if err != nil {
		return nil, err
	}
	f, err := d.register(name, h)
	if err != nil {
		_ = h.Close()
		return nil, errors.Join(err, d.root.Remove(name))
	}
	return f, nil
}

// discard undoes openNew.
func (d *Disk) discard(f *file) {
	d.entries.Lock()
	defer d.entries.Unlock()
	if !d.forget(f.node) {
		return // removed by somebody else, and the name may be another file's
	}
	_ = f.Close()
	_ = d.root.Remove(f.node.name)
}

// Open implements disk.Disk. Anything but a regular file, symbolic links
// included, is an error that wraps fs.ErrInvalid.
func (d *Disk) Open(name string) (disk.File, error) {
	if err := disk.ValidName(name); err != nil {
		return nil, d.fail("open", "", err)
	}
	if err := d.usable(); err != nil {
		return nil, d.fail("open", name, err)
	}
	f, err := d.openOld(name)
	if err != nil {
		return nil, d.fail("open", name, d.explain(err))
	}
	return f, nil
}

func (d *Disk) openOld(name string) (*file, error) {
	d.entries.RLock()
	defer d.entries.RUnlock()
	// Looked at before it is opened, because opening a device or a pipe is
	// not without effect.
	before, err := d.root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !before.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: not a regular file (%s)", fs.ErrInvalid, before.Mode().Type())
	}
	h, err := d.root.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	f, err := d.register(name, h)
	if err == nil && !os.SameFile(before, f.node.ident) {
		_ = f.Close()
		return nil, fmt.Errorf("%w: file replaced while being opened", fs.ErrInvalid)
	}
	if err != nil {
		_ = h.Close()
		return nil, err
	}
	return f, nil
}

// Remove implements disk.Disk. It costs one fsync of the directory.
func (d *Disk) Remove(name string) error {
	if err := disk.ValidName(name); err != nil {
		return d.fail("remove", "", err)
	}
	end, err := d.begin()
	if err != nil {
		return d.fail("remove", name, err)
	}
	defer end()
	if err := d.checkDir(); err != nil {
		return d.fail("remove", name, err)
	}
	if err := d.unlink(name); err != nil {
		return d.fail("remove", name, d.explain(err))
	}
	if err := d.claim.sync(); err != nil {
		return d.fail("remove", name, err)
	}
	return nil
}

func (d *Disk) unlink(name string) error {
	d.entries.Lock()
	defer d.entries.Unlock()
	fi, err := d.root.Lstat(name)
	if err != nil {
		return err
	}
	if fi.IsDir() {
		return fmt.Errorf("%w: a directory", fs.ErrInvalid)
	}
	// Marked before it is unlinked: a Check in between must not call the
	// disk lost.
	d.mu.Lock()
	n := d.nodes[name]
	if n != nil {
		n.removed = true
		delete(d.nodes, name)
	}
	d.mu.Unlock()
	err = d.root.Remove(name)
	if err != nil && n != nil {
		d.mu.Lock()
		n.removed = false
		if n.handles > 0 {
			d.nodes[name] = n
		}
		d.mu.Unlock()
	}
	return err
}

// List implements disk.Disk. An entry that goes while the directory is read is
// left out.
func (d *Disk) List() ([]disk.Entry, error) {
	if err := d.usable(); err != nil {
		return nil, d.fail("list", "", err)
	}
	entries, err := d.readDir()
	if err == nil {
		// Afterwards, because a removed directory may list as an empty one.
		err = d.checkDir()
	} else {
		err = d.explain(err)
	}
	if err != nil {
		return nil, d.fail("list", "", err)
	}
	return entries, nil
}

func (d *Disk) readDir() ([]disk.Entry, error) {
	h, err := d.root.Open(".")
	if err != nil {
		return nil, err
	}
	defer h.Close()
	names, err := h.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	entries := make([]disk.Entry, 0, len(names))
	for _, name := range names {
		if name == claimFile {
			continue
		}
		fi, err := d.root.Lstat(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return nil, err
		case fi.Mode().IsRegular():
			entries = append(entries, disk.Entry{Name: name, Size: fi.Size()})
		default:
			entries = append(entries, disk.Entry{Name: name, Dir: true})
		}
	}
	slices.SortFunc(entries, func(a, b disk.Entry) int { return strings.Compare(a.Name, b.Name) })
	return entries, nil
}
