// Package meta is what the log says and what follows from it: the records that
// the log carries, the entries that an index keeps of them, and the index
// itself. It is the only package that knows Pebble.
//
// A [Record] is one mutation. [State.Apply] turns the records of a [Group] into
// changes of an [Index], as a function of the records and of what was there
// before; [State.ApplyLarge] does so for one whose effect is on any number of keys. Everything in an index comes about in this way, so an index is a cache
// of the log: it can be thrown away and built again.
//
// # Guarantees
//
// An index is at each moment exactly the state at its [Position], also after a
// crash, which may set it back to an earlier one. The one exception names itself:
// a large transaction that is in it in part, see [Pending]. It never writes a WAL and never
// syncs for an Apply. After the first error of its file system, or the first
// rot that it meets, it fails for good: every call returns [ErrIndexFailed],
// nothing more is written, and the host process lives on.
//
// # Concurrency
//
// One goroutine applies; all other methods may be called from many at once.
//
// # Errors
//
// Errors wrap the sentinels of this package; those of a newer format are a
// [*FormatError].
//
// # On-disk format
//
// docs/format/record.md and docs/format/index.md. Every structure has a version;
// a newer one is refused with both versions named.
package meta
