package meta

import (
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// pebbleSnapshot keeps the database open.
type pebbleSnapshot struct {
	x *pebbleIndex

	mu   sync.RWMutex     // read-held by calls in flight
	snap *pebble.Snapshot // nil when closed
}

// Snapshot implements Index. It does not pin memtables: what it must still see
// of what is overwritten is flushed with the rest.
func (x *pebbleIndex) Snapshot() (Snapshot, error) {
	if err := x.enter(); err != nil {
		return nil, err
	}
	return &pebbleSnapshot{x: x, snap: x.db.NewSnapshot()}, nil
}

// Get implements Reader.
func (s *pebbleSnapshot) Get(key, dst []byte) ([]byte, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.snap == nil {
		return nil, ErrClosed
	}
	return s.x.get(s.snap, key, dst)
}

// NewIter implements Reader.
func (s *pebbleSnapshot) NewIter(lower, upper []byte) (Iterator, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.snap == nil {
		return nil, ErrClosed
	}
	// The iterator may outlive the snapshot.
	if err := s.x.enter(); err != nil {
		return nil, err
	}
	return s.x.iter(s.snap, lower, upper)
}

// Close implements Snapshot.
func (s *pebbleSnapshot) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.snap == nil {
		return nil
	}
	err := s.snap.Close()
	s.snap = nil
	s.x.leave()
	return err
}
