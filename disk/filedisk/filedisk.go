// Package filedisk keeps a disk.Disk in a directory of a local file system.
//
// # Guarantees
//
// Those of [disk.Disk], on a file system whose fsync is honest. Open writes
// nothing. Every file is reached through an os.Root, so no name and no symbolic
// link leads out of the directory.
//
// An open Disk holds an exclusive claim: on Unix a flock on a descriptor of the
// directory itself, which no lock file can be copied, deleted or forgotten
// around, which a symbolic link or bind mount does not get past, and which the
// kernel drops when the process dies. On Windows it is a file named
// .cairn-lock, opened for one process and deleted on close.
//
// A directory that is removed goes on accepting writes into unlinked inodes.
// [Disk.Check] finds that, and every Create runs it first.
//
// # Concurrency
//
// All methods may be called from many goroutines. ReadAt and WriteAt are one
// system call each and take no lock of this package.
//
// # Page cache
//
// Reads and most writes go through it. Files that were reserved (disk.Reserve)
// are written directly where that works ([DirectAuto]); a read sees what either
// way wrote.
//
// # Errors
//
// As in package disk; each also wraps the error of the operating system and
// names the directory and the file. EMFILE, ENFILE and ENOMEM are
// disk.ErrBusy, ENOSPC and EDQUOT disk.ErrNoSpace.
//
// # On-disk format
//
// docs/format/disk.md: one regular file per name, nothing else.
package filedisk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/cairnstore/cairn/disk"
)

// Options of Open. Nil or zero means the defaults.
type Options struct {
	// Name is what String returns; the absolute path if empty.
	Name string
	// Direct is DirectAuto or DirectOff.
	Direct Direct
}

// Disk is an open directory. It implements disk.Disk.
type Disk struct {
	name  string
	path  string      // absolute, symbolic links not resolved
	ident fs.FileInfo // of the directory as it was opened
	root  *os.Root
	claim *claim

	lost     atomic.Bool // sticky
	syncs    asyncSyncs
	buffered atomic.Bool // no direct writes: not wanted or not possible
	align    int         // of direct writes

	// entries orders the calls that make or unlink a directory entry against
	// those that look one up and register what they opened, so that Check
	// never takes a file removed by us for one removed behind our back. It is
	// held over system calls; Close does not take it.
	entries sync.RWMutex

	mu      sync.Mutex
	closed  bool
	pending int // directory changes under way
	files   map[*file]struct{}
	nodes   map[string]*node // those that Check looks at
}

// node is one file that has open handles.
type node struct {
	name  string
	ident fs.FileInfo

	extend sync.Mutex // serialises Extend and Reserve

	// Under Disk.mu.
	handles int
	removed bool // by Disk.Remove
}

var _ disk.Disk = (*Disk)(nil)

// Open claims the directory at path, which must exist: a missing mount point is
// an error that wraps fs.ErrNotExist, never an empty disk. A directory that any
// process holds, this one included, is disk.ErrInUse; on Linux the error names
// the process where the kernel tells. Nothing is written.
func Open(path string, opts *Options) (*Disk, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, &opError{op: "open", disk: path, err: err}
	}
	d := &Disk{name: abs, path: abs, files: make(map[*file]struct{}), nodes: make(map[string]*node), align: directAlign}
	if opts != nil {
		if opts.Name != "" {
			d.name = opts.Name
		}
		d.buffered.Store(opts.Direct == DirectOff)
	}
	if d.claim, err = takeClaim(abs); err != nil {
		return nil, d.fail("open", "", err)
	}
	d.root, err = os.OpenRoot(abs)
	if err == nil {
		d.ident, err = d.root.Stat(".")
	}
	if err == nil {
		// The claim and the root were opened by path, one after the other.
		if claimed, serr := d.claim.stat(); serr != nil {
			err = serr
		} else if !os.SameFile(claimed, d.ident) {
			err = fmt.Errorf("%w: directory replaced while being opened", disk.ErrLost)
		}
	}
	if err != nil {
		d.release()
		return nil, d.fail("open", "", err)
	}
	return d, nil
}

// String returns Options.Name, or the absolute path.
func (d *Disk) String() string { return d.name }

// Level returns disk.LogCapable.
func (d *Disk) Level() disk.Level { return disk.LogCapable }

// Usage returns the size of the file system and what an unprivileged writer can
// still use of it.
func (d *Disk) Usage() (disk.Usage, error) {
	if err := d.usable(); err != nil {
		return disk.Usage{}, d.fail("usage", "", err)
	}
	u, err := d.claim.usage()
	if err != nil {
		return disk.Usage{}, d.fail("usage", "", err)
	}
	return u, nil
}

// Close closes all files and ends the claim. Calls in flight on files end with
// their result or disk.ErrClosed and are not waited for; a Create or Remove in
// flight keeps the claim until it has ended, so that nothing of this Disk
// changes a directory that another one has claimed since.
func (d *Disk) Close() error {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return nil
	}
	d.closed = true
	var files []*file
	for f := range d.files {
		files = append(files, f)
	}
	idle := d.pending == 0
	d.mu.Unlock()

	var errs []error
	for _, f := range files {
		if err := f.Close(); err != nil {
			errs = append(errs, err)
		}
	}
	d.syncs.close()
	if idle {
		if err := d.release(); err != nil {
			errs = append(errs, d.fail("close", "", err))
		}
	}
	return errors.Join(errs...)
}

// begin registers a directory change, which ends with the func returned.
func (d *Disk) begin() (end func(), err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, disk.ErrClosed
	}
	if d.lost.Load() {
		return nil, disk.ErrLost
	}
	d.pending++
	return d.end, nil
}

func (d *Disk) end() {
	d.mu.Lock()
	d.pending--
	last := d.closed && d.pending == 0
	d.mu.Unlock()
	if last {
		// Close has returned; there is nobody left to tell.
		_ = d.release()
	}
}

func (d *Disk) release() error {
	var err error
	if d.root != nil {
		err = d.root.Close()
	}
	return errors.Join(err, d.claim.release())
}

// usable returns disk.ErrClosed or disk.ErrLost, or nil.
func (d *Disk) usable() error {
	if d.isClosed() {
		return disk.ErrClosed
	}
	if d.lost.Load() {
		return disk.ErrLost
	}
	return nil
}

func (d *Disk) isClosed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.closed
}
