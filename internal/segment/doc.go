// Package segment keeps segment files on disks: what they are called, what the
// first page of each says, and which of them are open.
//
// A segment is the unit of placement: one append-only shard file on each of k+m
// disks. Its [Descriptor] travels with whatever points into it; the [Header] in
// each shard file repeats it. A [Set] knows the disks present in a running pool
// and reads shard files by descriptor.
//
// # Guarantees
//
// A Set never closes a file under a reader and holds about as many open as it
// was told. It does not verify what it reads: frames and groups carry tags, for
// which [Set.Key] gives the key.
//
// # Concurrency
//
// Set is safe for concurrent use. A read of an open file takes one short shared
// lock and allocates nothing. Descriptors are values that nobody changes.
//
// # Errors
//
// Errors wrap [ErrAbsent], [ErrHeader], [ErrNoHeader], [ErrDescriptor], are a
// *[FormatError], or come from the disk as they are.
//
// # On-disk format
//
// docs/format/segment.md.
package segment

import (
	"errors"
	"fmt"
)

// Errors that this package wraps. Callers test with errors.Is.
var (
	// ErrAbsent reports that a shard file cannot be had: its disk is not in the
	// pool or was dropped, the file is missing, or opening it failed. The
	// reason is wrapped too. It is never a shortage of the host (disk.ErrBusy).
	ErrAbsent = errors.New("shard absent")
	// ErrHeader reports a header page that is rotten, torn, or written for
	// another place.
	ErrHeader = errors.New("bad segment header")
	// ErrNoHeader reports a header page of zeros: never written.
	ErrNoHeader = errors.New("no segment header")
	// ErrDescriptor reports a descriptor that ends early or makes no sense.
	ErrDescriptor = errors.New("bad segment descriptor")
)

// FormatError reports something that verifies but is of a format, or encrypted
// with a key, that this program does not know.
type FormatError struct {
	What       string // "segment header", "segment descriptor", ...
	Have, Want uint32 // what it says, and the newest that is known
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("%s is %d, this program knows up to %d", e.What, e.Have, e.Want)
}
