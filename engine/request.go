package engine

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/cairnstore/cairn/internal/log"
	"github.com/cairnstore/cairn/internal/payload"
	"github.com/cairnstore/cairn/internal/segment"
	"github.com/cairnstore/cairn/meta"
	"github.com/cairnstore/cairn/versioning"
)

// request is one mutation on its way to the committer.
type request struct {
	record   meta.Record
	payload  []byte                // of a packed object; the caller's until done
	segments []*segment.Descriptor // payload segments that the record refers to
	stream   *payload.Stream       // that wrote to them; nil: none
	cond     *Conditions           // nil: none

	// The caller's look-up, if the commit depends on it: prev is the key's
	// version as of sequence base.
	base uint64
	prev *meta.Version
	// again: that look-up was too old once. The committer makes the next one
	// itself if it must, or a busy store could refuse the caller for ever.
	again bool
	// async: nobody waits in a call that holds a slot for the request: the slot
	// goes back when it is answered.
	async bool

	// logged: the record went into an append and may be in the log, whatever
	// comes of that.
	logged bool

	state atomic.Uint32
	done  chan struct{} // closed when the fields below are set
	id    versioning.ID
	when  int64
	group *log.Group
	err   error
	// replaced is, for a delete, the version that it deleted; zero: none.
	replaced versioning.ID
	current  *meta.Version // KindTags: the version that gets them
	// deleted is what a large transaction took away.
	deleted meta.Deleted
}

// States of a request: until the committer has taken it, its caller may give
// it up.
const (
	queued uint32 = iota
	taken
	abandoned
)

// errLookAgain tells a caller that its look-up is older than the changes that
// the committer remembers.
var errLookAgain = errors.New("look up again")

// slot admits a mutation: MaxQueue of them are in the engine at once, from
// before they take memory until they are answered. unslot must be called if it
// returns nil.
func (e *Engine) slot(ctx context.Context) error {
	select {
	case e.slots <- struct{}{}:
		return nil
	default:
	}
	if e.opts.FailWhenBusy {
		return ErrBusy
	}
	select {
	case e.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-e.stop:
		return ErrClosed
	}
}

func (e *Engine) unslot() { <-e.slots }

// submit hands r to the committer and waits. A context that ends before the
// committer takes r ends the call with nothing done; after that the outcome is
// waited for and returned.
func (e *Engine) submit(ctx context.Context, r *request) error {
	if err := e.send(ctx, r); err != nil {
		return err
	}
	_ = e.wait(ctx, r)
	return r.err
}

// submitSlot submits r within a slot of its own.
func (e *Engine) submitSlot(ctx context.Context, r *request) error {
	if err := e.slot(ctx); err != nil {
		return err
	}
	defer e.unslot()
	return e.submit(ctx, r)
}

// send queues r. There is room for all that hold a slot, but those that were
// given up take some of it until the committer comes by.
func (e *Engine) send(ctx context.Context, r *request) error {
	r.done = make(chan struct{})
	select {
	case e.queue <- r:
		return nil
	default:
	}
	if e.opts.FailWhenBusy {
		return ErrBusy
	}
	select {
	case e.queue <- r:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// wait waits for the outcome of r, or gives r up if it may. It returns r.err.
func (e *Engine) wait(ctx context.Context, r *request) error {
	select {
	case <-r.done:
	case <-ctx.Done():
		if r.state.CompareAndSwap(queued, abandoned) {
			r.err = ctx.Err()
			if r.async {
				e.unslot()
			}
			return r.err
		}
		<-r.done
	}
	return r.err
}

// lookScratch is room for a key's surroundings and the entry of a small object
// without metadata.
const lookScratch = 192

// look fills in the caller's look-up of the key's current version.
func (e *Engine) look(r *request) error {
	r.base = e.applied.Load()
	r.prev = new(meta.Version) // the committer may keep it
	err := e.head(r.record.Bucket, r.record.Key, make([]byte, 0, len(r.record.Key)+lookScratch), r.prev)
	if err != nil {
		r.prev = nil
	}
	if errors.Is(err, meta.ErrNoEntry) {
		return nil
	}
	return err
}

// looks reports whether what the commit decides on r depends on the key's current
// version.
func (r *request) looks() bool { return r.cond != nil || r.record.Kind == meta.KindTags }

// change commits q. If it looks, and other changes overtook its look-up by far,
// it looks again.
func (e *Engine) change(ctx context.Context, q *request) error {
	if err := q.check(); err != nil {
		return err
	}
	if !q.looks() {
		return e.submit(ctx, q)
	}
	for {
		if err := e.look(q); err != nil {
			return err
		}
		q.state.Store(queued)
		if err := e.submit(ctx, q); !errors.Is(err, errLookAgain) {
			return err
		}
		q.again = true
	}
}

// changeAsync queues q, which holds a slot. Once that returned nil the slot goes
// back with the outcome.
func (e *Engine) changeAsync(ctx context.Context, q *request) error {
	if err := q.check(); err != nil {
		return err
	}
	q.async, q.again = true, true
	if q.looks() {
		if err := e.look(q); err != nil {
			return err
		}
	}
	return e.send(ctx, q)
}

// check refuses a record that could be written and not read back. Only an object
// of very many extents gets there.
func (r *request) check() error {
	o := r.record.Object
	if o == nil || len(o.Extents) < 1000 {
		return nil
	}
	if n := len(r.record.Append(nil)); n > meta.MaxRecord {
		return fmt.Errorf("%w: %d extents make a record of %d bytes, at most %d fit", ErrTooLarge, len(o.Extents), n, meta.MaxRecord)
	}
	return nil
}

// take claims a request from its caller, who may have given it up.
func (r *request) take() bool { return r.state.CompareAndSwap(queued, taken) }

// finish answers r.
func (e *Engine) finish(r *request, err error) {
	r.err = err
	if r.async {
		if err != nil {
			e.drop(r) // nobody may ever wait for it
		}
		e.unslot()
	}
	close(r.done)
}

// drop gives up the bytes that r streamed, once it is known not to have been
// committed. Where that is not known they are left to the next open. It may be
// called again.
func (e *Engine) drop(r *request) {
	switch {
	case r.stream == nil:
	case r.logged:
		e.dead(r)
		r.stream = nil
	default:
		r.stream.Discard()
		r.stream = nil
	}
}

// recordBytes returns about how long the request's records are: no less than
// half, whatever is in them.
func (r *request) recordBytes() int64 {
	const fixed, perExtent, perSegment = 128, 48, 1 << 10
	n := fixed + len(r.record.Key) + len(r.record.Tags) + len(r.record.Settings) + perSegment*len(r.segments)
	if o := r.record.Object; o != nil {
		n += o.Headers.Size() + len(o.ETag) + len(o.Metadata) + len(o.Tags) + perExtent*len(o.Extents)
	}
	return int64(n)
}

// records returns how many records the request may need.
func (r *request) records() int { return 1 + len(r.segments) }

// alone reports whether r must have a group of its own: what it does depends
// on all that is before it.
func alone(r *request) bool {
	switch r.record.Kind {
	case meta.KindPut, meta.KindDelete, meta.KindTags:
		return false
	}
	return true
}
