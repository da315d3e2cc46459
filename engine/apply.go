package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cairnstore/cairn/internal/log"
	"github.com/cairnstore/cairn/internal/segment"
	"github.com/cairnstore/cairn/meta"
)

// applyAll puts groups into state and index, in order, when they are durable, and
// answers their callers.
func (e *Engine) applyAll(groups <-chan *appended, free chan<- *appended) {
	batch := meta.NewBatch()
	for a := range groups {
		// The index is now as it was before this group.
		a.before.look(e.index, a.requests)
		<-a.ended
		err := a.err
		if a.group != nil {
			// After an error the group is durable and will be applied by the next
			// open; to those who ask now the outcome cannot be shown.
			a.requests[0].deleted, err = e.apply(batch, a.group, a.place, a.records, a.before.at)
		}
		if a.group != nil && err == nil {
			a.before.replaced(a.requests)
			e.metrics.count(a.requests)
		}
		for _, r := range a.requests {
			r.group = a.group
		}
		e.answer(a.requests, err)
		e.refuse(a.refused, err)
		a.reset()
		free <- a
	}
}

// before is the current versions of a group's keys before the group.
type before struct {
	versions map[headKey]*meta.Version // nil: none
	err      error
	slots    []*slot // reused
}

// slot is the memory of one version.
type slot struct {
	version meta.Version
	scratch [256]byte
}

// look looks up the keys of the requests.
func (b *before) look(r meta.Reader, requests []*request) {
	if b.versions == nil {
		b.versions = map[headKey]*meta.Version{}
	}
	whole := slices.ContainsFunc(requests, func(r *request) bool { return r.record.Kind == meta.KindTags })
	for _, q := range requests {
		k := q.key()
		if _, twice := b.versions[k]; twice || alone(q) {
			continue
		}
		if len(b.versions) == len(b.slots) {
			b.slots = append(b.slots, new(slot))
		}
		s := b.slots[len(b.versions)]
		b.versions[k] = nil
		switch err := meta.HeadInto(r, k.bucket, k.key, s.scratch[:0], &s.version); {
		case err == nil:
			b.versions[k] = &s.version
			if !whole { // only new tags carry them over
				s.version.Metadata, s.version.Tags, s.version.Unknown, s.version.Headers = nil, nil, nil, meta.Headers{}
			}
		case !errors.Is(err, meta.ErrNoEntry):
			b.err = err
			return
		}
	}
}

// at returns the version of a key of the group.
func (b *before) at(bucket uint64, key string) (*meta.Version, error) {
	return b.versions[headKey{bucket, key}], b.err
}

// replaced tells the deletes among the requests what they deleted.
func (b *before) replaced(requests []*request) {
	if !slices.ContainsFunc(requests, func(r *request) bool { return r.record.Kind == meta.KindDelete }) {
		return
	}
	for _, r := range requests {
		switch r.record.Kind {
		case meta.KindPut:
			if v := b.versions[r.key()]; v != nil {
				v.ID = r.id
			} else {
				b.versions[r.key()] = &meta.Version{ID: r.id}
			}
		case meta.KindDelete:
			if v := b.versions[r.key()]; v != nil {
				r.replaced = v.ID
			}
			b.versions[r.key()] = nil
		}
	}
}

func (b *before) reset() {
	for i := range len(b.versions) {
		if i < len(b.slots) {
			b.slots[i].version = meta.Version{}
		}
	}
	clear(b.versions)
	b.err = nil
}

// apply gives one group's effects to state and index, as one. An error means
// that index and log no longer agree: the index is given up.
func (e *Engine) apply(b *meta.Batch, g *log.Group, place *meta.Group, records []meta.Record, prev func(uint64, string) (*meta.Version, error)) (meta.Deleted, error) {
	if gone := e.indexGone.Load(); gone != nil {
		return meta.Deleted{}, *gone
	}
	b.Reset()
	at := meta.Position{Seq: g.Last, Hash: g.Hash, Segment: g.Segment.ID}
	mark := func(b *meta.Batch) {
		e.learn(b, g.Segment)
		b.Set(meta.StampKey, binary.BigEndian.AppendUint64(nil, uint64(records[len(records)-1].Time)))
	}
	var deleted meta.Deleted
	var err error
	if records[0].Kind == meta.KindDeletePrefix {
		deleted, err = e.applyLarge(b, place, &records[0], at, mark)
	} else {
		mark(b)
		if err = e.state.Apply(b, place, records, prev); err == nil {
			err = e.index.Apply(b, at)
		}
	}
	if err != nil {
		e.indexFailed(err)
		return deleted, &both{ErrIndexFailed, err}
	}
	e.applied.Store(g.Last)
	return deleted, nil
}

// applyLarge applies a transaction that may take several batches. Readers see
// the index from before until the last one.
func (e *Engine) applyLarge(b *meta.Batch, g *meta.Group, r *meta.Record, at meta.Position, mark func(*meta.Batch)) (meta.Deleted, error) {
	var before meta.Snapshot
	defer func() {
		if before != nil {
			e.show()
			_ = before.Close() // it was only read
		}
	}()
	deleted, err := e.state.ApplyLarge(e.index, b, g, r, at, meta.Large{
		Chunk: e.opts.chunk,
		Hide: func() (err error) {
			if before, err = e.index.Snapshot(); err == nil {
				e.hide(before)
			}
			return err
		},
		Final: mark,
	})
	if err != nil {
		e.indexFailed(err) // before anybody sees a part of it
	}
	return deleted, err
}

// learn records a log segment's descriptor with the first group that it holds.
func (e *Engine) learn(b *meta.Batch, d *segment.Descriptor) {
	if _, known := e.state.Segment(d.ID); !known {
		e.state.Describe(b, d.ID, d.Append(nil))
	}
}

// replay applies one group of the log to state and index.
func (e *Engine) replay(b *meta.Batch, g *log.Group) error {
	records, err := decodeRecords(g.Records)
	if err != nil {
		return fmt.Errorf("group at sequence %d: %w", g.First, err)
	}
	var scratch []byte
	prev := func(bucket uint64, key string) (*meta.Version, error) {
		return meta.HeadOf(e.index, bucket, key, scratch)
	}
	e.metrics.replayed.Add(int64(len(records)))
	if len(records) == 0 {
		return nil
	}
	_, err = e.apply(b, g, placement(g), records, prev)
	return err
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
