package payload

import (
	"context"
	"fmt"
	"sync"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/erasure"
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
	kept  bool  // Finish returned nil
	limit int   // most windows to hold
	hint  int64 // object bytes, 0 unknown
	size  int64 // object bytes in dispatched windows
	next  *lane // that the stream changes to when it has a segment; nil: none

	wg      sync.WaitGroup // windows being written
	mu      sync.Mutex
	changed chan struct{} // closed and replaced when what follows changes
	held    int           // tokens: at least one until the end
	flying  []*window     // dispatched and not durable
	spare   *window       // was durable, kept to be filled again
	waiting int64         // bytes written and not synced
	layout  layout        // of windows dispatched
	lane    *lane         // that new windows go to
	failed  error
}

// StreamOptions say what is known of a stream.
type StreamOptions struct {
	// SizeHint is how many bytes will come, 0 if that is not known. It chooses
	// segments and is no promise.
	SizeHint int64
	// NoWait is for those who would rather not wait for a window: NewStream
	// returns disk.ErrBusy.
	NoWait bool
}

// NewStream begins an object. While MaxWindows windows are in use it waits for
// one, as long as ctx lives. ctx is also what ends the stream's later waits.
func (s *Store) NewStream(ctx context.Context, opts StreamOptions) (*Stream, error) {
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
	default:
		if opts.NoWait {
			return nil, fmt.Errorf("payload: all %d windows in use: %w", s.cfg.MaxWindows, disk.ErrBusy)
		}
		select {
		case s.tokens <- struct{}{}:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-s.stopping:
			return nil, ErrClosed
		}
	}
	st := &Stream{s: s, held: 1, changed: make(chan struct{}), hint: min(max(opts.SizeHint, 0), erasure.MaxLength), lane: s.shared}
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

// cause returns the failure of the stream if err is only the cancellation that
// it led to, else err.
func (st *Stream) cause(err error) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.failed != nil {
		return st.failed
	}
	return err
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
	st.choose(st.hint)
	g, err := st.lane.current(st.ctx)
	if err != nil {
		return st.cause(err)
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
	if cur, err := st.lane.current(st.ctx); err == nil {
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

// choose changes to the lane for a stream of size bytes.
func (st *Stream) choose(size int64) {
	if st.next == nil {
		if n := st.s.lend(st.lane, max(size, st.hint), st.hint); n != st.lane {
			st.next = n
		}
	}
	// Nobody waits for the files of a segment to be made who has another.
	if st.next == nil || !st.next.ready() && st.size > 0 {
		return
	}
	st.mu.Lock()
	was := st.lane
	st.lane, st.next = st.next, nil
	st.mu.Unlock()
	st.s.giveBack(was, false)
}

// dispatch has a window, which must be as long as its place, written: in the
// background or, the last one, by the caller. Its place is chosen here, so that
// the windows of a stream follow each other.
func (st *Stream) dispatch(w *window, background bool) error {
	switch {
	case background: // more than a window will come
		st.choose(max(st.size+w.length, int64(st.s.cfg.WindowBytes)+1))
	case st.hint > 0:
		st.choose(st.size + w.length)
	}
	if err := w.alloc(st.ctx, st.lane); err != nil {
		w.free()
		return st.cause(err)
	}
	if !st.s.start() {
		st.s.dead(w)
		w.seg.release()
		w.free()
		return ErrClosed
	}
	w.state = writing
	st.size += w.length
	st.mu.Lock()
	w.index = st.layout.add()
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
	if err := st.place(w); err != nil {
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

// place writes w, in the stream's present lane if it must go elsewhere.
func (st *Stream) place(w *window) error {
	st.mu.Lock()
	l := st.lane
	st.mu.Unlock()
	return st.s.place(st.ctx, l, w)
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
