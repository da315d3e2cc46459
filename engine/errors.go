package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/erasure"
	"github.com/cairnstore/cairn/internal/label"
	"github.com/cairnstore/cairn/internal/log"
	"github.com/cairnstore/cairn/internal/payload"
	"github.com/cairnstore/cairn/internal/protocol"
	"github.com/cairnstore/cairn/internal/segment"
	"github.com/cairnstore/cairn/meta"
)

// Errors of objects and buckets.
var (
	ErrNotFound       = errors.New("no such key")
	ErrNoBucket       = errors.New("no such bucket")
	ErrBucketExists   = errors.New("bucket exists")
	ErrBucketNotEmpty = errors.New("bucket is not empty")
	ErrBucketName     = meta.ErrBucketName
	ErrKey            = meta.ErrKey
	ErrMetadata       = meta.ErrMetadata // user metadata, a header or an ETag
	ErrTags           = meta.ErrTags
	ErrSettings       = meta.ErrSettings
	ErrVersionID      = errors.New("bad version id")
	ErrRange          = errors.New("range not satisfiable")
	ErrTooLarge       = errors.New("object too large")
	ErrToken          = errors.New("bad page token")
	// ErrPrecondition reports that a condition does not hold. Nothing happened.
	ErrPrecondition = errors.New("precondition failed")
	// ErrSize and ErrHash report content that is not what PutOptions announced.
	ErrSize = errors.New("size does not match")
	ErrHash = errors.New("content hash does not match")
	// ErrTooManyKeys reports a transaction over more than
	// Options.MaxTransactionKeys keys.
	ErrTooManyKeys = errors.New("too many keys")
	ErrWriterEnded = errors.New("writer was committed or aborted")
	// ErrCorrupt reports bytes that no surviving disk can give; the error is
	// an *UnrecoverableError.
	ErrCorrupt = errors.New("data lost or damaged")
)

// Errors of the store.
var (
	ErrClosed = errors.New("engine closed")
	// ErrBusy reports a shortage in the host or a full queue; try again.
	ErrBusy = errors.New("busy")
	// ErrNoSpace reports full disks. Nothing was written.
	ErrNoSpace = errors.New("no space left")
	// ErrReadOnly reports that the store may only be read. ErrStaleQuorum and
	// ErrLogMissing say why after an open: they match ErrReadOnly too.
	ErrReadOnly = errors.New("store is read-only")
	// ErrStaleQuorum: half or fewer of the pool's disks were present at Open.
	ErrStaleQuorum = protocol.ErrStaleQuorum
	// ErrLogMissing: absent disks may hold acknowledged data at the log's end.
	ErrLogMissing = protocol.ErrLogMissing
	// ErrNoQuorum: too few healthy disks are left to acknowledge a write. As
	// with ErrIndexFailed, a mutation that was on its way may turn out, at the
	// next open, to have happened whole.
	ErrNoQuorum = errors.New("too few healthy disks")
	// ErrIndexFailed: the index was lost while running. Reads and writes stop;
	// the next Open builds it again. Nothing acknowledged is lost.
	ErrIndexFailed = errors.New("index failed")
)

// Errors of Open.
var (
	ErrInUse         = errors.New("in use by another open")
	ErrForeignDisk   = errors.New("disk or index belongs to something else")
	ErrDuplicateDisk = errors.New("the same disk given twice")
	ErrFormat        = errors.New("unknown format version")
	ErrOptions       = errors.New("bad options")
	ErrEpochConflict = protocol.ErrEpochConflict
)

// Error says which operation on what failed. It wraps one of the sentinels, or
// a cause that has none.
type Error struct {
	Op        string // "put", "get", ...
	Bucket    string
	Key       string
	VersionID string
	Err       error
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.Bucket != "" {
		// Cut: bad names may be of any length.
		fmt.Fprintf(&b, " %.80s", e.Bucket)
		if e.Key != "" {
			fmt.Fprintf(&b, "/%.1024q", e.Key)
		}
	}
	return b.String() + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// UnrecoverableError names an object of which more shards are lost or damaged
// than its parity makes up for. Nothing is deleted: when enough of the named
// disks return, the object reads again. It matches ErrCorrupt.
type UnrecoverableError struct {
	Bucket, Key, VersionID string
	Segment                string
	Disks                  []string // ids of the disks that could not give their shard
	Err                    error
}

func (e *UnrecoverableError) Error() string {
	return fmt.Sprintf("%v: %s/%q version %s, segment %s, disks %s: %v", ErrCorrupt,
		e.Bucket, e.Key, e.VersionID, e.Segment, strings.Join(e.Disks, " "), e.Err)
}

func (e *UnrecoverableError) Unwrap() []error { return []error{ErrCorrupt, e.Err} }

// both is an error with the text of cause that also matches a sentinel.
type both struct{ sentinel, cause error }

func (b *both) Error() string {
	if text := b.cause.Error(); strings.Contains(text, b.sentinel.Error()) {
		return text
	}
	return b.sentinel.Error() + ": " + b.cause.Error()
}

func (b *both) Unwrap() []error { return []error{b.sentinel, b.cause} }

// translations maps what lower packages say to what this one promises.
var translations = []struct{ from, to error }{
	{disk.ErrBusy, ErrBusy},
	{disk.ErrNoSpace, ErrNoSpace},
	{disk.ErrInUse, ErrInUse},
	{meta.ErrInUse, ErrInUse},
	{meta.ErrIndexFailed, ErrIndexFailed},
	{meta.ErrForeignIndex, ErrForeignDisk},
	{meta.ErrFormat, ErrFormat},
	{meta.ErrClosed, ErrClosed},
	{log.ErrClosed, ErrClosed},
	{log.ErrReadOnly, ErrReadOnly},
	{log.ErrNoQuorum, ErrNoQuorum},
	{log.ErrForeignDisk, ErrForeignDisk},
	{log.ErrDuplicate, ErrDuplicateDisk},
	{log.ErrGeometry, ErrOptions},
	{log.ErrCorrupt, ErrCorrupt},
	{log.ErrTooLarge, ErrTooLarge},
	{protocol.ErrStaleQuorum, ErrReadOnly},
	{protocol.ErrLogMissing, ErrReadOnly},
	{payload.ErrCorrupt, ErrCorrupt},
	{payload.ErrClosed, ErrClosed},
	{erasure.ErrGeometry, ErrOptions},
}

// translate makes err match this package's sentinels.
func translate(err error) error {
	if err == nil {
		return nil
	}
	for _, t := range translations {
		if errors.Is(err, t.from) && !errors.Is(err, t.to) {
			return &both{t.to, err}
		}
	}
	var labelFormat *label.FormatError
	var logFormat *log.FormatError
	var segmentFormat *segment.FormatError
	if errors.As(err, &labelFormat) || errors.As(err, &logFormat) || errors.As(err, &segmentFormat) {
		return &both{ErrFormat, err}
	}
	return err
}

// fail describes the failure of an operation. Context errors stay bare within.
func fail(op, bucket, key string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	var already *Error
	if errors.As(err, &already) {
		return err
	}
	return &Error{Op: op, Bucket: bucket, Key: key, Err: translate(err)}
}

// lost turns what the lower layers say about lost shards into the error that
// names the object.
func lost(bucket, key, version string, err error) error {
	u := &UnrecoverableError{Bucket: bucket, Key: key, VersionID: version, Err: err}
	var packed *log.LostError
	var striped *payload.UnrecoverableError
	var ids []disk.ID
	switch {
	case errors.As(err, &packed):
		u.Segment, ids = packed.Segment.String(), packed.Disks
	case errors.As(err, &striped):
		u.Segment, ids = striped.Segment.String(), striped.Disks
	default:
		return err
	}
	for _, id := range ids {
		u.Disks = append(u.Disks, id.String())
	}
	return u
}
