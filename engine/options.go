package engine

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"reflect"
	"slices"
	"time"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/erasure"
)

// Options say what a store is made of. Zero values mean the defaults given.
// Open keeps its own copy.
type Options struct {
	// Disks hold the data. Open takes them over, whatever it returns: they are
	// closed by Close, or by Open if it fails. When every one of them is
	// empty, a pool is made; else they must be disks of one pool.
	Disks []disk.Disk

	// IndexDir is the directory of the index, made if missing. It may lie
	// anywhere, on a disk of the pool too, and may be deleted while the store
	// is closed: it is then built again. Empty: an index in memory, built
	// again at every Open.
	IndexDir string

	// Geometry of a new pool; zero: chosen by the number of disks (4: 2+2, 6:
	// 4+2, 8: 6+2, from 11: 8+3). Given for a pool that exists, it must be the
	// pool's.
	Geometry erasure.Geometry

	// Components.
	Clock  func() time.Time // time.Now
	Rand   io.Reader        // crypto/rand
	Logger *slog.Logger     // nil discards
	Events Events

	// Limits. All memory that grows with load is bounded by them.

	MaxObjectSize int64 // bytes; 5 TiB as in S3
	// MaxQueue is how many mutations may be under way at once, each with up to
	// PackMax bytes in memory; 1024, so 64 MiB at most. Enough for large
	// groups; more would only wait longer.
	MaxQueue int
	// FailWhenBusy makes mutations beyond MaxQueue, and streams beyond
	// MaxWindows, fail with ErrBusy rather than wait for their turn.
	FailWhenBusy bool
	GroupRecords int   // records of one group; 1024. Bounds how long one commit takes.
	GroupBytes   int64 // small-object bytes of one group; 4 MiB, for the same reason
	MaxOpenFiles int   // shard files kept open; 512, half of a common limit for a process
	// MaxWindows is how many stream windows are in memory, about 6 MiB each at
	// 4+2; 12. A stream needs one and is fastest with four.
	MaxWindows int
	// MaxSegments is how many payload segments are open at once; 4. Short
	// streams share one, each longer one has one of the others to itself, on
	// other disks where there are enough; more streams share.
	MaxSegments int
	ReadAhead   int64 // bytes that a sequential reader of a large object fetches at once, twice in memory; 4 MiB
	// CacheBytes is the index block cache; 256 MiB, taken as it fills: room for
	// the entries of a million objects and more. Look-ups beyond it read a file.
	CacheBytes    int64
	MemTableBytes int64 // index memtable, up to 4 of them; 16 MiB
	// MaxTransactionKeys is the most keys that one transaction may change;
	// 1,000,000: seconds for those that wait.
	MaxTransactionKeys int64

	// Sizes of shard files, in bytes. They matter for how much is rewritten
	// when space is reclaimed, and for the least a store takes.
	LogSegmentSize     int64 // 64 MiB
	PayloadSegmentSize int64 // 256 MiB
	LogAhead           int64 // zero-filled ahead in log shard files; 4 MiB
	PayloadAhead       int64 // zero-filled or reserved ahead in payload shard files; 8 MiB

	// CheckInterval is how often disks are proved to be where they were; 1 s.
	CheckInterval time.Duration

	plainIndex bool // tests: the in-memory twin of the index
	chunk      int  // tests: keys that one batch of a large transaction changes
}

// PackMax is the largest object that is packed whole into the log's groups and
// read back with one disk read; larger ones are striped over payload segments.
const PackMax = 64 << 10

func (o *Options) fill() (*Options, error) {
	if o == nil {
		o = &Options{}
	}
	c := *o
	c.Disks = slices.Clone(o.Disks)
	var problems []error
	if len(c.Disks) == 0 {
		problems = append(problems, errors.New("no disks given"))
	}
	for i, d := range c.Disks {
		if d == nil {
			problems = append(problems, fmt.Errorf("disk %d is nil", i))
		} else if d.Level() < disk.LogCapable {
			problems = append(problems, fmt.Errorf("disk %v cannot hold the log", d))
		}
		for _, other := range c.Disks[:i] {
			if d != nil && reflect.TypeOf(d).Comparable() && d == other {
				problems = append(problems, fmt.Errorf("%w: %v", ErrDuplicateDisk, d))
			}
		}
	}
	if c.Geometry != (erasure.Geometry{}) {
		if err := c.Geometry.Validate(); err != nil {
			problems = append(problems, err)
		}
	}
	limit := func(name string, p *int64, least, fallback, most int64) {
		switch {
		case *p == 0:
			*p = fallback
		case *p < least:
			problems = append(problems, fmt.Errorf("%s is %d, at least %d is needed", name, *p, least))
		case *p > most:
			problems = append(problems, fmt.Errorf("%s is %d, at most %d is possible", name, *p, most))
		}
	}
	count := func(name string, p *int, least, fallback, most int64) {
		v := int64(*p)
		limit(name, &v, least, fallback, most)
		*p = int(v)
	}
	limit("MaxObjectSize", &c.MaxObjectSize, 1, 5<<40, 1<<60)
	count("MaxQueue", &c.MaxQueue, 1, 1024, 1<<20)
	count("GroupRecords", &c.GroupRecords, 2, 1024, 1<<20)
	limit("GroupBytes", &c.GroupBytes, PackMax, 4<<20, 16<<20)
	count("MaxOpenFiles", &c.MaxOpenFiles, 16, 512, 1<<20)
	count("MaxSegments", &c.MaxSegments, 1, 4, 1<<16)
	count("MaxWindows", &c.MaxWindows, 1, 12, 1<<16)
	limit("MaxTransactionKeys", &c.MaxTransactionKeys, 1, 1_000_000, math.MaxInt64)
	limit("ReadAhead", &c.ReadAhead, 64<<10, 4<<20, 256<<20)
	limit("CacheBytes", &c.CacheBytes, 1<<20, 256<<20, 1<<40)
	limit("MemTableBytes", &c.MemTableBytes, 256<<10, 16<<20, 1<<30)
	limit("LogSegmentSize", &c.LogSegmentSize, 64<<10, 64<<20, 1<<40)
	limit("PayloadSegmentSize", &c.PayloadSegmentSize, 1<<20, 256<<20, 1<<40)
	limit("LogAhead", &c.LogAhead, 4<<10, 4<<20, 1<<30)
	limit("PayloadAhead", &c.PayloadAhead, 64<<10, 8<<20, 1<<30)
	interval := int64(c.CheckInterval)
	limit("CheckInterval", &interval, int64(time.Millisecond), int64(time.Second), math.MaxInt64)
	c.CheckInterval = time.Duration(interval)
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if len(problems) > 0 {
		return &c, &both{ErrOptions, errors.Join(problems...)}
	}
	return &c, nil
}

// Events are called when something happens that an operator wants to know.
// Each may be nil. They are called from the engine's goroutines, must return
// soon, and must not call the engine.
type Events struct {
	DiskFailed  func(DiskFailedInfo)
	EpochBegan  func(EpochInfo)
	IndexFailed func(error)
	// BadBlock is called for each frame or packed object that was missing or
	// did not verify and was rebuilt or found in another place.
	BadBlock func(BadBlockInfo)
}

// DiskFailedInfo describes a disk that the pool goes on without.
type DiskFailedInfo struct {
	ID, Name string
	Err      error
}

// EpochInfo describes a new membership of the pool.
type EpochInfo struct {
	Number uint64
	Disks  []string // ids of the members
}

// BadBlockInfo describes a place that could not be read as it was written.
type BadBlockInfo struct {
	Segment string
	Shard   int
	Disk    string // id
	Offset  int64  // in the shard file
	Err     error
}
