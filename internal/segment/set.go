package segment

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/erasure"
)

const (
	defaultMaxOpen = 512
	numStripes     = 32
	// keysPerStripe bounds the cached keys: 16,384 in all, a few MB. A key costs
	// a microsecond to make again.
	keysPerStripe = 512
)

// Set holds the disks of a running pool and their open shard files.
type Set struct {
	pool    erasure.PoolID
	maxOpen int64
	open    atomic.Int64 // handles in the cache
	clock   atomic.Int64 // files opened so far: the time that recency is told in

	mu      sync.RWMutex // taken before a stripe's, never after
	members map[disk.ID]*member
	closed  bool

	stripes [numStripes]stripe
}

// stripe is the part of the cache for some shard files.
type stripe struct {
	mu    sync.RWMutex
	files map[place]*handle
	keys  map[keyOf]*erasure.Key
}

type keyOf struct {
	id    erasure.SegmentID
	shard int
}

// NewSet returns a set without disks that keeps up to maxOpen shard files open
// for reading, 0 being 512. Files in use by readers and those that a writer
// still holds ([Set.Create]) are kept beyond it.
func NewSet(pool erasure.PoolID, maxOpen int) *Set {
	if maxOpen <= 0 {
		maxOpen = defaultMaxOpen
	}
	s := &Set{pool: pool, maxOpen: int64(maxOpen), members: make(map[disk.ID]*member)}
	for i := range s.stripes {
		s.stripes[i] = stripe{files: make(map[place]*handle), keys: make(map[keyOf]*erasure.Key)}
	}
	return s
}

// Add makes d, which stays the caller's to close, the disk id of the pool. A
// disk that had that id before is forgotten and its files are closed.
func (s *Set) Add(id disk.ID, d disk.Disk) {
	s.mu.Lock()
	_, again := s.members[id]
	s.members[id] = &member{id: id, disk: d}
	s.mu.Unlock()
	if again {
		_ = s.forget(func(p place) bool { return p.disk == id }) // reads of the old disk's files are over
	}
}

// Drop ends all writing to disk id, for the given reason: Create and the files
// it returned give [ErrAbsent], which wraps cause. What can be read is still
// read, but for a cause of disk.ErrLost: files of a directory that was removed
// or replaced are closed, or they would go on taking space, and whether the disk
// has them is asked anew. The first cause stays.
func (s *Set) Drop(id disk.ID, cause error) {
	if cause == nil {
		cause = errors.New("no reason given")
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if m := s.members[id]; m != nil {
		m.dropped.CompareAndSwap(nil, &cause)
		if errors.Is(cause, disk.ErrLost) {
			_ = s.forget(func(p place) bool { return p.disk == id }) // nothing is lost with a reader's handle
		}
	}
}

// Disk returns the disk id, and whether it may be written; nil if it was never
// added.
func (s *Set) Disk(id disk.ID) (d disk.Disk, live bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	m := s.members[id]
	if m == nil {
		return nil, false
	}
	return m.disk, m.dropped.Load() == nil
}

// Live returns the disks that may be written, sorted.
func (s *Set) Live() []disk.ID {
	s.mu.RLock()
	defer s.mu.RUnlock()
	ids := make([]disk.ID, 0, len(s.members))
	for id, m := range s.members {
		if m.dropped.Load() == nil {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b disk.ID) int { return slices.Compare(a[:], b[:]) })
	return ids
}

// Key returns the key of a shard file's tags. It is cached; a hit allocates
// nothing.
func (s *Set) Key(id erasure.SegmentID, shard int) *erasure.Key {
	st := s.stripe(id, shard)
	at := keyOf{id, shard}
	st.mu.RLock()
	k := st.keys[at]
	st.mu.RUnlock()
	if k != nil {
		return k
	}
	k = erasure.NewKey(s.pool, id, shard)
	st.mu.Lock()
	defer st.mu.Unlock()
	if had := st.keys[at]; had != nil {
		return had
	}
	if len(st.keys) >= keysPerStripe {
		for old := range st.keys {
			delete(st.keys, old) // any one: the order of a map is random enough
			break
		}
	}
	st.keys[at] = k
	return k
}

// ReadAt fills p from offset off of a shard file, opening it if need be. The
// error is [ErrAbsent], or what the disk says of the read: disk.ErrBusy when the
// host is short of something, an EOF for a place beyond the file.
func (s *Set) ReadAt(d *Descriptor, shard int, p []byte, off int64) error {
	h, err := s.acquire(place{d.ID, d.Disks[shard], shard})
	if err != nil {
		return err
	}
	_, err = h.file.ReadAt(p, off)
	_ = h.release() // what was read is what counts
	return err
}

// Create makes the shard file of d on its disk, size zero bytes long, durably.
// The caller writes it and closes it in the end, which leaves it open for
// readers; until then it is not evicted. Errors are those of the disk, or
// [ErrAbsent] if it is not in the pool or was dropped.
func (s *Set) Create(d *Descriptor, shard int, size int64) (disk.File, error) {
	p := place{d.ID, d.Disks[shard], shard}
	m, err := s.member(p)
	if err != nil {
		return nil, err
	}
	if m.dropped.Load() != nil {
		return nil, m.absent(p)
	}
	f, err := m.disk.Create(FileName(p.id, shard), size)
	if err != nil {
		return nil, err
	}
	h := newHandle(p, m)
	h.ready(f, nil)
	h.pins.Add(1)
	for {
		had, err := s.insert(h)
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		if had == nil {
			break
		}
		// Somebody looked for the file while it was being made.
		s.remove(had, false)
		_ = had.release() // what it opened was never written
	}
	_ = h.release() // the cache has its own reference
	s.evict()
	return &pinned{File: f, h: h}, nil
}

// Forget closes the files of a segment, once their readers are done; whoever
// still writes one gets disk.ErrClosed.
func (s *Set) Forget(id erasure.SegmentID) {
	_ = s.forget(func(p place) bool { return p.id == id }) // nothing of it is wanted any more
	for shard := range erasure.MaxData + erasure.MaxParity {
		st := s.stripe(id, shard)
		st.mu.Lock()
		delete(st.keys, keyOf{id, shard})
		st.mu.Unlock()
	}
}

// Close closes all files, each when its last reader is done; new reads and
// Create get disk.ErrClosed. The disks stay open. It may be called twice.
func (s *Set) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	return s.forget(func(place) bool { return true })
}

func (s *Set) stripe(id erasure.SegmentID, shard int) *stripe {
	return &s.stripes[(id.Counter*7+uint64(shard))%numStripes]
}

func (s *Set) member(p place) (*member, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return nil, fmt.Errorf("segment: %s: %w", FileName(p.id, p.shard), disk.ErrClosed)
	}
	if m := s.members[p.disk]; m != nil {
		return m, nil
	}
	return nil, fmt.Errorf("%w: %s: disk %s is not present", ErrAbsent, FileName(p.id, p.shard), p.disk)
}
