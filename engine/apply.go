package engine

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/cairnstore/cairn/internal/log"
	"github.com/cairnstore/cairn/internal/segment"
	"github.com/cairnstore/cairn/meta"
)

// applyAll puts durable groups into state and index, in order, and answers
// their callers.
func (e *Engine) applyAll(groups <-chan *appended, free chan<- *appended) {
	batch := meta.NewBatch()
	first := map[headKey]*request{} // of those of the group for one key
	for a := range groups {
		if a.group == nil { // nothing but refusals
			e.refuse(a.refused, nil)
			a.reset()
			free <- a
			continue
		}
		for _, r := range a.requests {
			if _, twice := first[r.key()]; !twice {
				first[r.key()] = r
			}
		}
		prev := func(bucket uint64, key string) (*meta.Version, error) {
			return first[headKey{bucket, key}].replaced, nil
		}
		// After an error the group is durable and will be applied by the next
		// open; to those who ask now the outcome cannot be shown.
		deleted, err := e.apply(batch, a.group, a.place, a.records, prev)
		a.requests[0].deleted = deleted
		if err == nil {
			e.metrics.count(a.requests)
		}
		e.answer(a.requests, err)
		e.refuse(a.refused, err)
		clear(first)
		a.reset() // an idle store holds nothing of its callers'
		free <- a
	}
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
	return e.state.ApplyLarge(e.index, b, g, r, at, meta.Large{
		Chunk: e.opts.chunk,
		Hide: func() (err error) {
			if before, err = e.index.Snapshot(); err == nil {
				e.hide(before)
			}
			return err
		},
		Final: mark,
	})
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
