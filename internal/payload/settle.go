package payload

import "github.com/cairnstore/cairn/erasure"

// settle makes durable all windows that are written now, writing those again of
// which a shard failed.
func (st *Stream) settle() {
	st.mu.Lock()
	var batch []*window
	for _, w := range st.flying {
		if w.state == written {
			w.state = syncing
			batch = append(batch, w)
		}
	}
	st.waiting = 0
	st.mu.Unlock()
	for len(batch) > 0 {
		errs := syncAll(batch)
		again := batch[:0]
		for i, w := range batch {
			if errs[i] == nil {
				st.durable(w)
				continue
			}
			err := st.s.unplace(w, errs[i])
			if err == nil {
				err = st.place(w)
			}
			if err != nil {
				st.fail(err) // the windows left are given up by Abort
				return
			}
			again = append(again, w)
		}
		batch = again
	}
}

// syncAll syncs each segment that the windows lie in once.
func syncAll(batch []*window) []error {
	errs := make([]error, len(batch))
next:
	for i, w := range batch {
		for j := range i {
			if batch[j].seg == w.seg {
				errs[i] = errs[j]
				continue next
			}
		}
		errs[i] = w.seg.sync()
	}
	return errs
}

// durable takes a window off the list of those that are not. Its memory is kept
// if it is the only one that the stream has, else given to all.
func (st *Stream) durable(w *window) {
	st.s.metrics.windows.Add(1)
	g, size := w.seg, w.allocated()
	w.seg = nil
	st.mu.Lock()
	g.kept.Store(true)
	st.layout.set(w.index, placed{
		seg:    g,
		extent: erasure.Extent{Segment: g.desc.ID, Offset: w.off, Length: w.length},
		size:   size,
	})
	for i, f := range st.flying {
		if f == w {
			st.flying = append(st.flying[:i], st.flying[i+1:]...)
			break
		}
	}
	keep := st.held == 1
	if keep {
		st.spare = w
	} else {
		st.held--
	}
	st.change()
	st.mu.Unlock()
	g.release()
	if !keep {
		w.free()
		<-st.s.tokens
	}
}
