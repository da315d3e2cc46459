package payload

import "slices"

// lend returns the lane that a stream which writes to l and has, or will have,
// size bytes should write to, and counts it there: l itself, uncounted, if there
// is no better one. A stream of more than a window gets a lane to itself, or
// shares that with the fewest others; from OwnSegment bytes on it gets segments
// of its own. Where MaxSegments leaves no room, it may ask again.
func (s *Store) lend(l *lane, size, hint int64) *lane {
	if l.kind == own || size <= int64(s.cfg.WindowBytes) {
		return l
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return l
	}
	if size >= s.cfg.OwnSegment && s.makeRoom() {
		n := s.addLane(own, s.cfg.OwnSegmentSize)
		n.hint = hint
		return n
	}
	if l.kind == leased && l.streams == 1 {
		return l
	}
	var best *lane
	for _, o := range s.lanes {
		if o.kind == leased && o != l && (best == nil || o.streams < best.streams) {
			best = o
		}
	}
	switch {
	case best != nil && best.streams == 0:
		best.streams++
		return best
	case s.hasRoom():
		return s.addLane(leased, s.cfg.SegmentSize)
	case best != nil && l.kind == shared:
		best.streams++
		return best
	}
	return l
}

// hasRoom reports whether one more lane may be made. mu is held.
func (s *Store) hasRoom() bool { return len(s.lanes)+1 < s.cfg.MaxSegments }

// makeRoom has an idle lane end if there is no room without that. mu is held.
func (s *Store) makeRoom() bool {
	if s.hasRoom() {
		return true
	}
	i := slices.IndexFunc(s.lanes, func(l *lane) bool { return l.streams == 0 })
	if i < 0 {
		return false
	}
	idle := s.lanes[i]
	s.lanes = slices.Delete(s.lanes, i, i+1)
	ends := s.take(idle)
	s.wg.Go(ends.run)
	return true
}

// addLane makes a lane for one stream. mu is held.
func (s *Store) addLane(kind laneKind, limit int64) *lane {
	l := &lane{s: s, kind: kind, limit: limit, streams: 1}
	s.lanes = append(s.lanes, l)
	return l
}

// ready reports whether the lane has a segment to write to, and has one made if
// not.
func (l *lane) ready() bool {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	if l.cur == nil && l.spare == nil && !l.s.closed {
		l.make()
		return false
	}
	return true
}

// giveBack ends a stream's use of a lane. An own lane ends with it: what it has
// stays if keep is set, and goes if not. It answers false if keep is set and the
// Store was closed before, which made away with it.
func (s *Store) giveBack(l *lane, keep bool) bool {
	s.mu.Lock()
	l.streams--
	if l.kind != own {
		s.mu.Unlock()
		return true
	}
	if l.gone {
		s.mu.Unlock()
		return !keep
	}
	if keep {
		// Those that were made ahead, or of which no window stayed.
		l.made = slices.DeleteFunc(l.made, func(g *open) bool {
			if g.kept.Load() {
				s.metrics.dead.Add(g.dead.Load())
			}
			return g.kept.Load()
		})
	}
	s.lanes = slices.DeleteFunc(s.lanes, func(o *lane) bool { return o == l })
	ends := s.take(l)
	s.mu.Unlock()
	ends.run()
	return true
}

// endings are the segments of a lane that ends.
type endings struct {
	s      *Store
	retire *open
	remove []*open
}

// take ends a lane. mu is held; run does the rest without it.
func (s *Store) take(l *lane) endings {
	e := endings{s: s, remove: l.made}
	if l.spare != nil && !slices.Contains(e.remove, l.spare) {
		e.remove = append(e.remove, l.spare)
	}
	if l.cur != nil && !slices.Contains(e.remove, l.cur) {
		e.retire = l.cur
	}
	l.gone, l.cur, l.spare, l.made = true, nil, nil, nil
	return e
}

func (e endings) run() {
	if e.retire != nil {
		e.retire.retire()
	}
	for _, g := range e.remove {
		e.s.discard(g)
	}
}
