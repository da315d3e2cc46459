// Package label keeps the labels of disks: who a disk is, which pool and epoch
// it belongs to, and where the log's tail is (protocol.Label).
//
// A label lies on its disk in four copies, two in each of the files label-a and
// label-b. It is replaced one file at a time, the older one first, each synced
// before the next is touched: at any moment one file holds a whole generation.
package label

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/internal/protocol"
)

// Files are the names of the label files on a disk.
var Files = [2]string{"label-a", "label-b"}

const copies = 2 // in each file

// lostAndFound is what a fresh ext4 file system holds.
const lostAndFound = "lost+found"

// State says what Read found on a disk.
type State uint8

const (
	Labelled State = iota + 1 // the label is valid
	Blank                     // the disk is empty, or its label was never completed
	Foreign                   // the disk holds files and no label
	Damaged                   // label files are there and no copy is whole
)

// Store reads and replaces the label of one disk. Methods may be called from
// several goroutines, one at a time taking effect.
type Store struct {
	disk disk.Disk

	mu         sync.Mutex
	files      [2]disk.File
	generation [2]uint64 // in each file; 0: none whole
	buf        []byte
}

// NewStore returns the label store of d. It touches nothing.
func NewStore(d disk.Disk) *Store { return &Store{disk: d} }

// Read looks at the disk without writing; what it returns is durable. The label is non-nil only when the
// state is Labelled; the error describes Foreign and Damaged, is a *FormatError
// for a newer label, or reports that the disk could not be read.
func (s *Store) Read() (*protocol.Label, State, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	entries, err := s.disk.List()
	if err != nil {
		return nil, 0, err
	}
	others, labels := "", 0
	for _, e := range entries {
		switch e.Name {
		case Files[0], Files[1]:
			labels++
		case lostAndFound:
		default:
			others = e.Name
		}
	}
	if labels == 0 {
		if others != "" {
			return nil, Foreign, fmt.Errorf("disk %v has no label and holds other files, %q among them", s.disk, others)
		}
		return nil, Blank, nil
	}
	newest, untouched, err := s.readFiles()
	switch {
	case err != nil:
		return nil, 0, err
	case newest != nil:
		// A power cut must not take back what is now judged on: it may so far
		// be in the page cache only.
		for _, f := range s.files {
			if f == nil {
				continue
			}
			if err := f.Sync(); err != nil {
				return nil, 0, err
			}
		}
		return newest, Labelled, nil
	case untouched && others == "":
		return nil, Blank, nil // the first label was never completed
	default:
		return nil, Damaged, fmt.Errorf("disk %v: %w: no copy is whole", s.disk, ErrLabel)
	}
}

// readFiles opens the label files and returns the newest whole label. A file is
// untouched if it was never written, which proves, no copy being whole, that
// not even the first label was: the second file is begun when the first is
// durable.
func (s *Store) readFiles() (newest *protocol.Label, untouched bool, err error) {
	slot := make([]byte, SlotSize)
	for half, name := range Files {
		blank := 0
		if s.files[half] == nil {
			f, err := s.disk.Open(name)
			if errors.Is(err, fs.ErrNotExist) {
				untouched = true
				continue
			}
			if err != nil {
				return nil, false, err
			}
			s.files[half] = f
		}
		s.generation[half] = 0
		for c := range copies {
			n, err := s.files[half].ReadAt(slot, int64(c)*SlotSize)
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				clear(slot[n:]) // the file was never made to its full size
			} else if err != nil {
				continue
			}
			if allZero(slot) {
				blank++
				continue
			}
			l, err := Decode(slot)
			var format *FormatError
			switch {
			case errors.As(err, &format):
				return nil, false, fmt.Errorf("disk %v: %w", s.disk, err)
			case err == nil:
				s.generation[half] = max(s.generation[half], l.Generation)
				if newest == nil || l.Generation > newest.Generation {
					newest = l
				}
			}
		}
		untouched = untouched || blank == copies
	}
	return newest, untouched, nil
}

// Write replaces the label, giving it the next generation. When it returns nil
// the label is durable in all copies; after an error either the old or the new
// one is read at the next open, and the disk should be given up.
func (s *Store) Write(l *protocol.Label) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for half, name := range Files {
		if s.files[half] != nil {
			continue
		}
		f, err := s.disk.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			f, err = s.disk.Create(name, copies*SlotSize)
		}
		if err != nil {
			return err
		}
		s.files[half] = f
	}
	l.Generation = max(s.generation[0], s.generation[1]) + 1
	var err error
	if s.buf, err = Append(s.buf[:0], l); err != nil {
		return err
	}
	first := 0
	if s.generation[1] < s.generation[0] {
		first = 1
	}
	for _, half := range [2]int{first, 1 - first} {
		s.generation[half] = 0 // torn until synced
		for c := range copies {
			if _, err := s.files[half].WriteAt(s.buf, int64(c)*SlotSize); err != nil {
				return err
			}
		}
		if err := s.files[half].Sync(); err != nil {
			return err
		}
		s.generation[half] = l.Generation
	}
	return nil
}

// Close closes the label files.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for half, f := range s.files {
		if f != nil {
			errs = append(errs, f.Close())
			s.files[half] = nil
		}
	}
	return errors.Join(errs...)
}
