package engine

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/cairnstore/cairn/erasure"
	"github.com/cairnstore/cairn/internal/log"
	"github.com/cairnstore/cairn/internal/segment"
	"github.com/cairnstore/cairn/meta"
	"github.com/cairnstore/cairn/versioning"
)

// request is one mutation on its way to the committer.
type request struct {
	record   meta.Record
	payload  []byte                // of a packed object; the caller's until done
	segments []*segment.Descriptor // payload segments that the record refers to

	// The caller's look-up: prev is the key's version as of sequence base.
	base uint64
	prev *meta.Version
	// again: that look-up was too old once. The committer makes the next one
	// itself if it must, or a busy store could refuse the caller for ever.
	again bool

	state atomic.Uint32
	done  chan struct{} // closed when the fields below are set
	id    versioning.ID
	when  int64
	group *log.Group
	err   error
	// replaced is the version that was current just before; nil: none.
	replaced *meta.Version
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

// submit hands r to the committer and waits. A context that ends before the
// committer takes r ends the call with nothing done; after that the outcome is
// waited for and returned.
func (e *Engine) submit(ctx context.Context, r *request) error {
	r.done = make(chan struct{})
	select {
	case e.queue <- r:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-r.done:
	case <-ctx.Done():
		if r.state.CompareAndSwap(queued, abandoned) {
			return ctx.Err()
		}
		<-r.done
	}
	return r.err
}

// committer is the one goroutine that orders mutations. It owns the fields.
type committer struct {
	e       *Engine
	held    *request // taken from the queue, for the next group
	recent  recent
	stamp   int64 // time of the last commit; stamps never go back
	busy    int   // requests in the last group
	records []byte
	batch   *meta.Batch
}

// commit runs until the queue is closed and empty.
func (e *Engine) commit(stamp int64) {
	c := &committer{e: e, stamp: stamp, recent: newRecent(e.applied.Load()), batch: meta.NewBatch()}
	for {
		group := c.gather()
		if group == nil {
			return
		}
		c.commit(group)
		c.busy = len(group)
	}
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
	// Callers that the last group woke are about to ask again. Letting them run
	// first makes groups larger; a lone caller never waits.
	for yields := 0; count < c.e.opts.GroupRecords; {
		var r *request
		var open bool
		select {
		case r, open = <-c.e.queue:
			if !open {
				return group
			}
		default:
			if yields >= maxYields || len(group) >= c.busy {
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

// recordBytes returns about how long the request's records are: no less than
// half, whatever is in them.
func (r *request) recordBytes() int64 {
	const fixed, perExtent, perSegment = 128, 48, 1 << 10
	n := fixed + len(r.record.Key) + perSegment*len(r.segments)
	if o := r.record.Object; o != nil {
		n += len(o.Headers.ContentType) + len(o.Metadata) + perExtent*len(o.Extents)
	}
	return int64(n)
}

// records returns how many records the request may need.
func (r *request) records() int { return 1 + len(r.segments) }

// alone reports whether r must have a group of its own: what it does depends
// on all that is before it.
func alone(r *request) bool {
	return r.record.Kind == meta.KindCreateBucket || r.record.Kind == meta.KindDeleteBucket
}

// take claims a request from its caller, who may have given it up.
func (r *request) take() bool { return r.state.CompareAndSwap(queued, taken) }

func (r *request) finish(err error) {
	r.err = err
	close(r.done)
}

// admit says whether r can follow what has been committed.
func (c *committer) admit(r *request) error {
	switch r.record.Kind {
	case meta.KindCreateBucket:
		if _, exists := c.e.state.Bucket(r.record.Name); exists {
			return ErrBucketExists
		}
		return nil
	case meta.KindDeleteBucket:
		b, ok := c.e.state.BucketByID(r.record.Bucket)
		switch {
		case !ok:
			return ErrNoBucket
		case b.Usage.Objects > 0:
			return fmt.Errorf("%w: %d objects", ErrBucketNotEmpty, b.Usage.Objects)
		}
		return nil
	}
	if _, ok := c.e.state.BucketByID(r.record.Bucket); !ok {
		return ErrNoBucket
	}
	if r.base >= c.recent.floor {
		return nil
	}
	if !r.again {
		return errLookAgain
	}
	var err error
	r.base = c.e.applied.Load()
	r.prev, err = meta.HeadOf(c.e.index, r.record.Bucket, r.record.Key, nil)
	if errors.Is(err, meta.ErrNoEntry) {
		err = nil
	}
	return err
}

// commit makes one group durable, applies it and answers its callers.
func (c *committer) commit(requests []*request) {
	if err := c.e.writable(); err != nil {
		answer(requests, err)
		return
	}
	c.stamp = max(c.stamp, c.e.opts.Clock().UnixNano())
	epoch := c.e.log.EpochNumber()
	admitted := requests[:0]
	var records []meta.Record
	var payload [][]byte
	var offset uint32
	named := map[erasure.SegmentID]bool{}
	c.records = c.records[:0]
	for _, r := range requests {
		if err := c.admit(r); err != nil {
			r.finish(err)
			continue
		}
		for _, d := range r.segments {
			if _, known := c.e.state.Segment(d.ID); known || named[d.ID] {
				continue
			}
			named[d.ID] = true
			records = append(records, meta.Record{Kind: meta.KindSegment, Epoch: epoch, Time: c.stamp, Segment: d.ID, Descriptor: d.Append(nil)})
		}
		r.record.Epoch, r.record.Time = epoch, c.stamp
		if o := r.record.Object; o != nil && o.Packed {
			o.Offset = offset
			offset += uint32(len(r.payload))
			payload = append(payload, r.payload)
		}
		r.id.Sequence = uint64(len(records)) // within the group, until it is known
		records = append(records, r.record)
		admitted = append(admitted, r)
	}
	if len(admitted) == 0 {
		return
	}
	for i := range records {
		c.records = records[i].Append(c.records)
	}
	group, err := c.e.log.Append(c.records, uint64(len(records)), payload)
	if err != nil {
		answer(admitted, err)
		return
	}
	for _, r := range admitted {
		r.id = versioning.ID{Epoch: epoch, Sequence: group.First + r.id.Sequence}
		r.when, r.group = c.stamp, group
	}
	if err := c.apply(group, records, admitted); err != nil {
		// The group is durable and will be applied by the next open; to those
		// who ask now the outcome cannot be shown.
		answer(admitted, err)
		return
	}
	for _, r := range admitted {
		r.finish(nil)
	}
}

func answer(requests []*request, err error) {
	for _, r := range requests {
		r.finish(err)
	}
}

// apply puts the group's effects into state and index.
func (c *committer) apply(g *log.Group, records []meta.Record, requests []*request) error {
	place := placement(g)
	looked := make(map[headKey]*request, len(requests))
	for _, r := range requests {
		if r.record.Kind == meta.KindPut || r.record.Kind == meta.KindDelete {
			k := headKey{r.record.Bucket, r.record.Key}
			if _, twice := looked[k]; !twice {
				looked[k] = r
			}
		}
	}
	prev := func(bucket uint64, key string) (*meta.Version, error) {
		k := headKey{bucket, key}
		r := looked[k]
		if v, changed := c.recent.after(k, r.base); changed {
			return v, nil
		}
		return r.prev, nil
	}
	if err := c.e.apply(c.batch, g, place, records, prev); err != nil {
		return err
	}
	for _, r := range requests {
		r.replaced = r.prev
		if v, changed := c.recent.after(headKey{r.record.Bucket, r.record.Key}, r.base); changed {
			r.replaced = v
		}
		c.recent.note(place, &r.record, r.id.Sequence)
	}
	c.recent.endGroup(g.Last)
	return nil
}

// apply gives one group's effects to state and index, in one batch. An error
// means that index and log no longer agree: the index is given up.
func (e *Engine) apply(b *meta.Batch, g *log.Group, place *meta.Group, records []meta.Record, prev func(uint64, string) (*meta.Version, error)) error {
	b.Reset()
	e.learn(b, g.Segment)
	err := e.state.Apply(b, place, records, prev)
	if err == nil {
		b.Set(meta.StampKey, binary.BigEndian.AppendUint64(nil, uint64(records[len(records)-1].Time)))
		err = e.index.Apply(b, meta.Position{Seq: g.Last, Hash: g.Hash, Segment: g.Segment.ID})
	}
	if err != nil {
		e.indexFailed(err)
		return &both{ErrIndexFailed, err}
	}
	e.applied.Store(g.Last)
	return nil
}

// learn records a log segment's descriptor with the first group that it holds.
func (e *Engine) learn(b *meta.Batch, d *segment.Descriptor) {
	if _, known := e.state.Segment(d.ID); !known {
		e.state.Describe(b, d.ID, d.Append(nil))
	}
}

// placement is the index's entry for a group.
func placement(g *log.Group) *meta.Group {
	p := &meta.Group{
		First: g.First, Last: g.Last, Hash: g.Hash, Segment: g.Segment.ID,
		Data: g.Data, Parity: g.Parity, Payload: g.Payload, Blocks: make([]meta.Block, len(g.Blocks)),
	}
	for i, b := range g.Blocks {
		p.Blocks[i] = meta.Block{Shard: uint16(b.Shard), Offset: b.Offset, Length: b.Length, Start: b.Start, Part: b.Part}
	}
	return p
}

// decodeRecords reads the records of a group.
func decodeRecords(b []byte) ([]meta.Record, error) {
	var records []meta.Record
	for len(b) > 0 {
		r, n, err := meta.DecodeRecord(b)
		if err != nil {
			return nil, err
		}
		records = append(records, r)
		b = b[n:]
	}
	return records, nil
}

func timeOf(ns int64) time.Time { return time.Unix(0, ns).UTC() }
