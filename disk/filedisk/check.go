package filedisk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/cairnstore/cairn/disk"
)

// Check implements disk.Disk: the path leads to the directory that was opened,
// and every open file is the one that its name leads to. It costs one stat for
// the directory and one for each open file. Once it has failed, the disk stays
// lost: calls that write, and those that look at the directory, return
// disk.ErrLost; reads of open files go on.
func (d *Disk) Check() error {
	if err := d.usable(); err != nil {
		return d.fail("check", "", err)
	}
	return d.fail("check", "", d.check())
}

func (d *Disk) check() error {
	if err := d.checkDir(); err != nil {
		return err
	}
	d.mu.Lock()
	nodes := make([]*node, 0, len(d.nodes))
	for _, n := range d.nodes {
		nodes = append(nodes, n)
	}
	d.mu.Unlock()
	for _, n := range nodes {
		if err := d.checkNode(n); err != nil {
			return err
		}
	}
	return nil
}

func (d *Disk) checkDir() error {
	fi, err := os.Stat(d.path)
	switch {
	case d.isClosed():
		return disk.ErrClosed
	case err != nil && kindOf(err) == disk.ErrBusy:
		return err
	case err != nil:
		return d.lose("", err)
	case !os.SameFile(fi, d.ident):
		return d.lose("", errors.New("the path leads to another directory"))
	}
	return nil
}

func (d *Disk) checkNode(n *node) error {
	fi, err := d.root.Lstat(n.name)
	if err == nil && os.SameFile(fi, n.ident) {
		return nil
	}
	if err != nil && kindOf(err) == disk.ErrBusy {
		return err
	}
	d.mu.Lock()
	closed, gone := d.closed, n.removed || n.handles == 0
	d.mu.Unlock()
	switch {
	case closed:
		return disk.ErrClosed
	case gone:
		return nil // removed or closed by us since the list was taken
	case err != nil:
		return d.lose(n.name, err)
	default:
		return d.lose(n.name, errors.New("the name leads to another file"))
	}
}

// lose marks the disk lost, for good.
func (d *Disk) lose(name string, cause error) error {
	d.lost.Store(true)
	if name != "" {
		cause = fmt.Errorf("open file %s: %w", name, cause)
	}
	return fmt.Errorf("%w: %w", disk.ErrLost, cause)
}

// explain tells a file that is missing from a directory that is.
func (d *Disk) explain(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		if lost := d.checkDir(); lost != nil {
			return lost
		}
	}
	return err
}
