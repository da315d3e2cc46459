package filedisk

import (
	"errors"
	"io/fs"
	"os"
	"strings"

	"github.com/cairnstore/cairn/disk"
)

// opError names what failed and where; it wraps kind, a sentinel of package
// disk (or nil), and the operating system's error.
type opError struct {
	op, disk, file string
	kind, err      error
}

func (e *opError) Error() string {
	var b strings.Builder
	b.WriteString("filedisk: ")
	b.WriteString(e.op)
	if e.file != "" {
		b.WriteString(" ")
		b.WriteString(e.file)
		b.WriteString(" on")
	}
	b.WriteString(" ")
	b.WriteString(e.disk)
	b.WriteString(": ")
	if e.kind != nil {
		b.WriteString(e.kind.Error())
		b.WriteString(": ")
	}
	err := e.err
	// A PathError says again what has just been said.
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	b.WriteString(err.Error())
	return b.String()
}

func (e *opError) Unwrap() []error {
	if e.kind == nil {
		return []error{e.err}
	}
	return []error{e.kind, e.err}
}

// fail wraps err, unless it is wrapped already.
func (d *Disk) fail(op, file string, err error) error {
	if err == nil {
		return nil // before done, which is allocated
	}
	var done *opError
	if errors.As(err, &done) {
		return err
	}
	e := &opError{op: op, disk: d.path, file: file, err: err}
	if kind := kindOf(err); kind != nil && !errors.Is(err, kind) {
		e.kind = kind
	}
	return e
}

// kindOf returns the sentinel of package disk that err stands for, or nil.
func kindOf(err error) error {
	switch {
	case errors.Is(err, os.ErrClosed):
		return disk.ErrClosed
	case isAny(err, busyErrnos):
		return disk.ErrBusy
	case isAny(err, spaceErrnos):
		return disk.ErrNoSpace
	}
	return nil
}

func isAny(err error, list []error) bool {
	for _, e := range list {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
