// Package payload keeps the bytes of striped objects in payload segments.
//
// A [Store] has up to [Config].MaxSegments payload segments open for writing. A
// [Stream] cuts an object into windows of whole stripe rows, gives each a place
// in one of them and writes it to all shards at once while the caller fills the
// next. Streams of one window share a segment and its syncs; a longer one leases
// a segment until it ends, so that its windows follow each other and make one
// extent; a huge one gets segments of its own, which are freed by unlinking them.
// [Store.ReadAt] and [Store.Copy] read back.
//
// The shared segment is zero-filled ahead, because blocks that were written
// before sync faster. The others are reserved instead (disk.Reserve): zeros would
// double what a large object writes.
//
// # Guarantees
//
// When [Stream.Finish] returns nil every byte is durable on all shards that its
// rows lie on. No position of a shard file is written twice, and no segment of
// an earlier Store is written at all. A shard of which a write, a sync or an
// extension failed is never synced again: its segment is sealed, and what was
// not yet durable there is written again into the next one.
//
// Segments of a stream's own are removed at once when nothing of them is kept:
// after [Stream.Abort], a failed [Stream.Finish], [Stream.Discard], [Store.Close].
//
// Every byte read was verified by the tag of its frame, or rebuilt from frames
// that were. A read is whole or an error.
//
// # Concurrency
//
// Store is safe for concurrent use, a Stream belongs to one caller. Memory is
// bounded by [Config].MaxWindows; so are the streams that are open at once.
//
// # Errors
//
// [ErrClosed], [ErrStreamEnded], [ErrConfig], [ErrRange], *[UnrecoverableError]
// (which is [ErrCorrupt]), what [Config].NewSegment returned, a context's error,
// disk.ErrBusy, and, when a window failed on one disk after another, the last
// disk's.
//
// # On-disk format
//
// docs/format/segment.md and docs/format/frame.md.
package payload

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/erasure"
)

// Errors that this package wraps. Callers test with errors.Is.
var (
	// ErrClosed reports use of a Store after Close.
	ErrClosed = errors.New("payload store closed")
	// ErrStreamEnded reports use of a Stream after Finish or Abort.
	ErrStreamEnded = errors.New("payload stream ended")
	// ErrConfig reports a Config that makes no sense.
	ErrConfig = errors.New("bad payload configuration")
	// ErrRange reports a read outside its extent, or an extent of another
	// segment than the descriptor's.
	ErrRange = errors.New("bad payload range")
	// ErrCorrupt reports bytes that can neither be verified nor rebuilt. It is
	// always an *UnrecoverableError.
	ErrCorrupt = errors.New("payload corrupt")
)

// UnrecoverableError names a stripe row of which too few frames verify. It is
// [ErrCorrupt].
type UnrecoverableError struct {
	Segment erasure.SegmentID
	Offset  int64     // of the row, in each shard file
	Disks   []disk.ID // those whose frame is missing or bad, in shard order
	Err     error     // what was wrong with each, joined
}

func (e *UnrecoverableError) Error() string {
	ids := make([]string, len(e.Disks))
	for i, id := range e.Disks {
		ids[i] = id.String()
	}
	return fmt.Sprintf("%v: segment %s, row at offset %d: frames missing or bad on disks %s: %v",
		ErrCorrupt, e.Segment, e.Offset, strings.Join(ids, ", "), e.Err)
}

// Is reports whether target is [ErrCorrupt].
func (e *UnrecoverableError) Is(target error) bool { return target == ErrCorrupt }

// Unwrap returns Err.
func (e *UnrecoverableError) Unwrap() error { return e.Err }
