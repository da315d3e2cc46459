package meta

import (
	"fmt"
	"maps"
	"slices"

	"github.com/cairnstore/cairn/erasure"
)

// Apply appends to b all that the records of group g do to the index, and does
// to s what they do to the state. Record i has the sequence g.First+i. prev
// returns the version of a key that is current before the group, whole with its
// metadata, nil or ErrNoEntry if there is none; it is called at most once per
// key, and the version that it returns is only read.
//
// The effects depend on the records, g and what was before them, and on nothing
// else. Records that cannot follow are ErrApply, naming the first such record;
// then, and when prev fails, b and s are as they were.
func (s *State) Apply(b *Batch, g *Group, recs []Record, prev func(bucket uint64, key string) (*Version, error)) error {
	if len(recs) == 0 {
		return nil // a group that only opens a segment leaves no entry
	}
	if g.Last-g.First != uint64(len(recs))-1 {
		return fmt.Errorf("%w: group %d to %d has %d records", ErrApply, g.First, g.Last, len(recs))
	}
	if err := g.check(); err != nil {
		return fmt.Errorf("%w: group %d: %w", ErrApply, g.First, err)
	}
	a := &s.applier
	a.s, a.b, a.g, a.prev = s, b, g, prev
	defer a.reset()
	mark := b.mark()
	for i := range recs {
		if err := a.record(&recs[i], g.First+uint64(i)); err != nil {
			b.rollback(mark)
			return fmt.Errorf("record %d (%s): %w", g.First+uint64(i), recs[i].Kind, err)
		}
	}
	a.finish()
	return nil
}

// applier holds what the records of one group have changed so far, above a
// state that stays as it is until all of them went through.
type applier struct {
	s    *State
	b    *Batch
	g    *Group
	prev func(bucket uint64, key string) (*Version, error)

	buckets  map[uint64]*Bucket // nil values are deleted buckets
	names    map[string]uint64  // 0 is deleted
	segments map[erasure.SegmentID][]byte
	heads    map[headKey]*Version // nil values are keys without a version

	// Memory that serves one group after the other.
	key, value  []byte
	ids         []uint64
	bucketSlab  slab[Bucket]
	versionSlab slab[Version]
}

type headKey struct {
	bucket uint64
	key    string
}

func (a *applier) record(r *Record, seq uint64) error {
	switch r.Kind {
	case KindPut:
		return a.put(r, seq)
	case KindDelete:
		return a.delete(r)
	case KindCreateBucket:
		return a.createBucket(r, seq)
	case KindDeleteBucket:
		return a.deleteBucket(r)
	case KindSegment:
		return a.segment(r)
	case KindTags:
		return a.tags(r)
	case KindSettings:
		return a.settings(r, seq)
	case KindDeletePrefix:
		return fmt.Errorf("%w: its effects are for ApplyLarge", ErrApply)
	default:
		return fmt.Errorf("%w: unknown kind", ErrApply)
	}
}

// finish appends the group's own entry and the usage of the buckets touched,
// and takes the changes over into the state. Nothing can fail any more.
func (a *applier) finish() {
	a.key = AppendGroupKey(a.key[:0], a.g.First)
	a.value = a.g.Append(a.value[:0])
	a.b.Set(a.key, a.value)

	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	a.ids = slices.AppendSeq(a.ids[:0], maps.Keys(a.buckets))
	slices.Sort(a.ids) // what is appended does not depend on the order of a map
	for _, id := range a.ids {
		a.key = AppendUsageKey(a.key[:0], id)
		if k := a.buckets[id]; k != nil {
			a.value = k.Usage.append(a.value[:0])
			a.b.Set(a.key, a.value)
			a.s.buckets[id] = *k
		} else {
			a.b.Delete(a.key)
			delete(a.s.buckets, id)
		}
	}
	for name, id := range a.names {
		if id != 0 {
			a.s.names[name] = id
		} else {
			delete(a.s.names, name)
		}
	}
	for id, descriptor := range a.segments {
		a.s.segments[id] = descriptor
	}
}

// reset lets go of the group and keeps a little memory for the next.
func (a *applier) reset() {
	const kept = 64 // clearing a map takes as long as it ever was large
	if len(a.buckets) <= kept {
		clear(a.buckets)
	} else {
		a.buckets = nil
	}
	if len(a.heads) <= kept {
		clear(a.heads)
	} else {
		a.heads = nil
	}
	if cap(a.value) > 1<<16 { // an object of many extents or much metadata
		a.value = nil
	}
	a.bucketSlab.reset()
	a.versionSlab.reset()
	*a = applier{
		buckets: a.buckets, heads: a.heads, key: a.key[:0], value: a.value[:0], ids: a.ids[:0],
		bucketSlab: a.bucketSlab, versionSlab: a.versionSlab,
	}
}

// slab hands out zero values, the first of them again and again.
type slab[T any] struct {
	first []T
	free  []T
	taken int
}

func (s *slab[T]) take() *T {
	if len(s.free) == 0 {
		s.free = make([]T, 32)
		if s.first == nil {
			s.first = s.free
		}
	}
	p := &s.free[0]
	s.free = s.free[1:]
	s.taken++
	return p
}

// reset makes all that was handed out invalid.
func (s *slab[T]) reset() {
	clear(s.first[:min(s.taken, len(s.first))])
	s.free, s.taken = s.first, 0
}
