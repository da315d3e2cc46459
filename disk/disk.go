// Package disk defines the places that cairn keeps its bytes in.
//
// A Disk is one failure domain: a flat set of named files that can be lost as
// a whole. Drivers live in disk/filedisk (a directory), disk/memdisk (memory,
// with simulated power cuts) and, around either, disk/faultdisk (injected
// faults and counters). disk/disktest is the conformance suite that every
// driver passes.
//
// # Guarantees
//
// A driver promises, and disk/disktest checks:
//
//   - Create and Remove are durable when they return nil: the directory entry
//     survives a power cut. A file that Create returned has its full size.
//   - WriteAt is durable only after a Sync of the same file that began after
//     the write returned. Until then any subset of its 512-byte sectors may
//     survive a power cut, each with its old or its new bytes.
//   - A Sync, Extend or Reserve that fails leaves the state of the file's
//     unsynced writes unknown. Callers never retry it (the engine gives up the
//     shard).
//   - Bytes that were never written read as zeros.
//   - What [Reserve] takes is there for the writes that follow: they do not run
//     out of space.
//   - An error is returned, never a short success: ReadAt and WriteAt transfer
//     all of p or return a non-nil error.
//
// # Concurrency
//
// All methods of Disk and File may be called from many goroutines at once.
// Writes of one file by several goroutines must not overlap.
//
// # Errors
//
// Errors wrap fs.ErrNotExist, fs.ErrExist, [ErrInUse], [ErrLost], [ErrBusy],
// [ErrNoSpace] or [ErrClosed] where one applies; any other error means that the
// operation failed in a way the disk cannot name (EIO and the like).
package disk

import (
	"encoding/hex"
	"errors"
)

// Errors that drivers wrap. Callers test with errors.Is.
var (
	// ErrInUse reports that another process, or another open in this one,
	// holds the disk.
	ErrInUse = errors.New("disk in use")
	// ErrLost reports that the disk no longer leads to the place it was
	// opened on: its directory was removed, replaced or unmounted.
	ErrLost = errors.New("disk lost")
	// ErrBusy reports a shortage in the host (file descriptors, memory) that
	// says nothing about the disk; the call had no effect and may be retried.
	ErrBusy = errors.New("disk busy")
	// ErrNoSpace reports a full disk or quota. The call had no visible effect.
	ErrNoSpace = errors.New("no space on disk")
	// ErrClosed reports use after Close.
	ErrClosed = errors.New("disk closed")
	// ErrName reports a file name outside [a-z0-9.-]{1,128}, or one that
	// begins with a dot.
	ErrName = errors.New("bad file name")
)

// ID identifies a disk for its whole life. It is random, stored in the disk's
// label, and independent of paths. The zero ID is no disk.
type ID [16]byte

// String returns the ID in lower-case hexadecimal.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// IsZero reports whether id is the zero ID.
func (id ID) IsZero() bool { return id == ID{} }

// Level says what a disk can hold.
type Level uint8

// Levels, from least to most capable.
const (
	// SealedOnly disks take whole files, durable when closed, never read
	// before (cloud buckets). They cannot hold the log.
	SealedOnly Level = iota + 1
	// LogCapable disks create files ahead, zero-filled, and have each
	// position written once after that, synced and read before the file is
	// sealed.
	LogCapable
)

// Disk is one failure domain: a flat set of named files. Names match
// [a-z0-9.-]{1,128} and do not begin with a dot; others get [ErrName].
type Disk interface {
	// String names the disk in messages and events (a path; never a secret).
	String() string

	// Level returns what the disk can hold. It never changes.
	Level() Level

	// Create makes the file name with size zero bytes, written out rather
	// than left sparse, and opens it for reading and writing. When it returns
	// nil, the file, its size and its directory entry are durable. An
	// existing name is fs.ErrExist. After any error no file of that name is
	// visible, or the disk is failing. Create first proves that the disk is
	// where it was ([ErrLost] if not).
	Create(name string, size int64) (File, error)

	// Open opens an existing file for reading and writing; fs.ErrNotExist if
	// there is none. A file may be opened several times.
	Open(name string) (File, error)

	// Remove deletes the file name durably; fs.ErrNotExist if there is none.
	// Files already open stay readable until closed.
	Remove(name string) error

	// List returns all entries in name order: those made by Create and any
	// that others left there, whose names may match no pattern.
	List() ([]Entry, error)

	// Check proves that the disk still leads to the place it was opened on
	// and that every open file is still linked under its name there; else
	// [ErrLost]. It costs a few system calls per open file and reads no data.
	Check() error

	// Usage returns the capacity and the space left.
	Usage() (Usage, error)

	// Close releases the disk and its exclusive claim. Files still open
	// return [ErrClosed]. Close may be called more than once.
	Close() error
}

// File is an open file of a Disk.
type File interface {
	// ReadAt fills p from offset off. Reading past the end is io.EOF or
	// io.ErrUnexpectedEOF.
	ReadAt(p []byte, off int64) (int, error)

	// WriteAt writes all of p at offset off, within the file's size or
	// beyond it. It keeps no reference to p. Not durable before Sync.
	WriteAt(p []byte, off int64) (int, error)

	// Extend grows the file with written zeros to size bytes and makes that
	// durable; it does nothing if the file is already that large. It may run
	// beside ReadAt, WriteAt and Sync of positions below the old size.
	Extend(size int64) error

	// Sync makes all writes that returned before it began durable
	// (fdatasync). After an error it must not be called again.
	Sync() error

	// Size returns the file's size in bytes.
	Size() (int64, error)

	// Close releases the handle without syncing. It may be called twice.
	Close() error
}

// Reserver is a File that can take space without writing it.
type Reserver interface {
	// Reserve grows the file to size bytes that read as zeros and takes the
	// space for them, without writing it where the disk can do that; it does
	// nothing if the file is already that large. The size becomes durable with
	// a Sync that begins after it returned; until then a power cut may leave
	// any size from the old one on. It may run beside ReadAt, WriteAt and Sync
	// of positions below the old size. Without room it is [ErrNoSpace] and has
	// no visible effect.
	Reserve(size int64) error
}

// Reserve reserves in f what [Reserver] describes, or extends it if f cannot.
//
// Extend suits files that are synced after each small write: a sync of blocks
// that were written before has no metadata to write. Reserve suits those that
// take much at once, of which zeros written ahead would double the bytes.
func Reserve(f File, size int64) error {
	if r, ok := f.(Reserver); ok {
		return r.Reserve(size)
	}
	return f.Extend(size)
}

// Entry is one name that List found.
type Entry struct {
	Name string
	Size int64 // bytes; 0 for anything that is not a regular file
	Dir  bool  // a directory or another thing that is not a regular file
}

// Usage is the space of a disk, in bytes. Drivers without a limit report the
// largest int64 as both.
type Usage struct {
	Total int64
	Free  int64 // what an unprivileged writer can still use
}
