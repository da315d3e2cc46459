package payload

import (
	"context"
	"slices"

	"github.com/cairnstore/cairn/internal/segment"
)

// laneKind says who writes to a lane, and how.
type laneKind uint8

const (
	// shared is the lane of all short streams: they share its syncs. Its files
	// are zero-filled ahead, since blocks that were written before sync faster.
	shared laneKind = iota
	// leased lanes are each lent to one longer stream at a time, whose windows
	// then follow each other. Their files are reserved and not zero-filled, which
	// would double what is written.
	leased
	// own lanes are of one huge stream, and so are their segments.
	own
)

// lane is a row of segments, of which one is open and gets the next extents.
// The fields below kind are under Store.mu.
type lane struct {
	s     *Store
	kind  laneKind
	limit int64 // bytes of a shard file at which its segments end
	hint  int64 // object bytes that will come, 0 unknown; of an own lane

	streams int     // those that write here or wait to
	gone    bool    // no longer one of Store.lanes
	cur     *open   // nil: none yet, or it is retired
	spare   *open   // made ahead
	making  *making // nil: none is being made
	made    []*open // of an own lane: all that it had, but for those discarded
}

// making is a segment that is being made.
type making struct {
	done chan struct{}
	err  error
}

// current returns the lane's open segment, making one if there is none.
func (l *lane) current(ctx context.Context) (*open, error) {
	s := l.s
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			return nil, ErrClosed
		}
		if l.gone {
			l = s.shared // a window that must be written again, of a stream that has moved on
		}
		if l.cur == nil {
			l.cur, l.spare = l.spare, nil
			if l.cur != nil && !s.alive(l.cur.desc) {
				stale := l.cur
				l.cur = nil
				l.forget(stale)
				s.wg.Go(func() { s.discard(stale) })
			}
		}
		if g := l.cur; g != nil {
			s.mu.Unlock()
			return g, nil
		}
		m := l.make()
		s.mu.Unlock()
		select {
		case <-m.done:
			if m.err != nil {
				return nil, m.err
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// alloc gives an extent of length bytes its place in the open segment, or in
// the next if that is full. The caller releases the segment.
func (l *lane) alloc(ctx context.Context, length int64) (*open, int64, error) {
	for {
		g, err := l.current(ctx)
		if err != nil {
			return nil, 0, err
		}
		if off, ok := g.alloc(length); ok {
			if off > g.limit-min(g.limit/2, makeAhead) {
				l.prepare()
			}
			return g, off, nil
		}
		l.s.mu.Lock()
		if g.lane.cur == g {
			g.lane.cur = nil
		}
		l.s.mu.Unlock()
		g.closeIfDone()
	}
}

// makeAhead is how many bytes of a shard file are left when the next segment is
// made.
const makeAhead = 32 << 20

// prepare makes the next segment ahead of need.
func (l *lane) prepare() {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	if l.spare == nil && l.making == nil && !l.gone && !l.s.closed {
		l.make()
	}
}

// make has a segment made in the background and left in spare, or returns the
// one that is being made. Store.mu is held and the Store not closed.
func (l *lane) make() *making {
	if l.making != nil {
		return l.making
	}
	m := &making{done: make(chan struct{})}
	l.making = m
	l.s.wg.Go(func() {
		g, err := l.s.create(l)
		l.s.mu.Lock()
		l.making, m.err = nil, err
		unwanted := g != nil && l.gone
		if g != nil && !unwanted {
			l.spare = g
			if l.kind == own {
				l.made = append(l.made, g)
			}
		}
		l.s.mu.Unlock()
		close(m.done)
		if unwanted {
			l.s.discard(g)
		}
	})
	return m
}

// forget takes g off the list of what is unlinked if the stream fails.
// Store.mu is held.
func (l *lane) forget(g *open) {
	l.made = slices.DeleteFunc(l.made, func(o *open) bool { return o == g })
}

// alive reports whether all disks of d may be written.
func (s *Store) alive(d *segment.Descriptor) bool {
	for _, id := range d.Disks {
		if _, live := s.cfg.Set.Disk(id); !live {
			return false
		}
	}
	return true
}
