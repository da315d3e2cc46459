package engine

import (
	"errors"
	"fmt"
	"runtime"
	"slices"

	"github.com/cairnstore/cairn/erasure"
	"github.com/cairnstore/cairn/internal/log"
	"github.com/cairnstore/cairn/meta"
	"github.com/cairnstore/cairn/versioning"
)

// committer is the one goroutine that orders mutations. It owns the fields.
//
// It lays a group out, hands it to the applier, another goroutine, and appends
// it to the log. The applier looks up what the group replaces while the disks
// are busy with it, shows it when it is durable and answers its callers, while
// the committer goes on with the next. What a group changes is in recent before
// the next one is looked at.
type committer struct {
	e       *Engine
	held    *request // taken from the queue, for the next group
	recent  recent
	last    uint64 // sequence of the last append
	stamp   int64  // time of the last commit; stamps never go back
	busy    int    // requests in the last group
	woken   int    // those of them whose callers wait and may ask again at once
	records []byte
	noted   []*request                 // of the group that was appended
	named   map[erasure.SegmentID]bool // payload segments that durable groups made known and the state may not show yet
	inGroup inGroup

	applies chan *appended
	free    chan *appended // those that the applier is done with
}

// appended is a group on its way to disks and index.
type appended struct {
	records  []meta.Record
	requests []*request
	payload  [][]byte
	refused  []refusal

	ended chan struct{} // gets one token when the append has ended and set:
	group *log.Group    // nil: nothing was appended
	place *meta.Group
	err   error

	before before // the applier's
}

// refusal is a request that the current version of its key rules out. That
// version may be in the request's own group, or in one that is not shown yet:
// the caller is told only when it can be seen.
type refusal struct {
	r   *request
	err error
}

// inFlight is how many groups may be between gathered and shown.
const inFlight = 2

// commit runs until the queue is closed and empty.
func (e *Engine) commit(stamp int64) {
	c := &committer{
		e: e, stamp: stamp, last: e.applied.Load(), recent: newRecent(e.applied.Load()), named: map[erasure.SegmentID]bool{},
		applies: make(chan *appended, inFlight), free: make(chan *appended, inFlight),
	}
	for range inFlight {
		c.free <- &appended{ended: make(chan struct{}, 1)}
	}
	e.tasks.Go(func() { e.applyAll(c.applies, c.free) })
	defer close(c.applies)
	for {
		group := c.gather()
		if group == nil {
			return
		}
		c.commit(group)
		c.busy = len(group)
	}
}

// drain waits until all groups are applied.
func (c *committer) drain() {
	var all [inFlight]*appended
	for i := range all {
		all[i] = <-c.free
	}
	for _, a := range all {
		c.free <- a
	}
	clear(c.named) // the state knows them
}

// gather waits for a request and takes with it what else is waiting, up to the
// limits of a group. It returns nil when the engine closes.
func (c *committer) gather() []*request {
	first := c.held
	c.held = nil
	for first == nil {
		r, ok := <-c.e.queue
		if !ok {
			return nil
		}
		if r.take() {
			first = r
		}
	}
	group, size, records := []*request{first}, int64(len(first.payload)), first.recordBytes()
	count := first.records()
	if alone(first) {
		return group
	}
	// Callers that the last group woke, or is about to wake, will ask again.
	// Letting them come first makes groups larger; a lone caller never waits.
	want := c.busy
	for yields := 0; count < c.e.opts.GroupRecords; {
		var r *request
		var open bool
		select {
		case r, open = <-c.e.queue:
			if !open {
				return group
			}
		default:
			if c.woken > 0 && c.e.applied.Load() < c.last {
				want = max(want, len(group)+c.woken)
				c.woken = 0
				c.drain()
				continue
			}
			if yields >= maxYields || len(group) >= want {
				return group
			}
			yields++
			runtime.Gosched()
			continue
		}
		if !r.take() {
			continue
		}
		size += int64(len(r.payload))
		records += r.recordBytes()
		count += r.records()
		if alone(r) || count > c.e.opts.GroupRecords || size > c.e.opts.GroupBytes || records > maxGroupRecordBytes {
			c.held = r
			return group
		}
		group = append(group, r)
	}
	return group
}

const maxYields = 8

// maxGroupRecordBytes bounds the record bytes of a group of several requests,
// far below what the log takes: metadata may be larger than the objects.
const maxGroupRecordBytes = 4 << 20

// commit makes one group durable and passes it on.
func (c *committer) commit(requests []*request) {
	single := alone(requests[0])
	if single {
		c.drain()
	}
	if err := c.e.writable(); err != nil {
		c.e.answer(requests, err)
		return
	}
	c.stamp = max(c.stamp, c.e.opts.Clock().UnixNano())
	a := <-c.free
	c.build(a, requests)
	c.records = c.records[:0]
	for i := range a.records {
		c.records = a.records[i].Append(c.records)
	}
	count, payload := uint64(len(a.records)), a.payload
	c.noted = append(c.noted[:0], a.requests...)
	c.applies <- a
	if len(c.noted) > 0 {
		a.group, a.err = c.e.log.Append(c.records, count, payload)
	}
	if a.group == nil {
		a.ended <- struct{}{}
		clear(c.noted)
		return
	}
	place := placement(a.group)
	c.appended(a)
	a.place = place
	a.ended <- struct{}{} // from here on a is the applier's
	c.remember(place)
	if single || len(c.named) > maxNamed {
		c.drain()
	}
}

const maxNamed = 256

// reset lets go of everything: an idle store holds nothing of its callers'.
func (a *appended) reset() {
	clear(a.records)
	clear(a.requests)
	clear(a.payload)
	clear(a.refused)
	a.before.reset()
	*a = appended{
		records: a.records[:0], requests: a.requests[:0], payload: a.payload[:0], refused: a.refused[:0],
		ended: a.ended, before: a.before,
	}
}

// build decides on each request and lays out the records of those that go on.
func (c *committer) build(a *appended, requests []*request) {
	epoch := c.e.log.EpochNumber()
	var offset uint32
	c.woken = 0
	c.inGroup.reset()
	for _, r := range requests {
		if err := c.admit(r, a.requests); errors.Is(err, ErrPrecondition) || errors.Is(err, ErrNotFound) {
			a.refused = append(a.refused, refusal{r, err})
			c.wakes(r)
			continue
		} else if err != nil {
			c.e.finish(r, err)
			continue
		}
		c.inGroup.note(r, len(a.requests))
		for _, d := range r.segments {
			if !c.knows(a, d.ID) {
				a.records = append(a.records, meta.Record{Kind: meta.KindSegment, Epoch: epoch, Time: c.stamp, Segment: d.ID, Descriptor: d.Append(nil)})
			}
		}
		r.id = versioning.ID{Epoch: epoch, Sequence: c.last + 1 + uint64(len(a.records))}
		r.when = c.stamp
		r.record.Epoch, r.record.Time = epoch, c.stamp
		if o := r.record.Object; o != nil && o.Packed {
			o.Offset = offset
			offset += uint32(len(r.payload))
			a.payload = append(a.payload, r.payload)
		}
		a.records = append(a.records, r.record)
		a.requests = append(a.requests, r)
		r.logged = true
		c.wakes(r)
	}
}

// wakes takes note of a caller that will be answered with the group.
func (c *committer) wakes(r *request) {
	if !r.async {
		c.woken++
	}
}

// knows reports whether a record that describes a payload segment is in a group
// before, or in a.
func (c *committer) knows(a *appended, id erasure.SegmentID) bool {
	if _, known := c.e.state.Segment(id); known || c.named[id] {
		return true
	}
	return slices.ContainsFunc(a.records, func(r meta.Record) bool { return r.Kind == meta.KindSegment && r.Segment == id })
}

// admit says whether r can follow what has been committed and the requests of
// its group that are before it.
func (c *committer) admit(r *request, before []*request) error {
	switch r.record.Kind {
	case meta.KindCreateBucket:
		if _, exists := c.e.state.Bucket(r.record.Name); exists {
			return ErrBucketExists
		}
		return nil
	}
	b, ok := c.e.state.BucketByID(r.record.Bucket)
	if !ok {
		return ErrNoBucket
	}
	switch r.record.Kind {
	case meta.KindDeleteBucket:
		if b.Usage.Objects > 0 {
			return fmt.Errorf("%w: %d objects", ErrBucketNotEmpty, b.Usage.Objects)
		}
		return nil
	case meta.KindSettings:
		if r.base != b.Revision {
			return errLookAgain
		}
		return nil
	case meta.KindDeletePrefix:
		return nil
	}
	if !r.looks() {
		return nil
	}
	if r.base < c.recent.floor {
		if !r.again {
			return errLookAgain
		}
		if err := c.e.look(r); err != nil {
			return err
		}
	}
	current, changed := c.inGroup.outcome(r, before)
	if !changed {
		current = c.recent.current(r)
	}
	if err := r.cond.check(current); err != nil {
		return err
	}
	if r.record.Kind == meta.KindTags {
		if current == nil {
			return ErrNotFound
		}
		r.record.Version, r.current = current.ID, current
	}
	return nil
}

// appended takes note of what a durable group made known.
func (c *committer) appended(a *appended) {
	if a.group.First != c.last+1 {
		c.e.indexFailed(fmt.Errorf("group at sequence %d follows sequence %d", a.group.First, c.last))
	}
	c.last = a.group.Last
	for i := range a.records {
		if r := &a.records[i]; r.Kind == meta.KindSegment {
			c.named[r.Segment] = true
		}
	}
}

// remember keeps what the group at place changes for those that follow.
func (c *committer) remember(place *meta.Group) {
	for _, r := range c.noted {
		if r.record.Kind == meta.KindDeletePrefix {
			c.recent = newRecent(c.last) // it may have changed any key
			break
		}
		if !alone(r) {
			c.recent.note(place, r)
		}
	}
	clear(c.noted)
	c.recent.endGroup(c.last)
}

// refuse answers with each one's own error, or with err if the group failed.
func (e *Engine) refuse(refused []refusal, err error) {
	for _, f := range refused {
		if err != nil {
			f.err = err
		}
		e.finish(f.r, f.err)
	}
}

func (e *Engine) answer(requests []*request, err error) {
	for _, r := range requests {
		e.finish(r, err)
	}
}
