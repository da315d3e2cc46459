package payload

import (
	"context"
	"slices"
	"sync"

	"github.com/cairnstore/cairn/erasure"
	"github.com/cairnstore/cairn/internal/segment"
)

// maxStage is how many bytes a stream gathers in a plain buffer before it takes
// a whole window.
const maxStage = 512 << 10

// Stream writes one object. It belongs to one caller, who ends it with Finish
// or Abort, or both.
type Stream struct {
	s *Store
	// Stored because io.Writer has no room for one: it governs the stream from
	// NewStream to its end.
	ctx    context.Context
	cancel context.CancelFunc

	stage *erasure.Buffer // the object while it is short; len(B) is what it holds
	cur   *window         // the window that is filled; nil while stage serves
	err   error           // why Write is of no use any more
	ended bool
	limit int // most windows to hold

	wg      sync.WaitGroup // windows being written
	mu      sync.Mutex
	changed chan struct{} // closed and replaced when what follows changes
	held    int           // tokens: at least one until the end
	flying  []*window     // dispatched and not durable
	spare   *window       // was durable, kept to be filled again
	waiting int64         // bytes written and not synced
	places  []placed      // of windows dispatched, in object order
	failed  error
}

// placed is where a durable window lies.
type placed struct {
	desc   *segment.Descriptor
	extent erasure.Extent
	size   int64 // of shard files
}

// NewStream begins an object. While MaxWindows windows are in use it waits for
// one, as long as ctx lives. ctx is also what ends the stream's later waits.
func (s *Store) NewStream(ctx context.Context) (*Stream, error) {
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	if closed {
		return nil, ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case s.tokens <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-s.ctx.Done():
		return nil, ErrClosed
	}
	st := &Stream{s: s, held: 1, changed: make(chan struct{})}
	// One is filled, one written, the others wait for a sync.
	st.limit = 2 + int((s.cfg.SyncBytes+int64(s.cfg.WindowBytes)-1)/int64(s.cfg.WindowBytes))
	st.ctx, st.cancel = context.WithCancel(ctx)
	return st, nil
}

// Write takes object bytes; it keeps no reference to p. It returns len(p) or an
// error, after which the stream can only be aborted. A nil error says nothing
// about durability.
func (st *Stream) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		if st.err == nil {
			st.err = st.check()
		}
		if st.err != nil {
			return done, st.err
		}
		if st.cur == nil {
			n := st.gather(p[done:])
			done += n
			if n == 0 {
				st.err = st.promote()
			}
			continue
		}
		if st.cur.length == st.cur.capacity {
			st.err = st.advance()
			continue
		}
		// A failure is noticed between windows.
		done += st.cur.fill(p[done:])
	}
	return done, nil
}

// check returns why there is no point in going on, or nil. A failure comes
// before the cancellation that it leads to.
func (st *Stream) check() error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.failed != nil {
		return st.failed
	}
	return st.ctx.Err()
}

// gather appends to stage what fits of p.
func (st *Stream) gather(p []byte) int {
	limit := min(maxStage, st.s.cfg.WindowBytes/2)
	have := 0
	if st.stage != nil {
		have = len(st.stage.B)
	}
	n := min(len(p), limit-have)
	if n <= 0 {
		return 0
	}
	if st.stage == nil || cap(st.stage.B) < have+n {
		b := erasure.GetBuffer(min(limit, max(2*have, have+n, 64<<10)))
		if st.stage != nil {
			copy(b.B, st.stage.B)
			st.stage.Release()
		}
		st.stage = b
	}
	st.stage.B = st.stage.B[:have+n]
	copy(st.stage.B[have:], p[:n])
	return n
}

// promote moves stage to a window.
func (st *Stream) promote() error {
	g, err := st.s.current(st.ctx)
	if err != nil {
		return err
	}
	st.cur = st.s.newWindow(g.desc.Geometry, 0)
	if st.stage != nil {
		st.cur.fill(st.stage.B)
		st.stage.Release()
		st.stage = nil
	}
	return nil
}

// newWindow returns an empty window of WindowBytes, two rows or what takes
// length bytes and more, whichever is most.
func (s *Store) newWindow(g erasure.Geometry, length int64) *window {
	row := erasure.RowBytes(g.Data)
	return newWindow(g, max(2, int64(s.cfg.WindowBytes)/row, length/row+1))
}

// advance sends the full window off and goes on in another. The last row goes
// along: so the end of the object always has more than one row to lay out
// evenly, or is all there is.
func (st *Stream) advance() error {
	full := st.cur
	st.cur = nil
	full.length -= erasure.RowBytes(full.g.Data)
	carry := erasure.GetBuffer(int(full.capacity - full.length))
	defer carry.Release()
	full.gather(carry.B, full.length, full.capacity)
	g := full.g
	if err := st.dispatch(full, true); err != nil {
		return err
	}
	if err := st.room(); err != nil {
		return err
	}
	// The disks may be fewer than for the last window.
	if cur, err := st.s.current(st.ctx); err == nil {
		g = cur.desc.Geometry
	}
	st.mu.Lock()
	next := st.spare
	st.spare = nil
	st.mu.Unlock()
	if next != nil && next.g == g && next.capacity > int64(len(carry.B)) {
		next.reset()
	} else {
		if next != nil {
			next.free()
		}
		next = st.s.newWindow(g, int64(len(carry.B)))
	}
	next.fill(carry.B)
	st.cur = next
	return nil
}

// dispatch has a window, which must be as long as its place, written: in the
// background or, the last one, by the caller.
func (st *Stream) dispatch(w *window, background bool) error {
	if !st.s.start() {
		w.free()
		return ErrClosed
	}
	w.state = writing
	st.mu.Lock()
	w.index = len(st.places)
	st.places = append(st.places, placed{})
	st.flying = append(st.flying, w)
	st.mu.Unlock()
	st.wg.Add(1)
	run := func() {
		defer st.s.wg.Done()
		defer st.wg.Done()
		st.write(w)
	}
	if background {
		go run()
	} else {
		run()
	}
	return nil
}

// write places a window and syncs if that is due.
func (st *Stream) write(w *window) {
	if err := st.s.place(st.ctx, w); err != nil {
		st.fail(err)
		return
	}
	st.mu.Lock()
	w.state = written
	st.waiting += w.length
	st.change()
	// The next window would be too much.
	due := st.waiting > st.s.cfg.SyncBytes-int64(st.s.cfg.WindowBytes)
	st.mu.Unlock()
	if due {
		st.settle()
	}
}

// room waits until the stream may fill another window: a token, or a window that
// has become durable.
func (st *Stream) room() error {
	return st.wait(func() (bool, error) {
		if st.spare != nil {
			return true, nil
		}
		if st.held < st.limit {
			select {
			case st.s.tokens <- struct{}{}:
				st.held++
				return true, nil
			default:
			}
		}
		return false, nil
	})
}

// wait waits for done, which is asked with mu held. While nothing is on its way
// to become durable and something could be, it syncs.
func (st *Stream) wait(done func() (bool, error)) error {
	for {
		st.mu.Lock()
		ok, err := false, st.failed
		if err == nil {
			ok, err = done()
		}
		changed := st.changed
		idle := st.waiting > 0
		for _, w := range st.flying {
			idle = idle && w.state == written
		}
		st.mu.Unlock()
		if ok || err != nil {
			return err
		}
		if idle {
			if !st.s.start() {
				return ErrClosed
			}
			st.settle()
			st.s.wg.Done()
			continue
		}
		select {
		case <-changed:
		case <-st.ctx.Done():
			return st.check()
		}
	}
}

func (st *Stream) fail(err error) {
	st.mu.Lock()
	if st.failed == nil {
		st.failed = err
	}
	st.change()
	st.mu.Unlock()
	st.cancel()
}

// change wakes whoever waits. mu is held.
func (st *Stream) change() {
	close(st.changed)
	st.changed = make(chan struct{})
}

// Finish ends the object. When it returns nil, all its bytes are durable on all
// shards of the segments named. The extents are in object order and none is
// empty; an object without bytes has none. After an error nothing is kept.
func (st *Stream) Finish() ([]erasure.Extent, []*segment.Descriptor, error) {
	if st.ended {
		return nil, nil, ErrStreamEnded
	}
	err := st.err
	if err == nil {
		err = st.check()
	}
	if err == nil {
		err = st.last()
	}
	if err == nil {
		err = st.wait(func() (bool, error) { return len(st.flying) == 0, nil })
	}
	if err != nil {
		st.Abort()
		return nil, nil, err
	}
	st.end(true)
	extents, descs := merge(st.places)
	return extents, descs, nil
}

// last dispatches what is left.
func (st *Stream) last() error {
	w := st.cur
	if w == nil {
		if st.stage == nil {
			return nil
		}
		g, err := st.s.current(st.ctx)
		if err != nil {
			return err
		}
		w = newFitted(g.desc.Geometry, st.stage.B)
		st.stage.Release()
		st.stage = nil
	} else {
		w.fit()
	}
	st.cur = nil
	return st.dispatch(w, false)
}

// Abort ends the stream without keeping anything, and waits for its writes that
// are under way. It does nothing after Finish, or a second time.
func (st *Stream) Abort() {
	if !st.ended {
		st.end(false)
	}
}

// end gives everything back.
func (st *Stream) end(keep bool) {
	st.ended = true
	st.err = ErrStreamEnded
	st.cancel()
	st.wg.Wait()
	for _, w := range append(st.flying, st.cur, st.spare) {
		if w == nil {
			continue
		}
		if w.seg != nil {
			st.s.metrics.dead.Add(w.allocated())
			w.seg.release()
			w.seg = nil
		}
		w.free()
	}
	st.flying, st.cur, st.spare = nil, nil, nil
	st.stage.Release()
	st.stage = nil
	if !keep {
		for _, p := range st.places {
			st.s.metrics.dead.Add(p.size)
		}
	}
	for ; st.held > 0; st.held-- {
		<-st.s.tokens
	}
}

// merge joins the extents that lie as one would, and lists their segments.
func merge(places []placed) ([]erasure.Extent, []*segment.Descriptor) {
	var extents []erasure.Extent
	var descs []*segment.Descriptor
	for _, p := range places {
		k := p.desc.Geometry.Data
		if n := len(extents); n > 0 {
			last := &extents[n-1]
			row := erasure.RowBytes(k)
			// An end of less than a row would be laid out together with the
			// row before it.
			if last.Segment == p.extent.Segment && last.Length%row == 0 &&
				last.Offset+erasure.ExtentSize(k, last.Length) == p.extent.Offset &&
				p.extent.Length >= row {
				last.Length += p.extent.Length
				continue
			}
		}
		extents = append(extents, p.extent)
		if !slices.ContainsFunc(descs, func(d *segment.Descriptor) bool { return d.ID == p.desc.ID }) {
			descs = append(descs, p.desc)
		}
	}
	return extents, descs
}
