package segment

import (
	"errors"
	"fmt"

	"github.com/cairnstore/cairn/disk"
)

func newHandle(p place, m *member) *handle {
	h := &handle{place: p, member: m, done: make(chan struct{})}
	h.refs.Store(1)
	return h
}

// acquire returns the open file at p with a reference that the caller releases.
func (s *Set) acquire(p place) (*handle, error) {
	h := s.cached(p)
	if h == nil {
		var err error
		if h, err = s.openFile(p); err != nil {
			return nil, err
		}
	}
	h.wait()
	if h.err != nil {
		err := h.err
		_ = h.release() // nothing is open
		return nil, err
	}
	return h, nil
}

// cached returns the handle at p with a reference, or nil.
func (s *Set) cached(p place) *handle {
	st := s.stripe(p.id, p.shard)
	st.mu.RLock()
	defer st.mu.RUnlock()
	h := st.files[p]
	if h == nil {
		return nil
	}
	h.refs.Add(1)
	// Written only when it changes: readers share the cache line.
	if now := s.clock.Load(); h.used.Load() != now {
		h.used.Store(now)
	}
	return h
}

// openFile opens the file at p. Others who want it meanwhile wait for this one,
// without any lock: a disk that hangs holds up its own readers only.
func (s *Set) openFile(p place) (*handle, error) {
	m, err := s.member(p)
	if err != nil {
		return nil, err
	}
	h := newHandle(p, m)
	if had, err := s.insert(h); err != nil || had != nil {
		return had, err
	}
	f, err := m.disk.Open(FileName(p.id, p.shard))
	if err != nil {
		if !errors.Is(err, disk.ErrBusy) {
			err = fmt.Errorf("%w: %w", ErrAbsent, err)
		}
		s.remove(h, false) // the next reader tries again
	}
	h.ready(f, err)
	s.evict()
	return h, nil
}

// insert puts h in the cache, which takes a reference of its own. If there is
// one at that place already it is returned, with a reference, instead.
func (s *Set) insert(h *handle) (had *handle, err error) {
	s.mu.RLock() // Close, which comes after or before, sees h or has h refused
	defer s.mu.RUnlock()
	if s.closed {
		return nil, fmt.Errorf("segment: %s: %w", FileName(h.id, h.shard), disk.ErrClosed)
	}
	if s.members[h.disk] != h.member {
		return nil, fmt.Errorf("%w: %s: disk %s was replaced", ErrAbsent, FileName(h.id, h.shard), h.disk)
	}
	st := s.stripe(h.id, h.shard)
	st.mu.Lock()
	defer st.mu.Unlock()
	if had := st.files[h.place]; had != nil {
		had.refs.Add(1)
		return had, nil
	}
	h.refs.Add(1)
	h.used.Store(s.clock.Add(1))
	st.files[h.place] = h
	s.open.Add(1)
	return nil, nil
}

// remove takes h out of the cache, unless it is no longer there or onlyIdle is
// set and somebody uses it, and drops the cache's reference.
func (s *Set) remove(h *handle, onlyIdle bool) {
	st := s.stripe(h.id, h.shard)
	st.mu.Lock()
	mine := st.files[h.place] == h && (!onlyIdle || h.idle())
	if mine {
		delete(st.files, h.place)
		s.open.Add(-1)
	}
	st.mu.Unlock()
	if mine {
		_ = h.release() // nothing is lost with a reader's handle
	}
}

// evict closes the least recently used idle files until there are no more than
// maxOpen, or all that are left are in use.
func (s *Set) evict() {
	for s.open.Load() > s.maxOpen {
		var oldest *handle
		for i := range s.stripes {
			st := &s.stripes[i]
			st.mu.RLock()
			for _, h := range st.files {
				if h.idle() && (oldest == nil || h.used.Load() < oldest.used.Load()) {
					oldest = h
				}
			}
			st.mu.RUnlock()
		}
		if oldest == nil {
			return
		}
		s.remove(oldest, true)
	}
}

// idle reports whether only the cache has a reference.
func (h *handle) idle() bool { return h.refs.Load() == 1 && h.pins.Load() == 0 }

// forget drops the cache's references to the files that match.
func (s *Set) forget(match func(place) bool) error {
	var gone []*handle
	for i := range s.stripes {
		st := &s.stripes[i]
		st.mu.Lock()
		for p, h := range st.files {
			if match(p) {
				delete(st.files, p)
				gone = append(gone, h)
			}
		}
		st.mu.Unlock()
	}
	s.open.Add(-int64(len(gone)))
	var errs []error
	for _, h := range gone {
		errs = append(errs, h.release())
	}
	return errors.Join(errs...)
}
