package payload

import (
	"github.com/cairnstore/cairn/erasure"
	"github.com/cairnstore/cairn/internal/segment"
)

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
	if st.kept = st.end(true); !st.kept {
		return nil, nil, ErrClosed
	}
	extents, descs := st.layout.extents()
	return extents, descs, nil
}

// last dispatches what is left.
func (st *Stream) last() error {
	w := st.cur
	if w == nil {
		if st.stage == nil {
			return nil
		}
		st.choose(st.hint)
		g, err := st.lane.current(st.ctx)
		if err != nil {
			return st.cause(err)
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

// end gives everything back. It answers false if keep is set and the Store was
// closed before.
func (st *Stream) end(keep bool) bool {
	st.ended = true
	st.err = ErrStreamEnded
	st.cancel()
	st.wg.Wait()
	for _, w := range append(st.flying, st.cur, st.spare) {
		if w == nil {
			continue
		}
		if w.seg != nil {
			st.s.dead(w)
			w.seg.release()
			w.seg = nil
		}
		w.free()
	}
	st.flying, st.cur, st.spare = nil, nil, nil
	st.stage.Release()
	st.stage = nil
	if st.next != nil {
		st.s.giveBack(st.next, false)
	}
	kept := st.s.giveBack(st.lane, keep)
	if !keep || !kept {
		st.s.metrics.dead.Add(st.layout.dead())
	}
	for ; st.held > 0; st.held-- {
		<-st.s.tokens
	}
	return kept
}

// Discard gives up what Finish returned: segments of the stream's own are
// removed, other space is dead. It is for an object that nothing refers to and
// nothing ever will. It does nothing if Finish did not return nil, or twice.
func (st *Stream) Discard() {
	if !st.ended || len(st.layout.parts) == 0 || !st.kept {
		return
	}
	st.kept = false
	st.s.metrics.dead.Add(st.layout.dead())
	gone := map[*open]bool{}
	for _, p := range st.layout.parts {
		if p.seg.lane.kind == own && !gone[p.seg] {
			gone[p.seg] = true
			st.s.metrics.dead.Add(-p.seg.dead.Load())
			st.s.discard(p.seg)
		}
	}
}
