// Package log is the log: a chain of erasure-coded segments over the disks of a
// pool, to which one committer appends groups (docs/format/log.md). It gathers
// the facts that package protocol decides on and carries the decisions out.
//
// # Use
//
// Gather reads the labels and says which pool this is. Decide finds the log.
// Replay yields what the caller's index does not hold yet, Start begins a new
// epoch with a new tail segment, Tail yields the last groups, and from then on
// Append adds groups. A log that may only be read is replayed the same way and
// never started.
//
// # Guarantees
//
// When Append returns nil, the group is durable on all k'+m disks that it was
// laid on. Nothing is written before Start. No position of a file is written
// twice. A disk that fails a write, a sync or a check is dropped: the pool goes
// on without it under a new epoch, and what was in flight is written elsewhere.
//
// # Concurrency
//
// Append, Drop and Close may be called from any goroutine and take effect one
// after another; NewSegment and Status beside them.
package log

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/erasure"
	"github.com/cairnstore/cairn/internal/label"
	"github.com/cairnstore/cairn/internal/protocol"
	"github.com/cairnstore/cairn/internal/segment"
)

// Errors of this package. Those of package protocol are returned as they are.
var (
	ErrClosed      = errors.New("log closed")
	ErrReadOnly    = errors.New("log is read-only")
	ErrNoQuorum    = errors.New("too few healthy disks to write")
	ErrForeignDisk = errors.New("disk belongs to something else")
	ErrDuplicate   = errors.New("the same disk given twice")
	ErrGeometry    = errors.New("geometry does not fit the disks")
	ErrTooLarge    = errors.New("group too large")
	// ErrFork reports that the caller's index does not belong to this log: it
	// must be dropped and built again.
	ErrFork = errors.New("index does not match the log")
)

// Config is what a Log is made from. Disks are not closed by the log.
type Config struct {
	Disks       []disk.Disk
	Geometry    erasure.Geometry // of a new pool; zero: DefaultGeometry
	Class       uint16           // class that holds the log
	SegmentSize int64            // bytes of a shard file at which the log rolls; 0: 64 MiB
	Ahead       int64            // bytes zero-filled ahead in a shard file; 0: 4 MiB
	MaxFiles    int              // open shard files; 0: 512
	Rand        io.Reader        // nil: crypto/rand
	Now         func() time.Time // nil: time.Now
	Logger      *slog.Logger     // nil: discard
	OnDrop      func(id disk.ID, name string, err error)
	OnEpoch     func(e protocol.Epoch, members []disk.ID)
}

// member is a present disk of the pool.
type member struct {
	id    disk.ID
	disk  disk.Disk
	store *label.Store
	label *protocol.Label // as read at open; nil: an empty disk that joins
}

// Log is the log of one pool.
type Log struct {
	cfg      Config
	pool     erasure.PoolID
	made     bool // the pool existed
	created  bool // it is being made; until Start has ended
	claimed  bool // and its first labels are written
	geometry erasure.Geometry
	birth    int64 // when the pool was made, unix nanoseconds
	set      *segment.Set
	codec    *erasure.Codec

	members map[disk.ID]*member // present at open
	named   map[disk.ID]string  // every disk seen, for messages
	facts   *facts
	plan    *protocol.Plan
	from    Position

	write  sync.Mutex // held by whoever changes the log
	closed bool
	view   *protocol.Membership // as of the newest epoch that may be in force
	// epochParent is the epoch that the one in force went on from.
	epochParent protocol.Epoch
	tail        *tail
	// pending: an epoch after the one in force was begun. Disks may hold it, so
	// nothing may be acknowledged before it, or a later one, is in force.
	pending bool
	spare   *spare // the next segment's files, made ahead
	keep    []protocol.Named
	last    uint64
	hash    [32]byte
	rotate  int
	layout  layout // of the group being appended

	state   sync.RWMutex // guards the rest; taken after write
	refusal error        // why the log may only be read; nil: it may be written
	live    []disk.ID    // disks that may be written, sorted
	gone    map[disk.ID]error
	ids     erasure.SegmentID // last id given out
	// notJoined: disks given that are damaged, unreadable or empty beside a
	// pool. It does not change after Gather.
	notJoined []error

	turns [segment.KindPayload + 1]atomic.Uint64 // segments placed, by kind

	background sync.WaitGroup
	metrics    metrics
}

// Position is how far an index has applied the log.
type Position struct {
	Seq  uint64
	Hash [32]byte
}

func (c *Config) fill() {
	if c.SegmentSize == 0 {
		c.SegmentSize = 64 << 20
	}
	if c.Ahead == 0 {
		c.Ahead = 4 << 20
	}
	if c.MaxFiles == 0 {
		c.MaxFiles = 512
	}
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.OnDrop == nil {
		c.OnDrop = func(disk.ID, string, error) {}
	}
	if c.OnEpoch == nil {
		c.OnEpoch = func(protocol.Epoch, []disk.ID) {}
	}
}

// DefaultGeometry is the geometry of a new pool of n disks for which none is
// given: two parity shards from four disks on, three from eleven.
func DefaultGeometry(n int) erasure.Geometry {
	switch {
	case n <= 1:
		return erasure.Geometry{Data: 1}
	case n <= 3:
		return erasure.Geometry{Data: n - 1, Parity: 1}
	case n <= 10:
		return erasure.Geometry{Data: n - 2, Parity: 2}
	default:
		return erasure.Geometry{Data: 8, Parity: 3}
	}
}

// Pool returns the pool's id. It is known after Gather.
func (l *Log) Pool() erasure.PoolID { return l.pool }

// Created reports whether the pool is being made by this open.
func (l *Log) Created() bool { return l.created }

// Set returns the disks of the pool and their shard files.
func (l *Log) Set() *segment.Set { return l.set }

// Last returns the last sequence of the log.
func (l *Log) Last() uint64 {
	l.write.Lock()
	defer l.write.Unlock()
	return l.last
}

// Refusal returns why the log may not be written, nil if it may.
func (l *Log) Refusal() error {
	l.state.RLock()
	defer l.state.RUnlock()
	return l.refusal
}

func (l *Log) refuse(err error) {
	l.state.Lock()
	defer l.state.Unlock()
	if l.refusal == nil {
		l.refusal = err
	}
}

// EpochNumber returns the number of the epoch in force.
func (l *Log) EpochNumber() uint64 {
	l.state.RLock()
	defer l.state.RUnlock()
	return l.ids.Epoch
}

// DiskStatus is one disk as the log sees it.
type DiskStatus struct {
	ID   disk.ID
	Name string
	Live bool
	Err  error // why it is not live; nil with !Live: not present
}

// Status is a snapshot of the log's membership.
type Status struct {
	Pool     erasure.PoolID
	Epoch    uint64
	Disks    []DiskStatus     // sorted by name, absent ones last
	Geometry erasure.Geometry // of new segments; zero if none can be made
	Wanted   erasure.Geometry // the pool's
	Refusal  error
	// NotJoined says which of the disks given are not members, and why.
	NotJoined []error
}

// Status returns the membership as it is now.
func (l *Log) Status() Status {
	l.state.RLock()
	defer l.state.RUnlock()
	s := Status{Pool: l.pool, Epoch: l.ids.Epoch, Wanted: l.geometry, Refusal: l.refusal, NotJoined: slices.Clone(l.notJoined)}
	s.Geometry, _ = l.geometryFor(len(l.live))
	for id, name := range l.named {
		d := DiskStatus{ID: id, Name: name, Live: slices.Contains(l.live, id), Err: l.gone[id]}
		s.Disks = append(s.Disks, d)
	}
	slices.SortFunc(s.Disks, func(a, b DiskStatus) int {
		switch {
		case a.Name == b.Name:
			return slices.Compare(a.ID[:], b.ID[:])
		case a.Name == "":
			return 1
		case b.Name == "" || a.Name < b.Name:
			return -1
		default:
			return 1
		}
	})
	return s
}

// geometryFor returns the geometry of a new segment with n healthy disks: m is
// kept and k given up (rule 5). Below m+1 disks nothing can be acknowledged, but
// for 1+1, which one disk alone may carry on.
func (l *Log) geometryFor(n int) (erasure.Geometry, bool) {
	if n == 1 && l.geometry == (erasure.Geometry{Data: 1, Parity: 1}) {
		return erasure.Geometry{Data: 1}, true
	}
	return l.geometry.Narrow(n)
}

func (l *Log) random() (uint64, error) {
	var b [8]byte
	if _, err := io.ReadFull(l.cfg.Rand, b[:]); err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint64(b[:]), nil
}

func (l *Log) randomID() (id [16]byte, err error) {
	for id == [16]byte{} && err == nil {
		_, err = io.ReadFull(l.cfg.Rand, id[:])
	}
	return id, err
}
