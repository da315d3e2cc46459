package meta

import "sync/atomic"

// memorySnapshot is a sorted copy.
type memorySnapshot struct {
	m      *Memory
	all    []memoryEntry
	closed atomic.Bool
}

// Snapshot implements Index.
func (m *Memory) Snapshot() (Snapshot, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, ErrClosed
	}
	return &memorySnapshot{m: m, all: m.sortedLocked()}, nil
}

// Get implements Reader.
func (s *memorySnapshot) Get(key, dst []byte) ([]byte, error) {
	if s.closed.Load() {
		return nil, ErrClosed
	}
	s.m.gets.Add(1)
	i := seekMemory(s.all, string(key))
	if i == len(s.all) || s.all[i].key != string(key) {
		return nil, ErrNoEntry
	}
	return append(dst[:0], s.all[i].value...), nil
}

// NewIter implements Reader.
func (s *memorySnapshot) NewIter(lower, upper []byte) (Iterator, error) {
	if s.closed.Load() {
		return nil, ErrClosed
	}
	return s.m.iter(s.all, lower, upper), nil
}

// Close implements Snapshot. What was copied goes with the last iterator.
func (s *memorySnapshot) Close() error {
	s.closed.Store(true)
	return nil
}
