package payload

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/erasure"
	"github.com/cairnstore/cairn/internal/segment"
)

// Config is what a Store is made of. Zero sizes get their defaults.
type Config struct {
	Pool erasure.PoolID
	Set  *segment.Set

	// NewSegment returns a payload segment that nothing was written to, on live
	// disks. It may be called from several goroutines at once, with no lock held;
	// ctx ends with the Store.
	NewSegment func(ctx context.Context) (*segment.Descriptor, error)
	// OnDiskError is told of a disk that failed to create, write, extend or sync
	// a shard file, once for each disk and segment; not of one that the Set has
	// dropped already, nor of disk.ErrBusy. No segment is asked for until it
	// returns. It must not call Close. Nil ignores it.
	OnDiskError func(id disk.ID, err error)
	// OnBadFrame is told of what a read found missing or bad. Nil ignores it.
	OnBadFrame func(BadFrame)

	SegmentSize int64 // bytes of a shard file at which the segment rolls; 0: 256 MiB
	Prealloc    int64 // bytes zero-filled or reserved ahead in a shard file; 0: 8 MiB
	WindowBytes int   // object bytes in a window, cut to whole rows, at least two; 0: 4 MiB
	MaxWindows  int   // of all streams together; 0: 12. Memory is MaxWindows windows x (k+m)/k
	SyncBytes   int64 // object bytes of a stream after which it syncs; 0: 8 MiB
	// MaxSegments is how many segments are open for extents at once, not counted
	// those that replace a full one; 0: 4. Short streams share one, each longer
	// one leases one of the others. Where there are more, they share.
	MaxSegments int
	// OwnSegment is how many bytes an object has, by its hint or so far, when the
	// rest goes to segments that nothing else is in; 0: 64 MiB.
	OwnSegment int64
	// OwnSegmentSize is SegmentSize of those; 0: 16 GiB.
	OwnSegmentSize int64
	Logger         *slog.Logger
}

// BadFrame is a run of frames of one shard file that was missing or did not
// verify.
type BadFrame struct {
	Segment erasure.SegmentID
	Shard   int
	Disk    disk.ID
	Offset  int64 // in the shard file, bytes
	Length  int64 // bytes; more than one frame only where the whole shard is absent
	Err     error
}

const maxWindowBytes = 64 << 20

// fill sets defaults and returns all problems, joined.
func (c *Config) fill() error {
	var errs []error
	problem := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf("%w: "+format, append([]any{ErrConfig}, args...)...))
		}
	}
	problem(c.Set == nil, "no set of disks")
	problem(c.NewSegment == nil, "no NewSegment")
	problem(c.SegmentSize < 0, "SegmentSize %d", c.SegmentSize)
	problem(c.Prealloc < 0, "Prealloc %d", c.Prealloc)
	problem(c.WindowBytes < 0 || c.WindowBytes > maxWindowBytes, "WindowBytes %d, at most %d", c.WindowBytes, maxWindowBytes)
	problem(c.MaxWindows < 0, "MaxWindows %d", c.MaxWindows)
	problem(c.SyncBytes < 0, "SyncBytes %d", c.SyncBytes)
	problem(c.MaxSegments < 0, "MaxSegments %d", c.MaxSegments)
	problem(c.OwnSegment < 0, "OwnSegment %d", c.OwnSegment)
	problem(c.OwnSegmentSize < 0, "OwnSegmentSize %d", c.OwnSegmentSize)
	if c.SegmentSize == 0 {
		c.SegmentSize = 256 << 20
	}
	if c.Prealloc == 0 {
		c.Prealloc = 8 << 20
	}
	if c.WindowBytes == 0 {
		c.WindowBytes = 4 << 20
	}
	if c.MaxWindows == 0 {
		c.MaxWindows = 12
	}
	if c.SyncBytes == 0 {
		c.SyncBytes = 8 << 20
	}
	if c.MaxSegments == 0 {
		c.MaxSegments = 4
	}
	if c.OwnSegment == 0 {
		c.OwnSegment = 64 << 20
	}
	if c.OwnSegmentSize == 0 {
		c.OwnSegmentSize = 16 << 30
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.OnDiskError == nil {
		c.OnDiskError = func(disk.ID, error) {}
	}
	if c.OnBadFrame == nil {
		c.OnBadFrame = func(BadFrame) {}
	}
	return errors.Join(errs...)
}
