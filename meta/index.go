package meta

import "github.com/cairnstore/cairn/erasure"

// Position is how far into the log an index has come.
type Position struct {
	Seq     uint64            // last sequence applied; 0 is none
	Hash    [32]byte          // chain hash after it
	Segment erasure.SegmentID // log segment that holds it
}

// Reader is the reading side of an index. Its methods may be called from many
// goroutines at once.
type Reader interface {
	// Get returns the value of key, appended to dst[:0], or ErrNoEntry.
	Get(key, dst []byte) ([]byte, error)

	// NewIter returns an iterator over lower <= key < upper; nil bounds are
	// open, and a lower bound at or above the upper one leaves nothing. It
	// keeps neither slice. It sees the index as it is now, whatever is applied
	// after. It must be closed.
	NewIter(lower, upper []byte) (Iterator, error)
}

// Iterator walks entries in key order. It starts before the first one. One
// goroutine uses it at a time.
type Iterator interface {
	// SeekGE moves to the first entry at or after key and reports whether there
	// is one.
	SeekGE(key []byte) bool
	// Next moves to the next entry, from before the first to the first, and
	// reports whether there is one.
	Next() bool
	// Valid reports whether the iterator stands on an entry.
	Valid() bool
	// Key and Value return the entry's; both are valid until the next move or
	// Close. Key may be called only on an entry.
	Key() []byte
	Value() ([]byte, error)
	// Error returns what stopped the iterator early, if anything did.
	Error() error
	// Close releases the iterator and returns what Error does.
	Close() error
}

// Snapshot is an index as it was at one moment. It must be closed.
type Snapshot interface {
	Reader

	// Close waits for calls in flight and releases the snapshot; new calls get
	// ErrClosed. Iterators opened before stay valid until they are closed. It
	// may be called again.
	Close() error
}

// Index is an ordered map of entries that remembers how far into the log it
// has come. It is a cache of the log: nothing that Apply did is durable before
// a flush, and after a crash an index holds exactly the state at some earlier
// position, which Position then returns.
//
// Apply is called by one goroutine at a time; everything else may run beside it
// and beside each other.
type Index interface {
	Reader

	// Apply makes the changes in b, and pos, visible together: atomically, to
	// every Get and NewIter that begins after it returned. b stays the
	// caller's. pos never goes back (ErrApply); it stays when b is a part of a
	// large transaction, see ApplyLarge. Apply waits only if more is
	// unflushed than an index may hold back.
	Apply(b *Batch, pos Position) error

	// Snapshot returns the index as it is now, whatever is applied after. Its
	// reads count in Metrics.
	Snapshot() (Snapshot, error)

	// Flush makes everything applied before it began durable.
	Flush() error

	// Freeze makes everything applied so far durable, and lets nothing that is
	// applied from now on ever become so: it is shown until Close and no longer.
	Freeze() error

	// Position returns the position of the last Apply; after an open, that of
	// the state found.
	Position() Position

	// Durable returns a position that a crash now would not fall behind.
	Durable() Position

	// Metrics returns counts since the open.
	Metrics() IndexMetrics

	// Close flushes, unless the index has failed, and releases everything. It
	// waits for calls in flight and for iterators and snapshots that are open;
	// new calls get ErrClosed. It may be called again.
	Close() error
}

// IndexMetrics counts what an index did since its open.
type IndexMetrics struct {
	Gets  int64 // entries looked up by Get
	Seeks int64 // iterator seeks; iterators count when they are closed
	Steps int64 // iterator steps

	Applied int64 // batches
	Flushes int64 // flushes completed
	Bytes   int64 // size of the index, on disk where it lies there
}
