package meta

import (
	"errors"
	"fmt"
)

// Errors that this package wraps. Callers test with errors.Is.
var (
	// ErrKey reports an object key that is not 1-1024 bytes of valid UTF-8.
	ErrKey = errors.New("bad object key")
	// ErrBucketName reports a name outside S3's rules for general purpose
	// buckets.
	ErrBucketName = errors.New("bad bucket name")
	// ErrMetadata reports user metadata beyond MaxMetadata, an encoded block
	// that is none, or headers and entity tags that HTTP could not send back.
	ErrMetadata = errors.New("bad user metadata")
	// ErrTags reports tags beyond S3's limits, or an encoded block that is none.
	ErrTags = errors.New("bad tags")
	// ErrSettings reports bucket settings beyond their limits, or an encoded
	// block that is none.
	ErrSettings = errors.New("bad bucket settings")
	// ErrRecord reports a malformed record.
	ErrRecord = errors.New("malformed record")
	// ErrFormat reports something written by a newer version of this program;
	// the error is a *FormatError.
	ErrFormat = errors.New("unknown format version")
	// ErrEntry reports an index key or value that is malformed.
	ErrEntry = errors.New("malformed index entry")
	// ErrNoEntry reports that the index holds no such key.
	ErrNoEntry = errors.New("no such index entry")
	// ErrApply reports records that cannot follow the state that they are
	// applied to: the log, the index or the writer of one of them is wrong.
	ErrApply = errors.New("record does not apply")
	// ErrIndexFailed reports an index that met an error of its file system or
	// found itself corrupt. It answers nothing more; the log has everything
	// that it held.
	ErrIndexFailed = errors.New("index failed")
	// ErrForeignIndex reports a directory that holds another pool's index, or
	// files and no index. Nothing was written there.
	ErrForeignIndex = errors.New("directory is not an index of this pool")
	// ErrInUse reports an index directory that another open holds.
	ErrInUse = errors.New("index in use")
	// ErrClosed reports use after Close.
	ErrClosed = errors.New("index closed")
)

// FormatError is the answer to a structure of a newer version. It matches
// ErrFormat.
type FormatError struct {
	What string // what was read: "record", "group entry" ...
	Have uint64 // the version or kind found
	Want uint64 // the newest that this program knows
}

// Error implements error.
func (e *FormatError) Error() string {
	return fmt.Sprintf("%s has format %d, this program knows up to %d", e.What, e.Have, e.Want)
}

// Is reports whether target is ErrFormat.
func (e *FormatError) Is(target error) bool { return target == ErrFormat }
