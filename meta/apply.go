package meta

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/cairnstore/cairn/erasure"
	"github.com/cairnstore/cairn/versioning"
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
	a := applier{s: s, b: b, g: g, prev: prev}
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

	key, value []byte // scratch
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

func (a *applier) put(r *Record, seq uint64) error {
	k, err := a.bucket(r.Bucket)
	if err != nil {
		return err
	}
	if r.Object == nil {
		return fmt.Errorf("%w: no object", ErrApply)
	}
	if err := CheckKey(r.Key); err != nil {
		return fmt.Errorf("%w: %w", ErrApply, err)
	}
	v, err := VersionOf(a.g, r, seq)
	if err != nil {
		return err
	}
	if err := a.known(v); err != nil {
		return err
	}
	if err := a.drop(k, r.Key); err != nil {
		return err
	}
	k.Usage.Objects++
	k.Usage.Bytes += v.Size
	a.heads[headKey{r.Bucket, r.Key}] = v
	a.key = AppendHeadKey(a.key[:0], r.Bucket, r.Key)
	a.value = v.Append(a.value[:0])
	a.b.Set(a.key, a.value)
	a.eachRef(r.Bucket, r.Key, v, func(key []byte, length int64) {
		a.value = binary.AppendUvarint(a.value[:0], uint64(length))
		a.b.Set(key, a.value)
	})
	return nil
}

// VersionOf returns the version that a put with sequence seq in group g makes.
// It checks that the object's bytes can be where it says (ErrApply), and
// resolves the place of a packed one. The version shares the record's object.
func VersionOf(g *Group, r *Record, seq uint64) (*Version, error) {
	v := &Version{ID: versioning.ID{Epoch: r.Epoch, Sequence: seq}, Modified: r.Time, Object: *r.Object}
	return v, v.place(g)
}

// known checks that the segments of v's extents are known.
func (a *applier) known(v *Version) error {
	for _, e := range v.Extents {
		if !a.knows(e.Segment) {
			return fmt.Errorf("%w: extent in the unknown segment %s", ErrApply, e.Segment)
		}
	}
	return nil
}

func (v *Version) place(g *Group) error {
	var sum int64
	for _, e := range v.Extents {
		if err := e.Validate(); err != nil {
			return fmt.Errorf("%w: %w", ErrApply, err)
		}
		if sum > v.Size-e.Length {
			return fmt.Errorf("%w: extents of more than %d bytes", ErrApply, v.Size)
		}
		sum += e.Length
	}
	switch {
	case v.Packed && (len(v.Extents) > 0 || v.Size < 1):
		return fmt.Errorf("%w: a packed object of %d bytes and %d extents", ErrApply, v.Size, len(v.Extents))
	case !v.Packed && sum != v.Size:
		return fmt.Errorf("%w: extents of %d bytes for an object of %d", ErrApply, sum, v.Size)
	case !v.Packed:
		return nil
	}
	block, off, ok := g.Locate(int64(v.Offset), v.Size)
	if !ok {
		return fmt.Errorf("%w: %d bytes at %d are in no block of a payload of %d", ErrApply, v.Size, v.Offset, g.Payload)
	}
	v.Group, v.Segment = g.First, g.Segment
	v.Shard, v.FileOffset = g.Blocks[block].Shard, off
	return nil
}

func (a *applier) delete(r *Record) error {
	k, err := a.bucket(r.Bucket)
	if err != nil {
		return err
	}
	if err := CheckKey(r.Key); err != nil {
		return fmt.Errorf("%w: %w", ErrApply, err)
	}
	return a.drop(k, r.Key)
}

// current returns the version of key that is current before the record at hand,
// nil if there is none.
func (a *applier) current(at headKey) (*Version, error) {
	v, ok := a.heads[at]
	if ok {
		return v, nil
	}
	v, err := a.prev(at.bucket, at.key)
	if errors.Is(err, ErrNoEntry) {
		v, err = nil, nil
	}
	if err != nil {
		return nil, err
	}
	if a.heads == nil {
		a.heads = map[headKey]*Version{}
	}
	a.heads[at] = v
	return v, nil
}

// drop removes the current version of key, if there is one, with its references.
func (a *applier) drop(k *Bucket, key string) error {
	at := headKey{k.ID, key}
	old, err := a.current(at)
	if err != nil {
		return err
	}
	a.heads[at] = nil
	if old == nil {
		return nil
	}
	if err := k.lose(old.Size); err != nil {
		return err
	}
	a.key = AppendHeadKey(a.key[:0], k.ID, key)
	a.b.Delete(a.key)
	a.eachRef(k.ID, key, old, func(ref []byte, _ int64) { a.b.Delete(ref) })
	return nil
}

// lose takes one object off the bucket's usage.
func (k *Bucket) lose(size int64) error {
	if k.Usage.Objects < 1 || k.Usage.Bytes < size {
		return fmt.Errorf("%w: bucket %d holds %d objects of %d bytes and loses one of %d",
			ErrApply, k.ID, k.Usage.Objects, k.Usage.Bytes, size)
	}
	k.Usage.Objects--
	k.Usage.Bytes -= size
	return nil
}

// tags replaces the tags of the current version. Everything else of it, its id
// and time included, stays.
func (a *applier) tags(r *Record) error {
	if _, err := a.bucket(r.Bucket); err != nil {
		return err
	}
	if err := CheckKey(r.Key); err != nil {
		return fmt.Errorf("%w: %w", ErrApply, err)
	}
	if err := checkTags(r.Tags); err != nil {
		return fmt.Errorf("%w: %w", ErrApply, err)
	}
	at := headKey{r.Bucket, r.Key}
	old, err := a.current(at)
	if err != nil {
		return err
	}
	if old == nil {
		return fmt.Errorf("%w: tags for %s of a key without a version", ErrApply, r.Version)
	}
	if old.ID != r.Version {
		return fmt.Errorf("%w: tags for %s, the current version is %s", ErrApply, r.Version, old.ID)
	}
	v := old.WithTags(r.Tags)
	a.heads[at] = v
	a.key = AppendHeadKey(a.key[:0], r.Bucket, r.Key)
	a.value = v.Append(a.value[:0])
	a.b.Set(a.key, a.value)
	return nil
}

func (a *applier) eachRef(bucket uint64, key string, v *Version, f func(key []byte, length int64)) {
	a.key = v.eachRef(a.key, bucket, key, f)
}

// eachRef calls f with the key and the length of each reference that v makes as
// a version of key. The keys are built in scratch, which is returned, and valid
// within the call.
func (v *Version) eachRef(scratch []byte, bucket uint64, key string, f func(key []byte, length int64)) []byte {
	ref := Ref{Bucket: bucket, Key: key, Version: v.ID}
	if v.Packed {
		ref.Segment, ref.Unit, ref.Offset = v.Segment, v.Group, int64(v.Offset)
		scratch = ref.Append(scratch[:0])
		f(scratch, v.Size)
	}
	for _, e := range v.Extents {
		ref.Segment, ref.Unit, ref.Offset = e.Segment, 0, e.Offset
		scratch = ref.Append(scratch[:0])
		f(scratch, e.Length)
	}
	return scratch
}

func (a *applier) createBucket(r *Record, seq uint64) error {
	if err := CheckBucketName(r.Name); err != nil {
		return fmt.Errorf("%w: %w", ErrApply, err)
	}
	if r.Bucket != 0 && r.Bucket != seq {
		return fmt.Errorf("%w: bucket %s with the id %d", ErrApply, r.Name, r.Bucket)
	}
	if seq == 0 {
		return fmt.Errorf("%w: bucket %s at sequence 0", ErrApply, r.Name)
	}
	id, changed := a.names[r.Name]
	if !changed {
		id = a.s.names[r.Name]
	}
	if id != 0 {
		return fmt.Errorf("%w: the name %s is bucket %d's", ErrApply, r.Name, id)
	}
	k := &Bucket{ID: seq, Name: r.Name, Created: r.Time, Revision: seq}
	a.setBucket(k.ID, k.Name, k)
	a.b.Set(AppendBucketKey(nil, k.ID), k.append(nil))
	return nil
}

func (a *applier) settings(r *Record, seq uint64) error {
	k, err := a.bucket(r.Bucket)
	if err != nil {
		return err
	}
	if len(r.Settings) > MaxSettings {
		return fmt.Errorf("%w: settings of %d bytes", ErrApply, len(r.Settings))
	}
	// The record's bytes belong to whoever decoded it.
	k.Settings, k.Revision = slices.Clone(r.Settings), seq
	a.b.Set(AppendBucketKey(nil, k.ID), k.append(nil))
	return nil
}

func (a *applier) deleteBucket(r *Record) error {
	k, err := a.bucket(r.Bucket)
	if err != nil {
		return err
	}
	if k.Usage != (Usage{}) {
		return fmt.Errorf("%w: bucket %s holds %d objects", ErrApply, k.Name, k.Usage.Objects)
	}
	a.setBucket(k.ID, k.Name, nil)
	a.b.Delete(AppendBucketKey(nil, k.ID))
	return nil
}

func (a *applier) setBucket(id uint64, name string, k *Bucket) {
	if a.buckets == nil {
		a.buckets = map[uint64]*Bucket{}
	}
	if a.names == nil {
		a.names = map[string]uint64{}
	}
	a.buckets[id] = k
	if a.names[name] = 0; k != nil {
		a.names[name] = id
	}
}

// bucket returns the bucket with the given id, to be changed.
func (a *applier) bucket(id uint64) (*Bucket, error) {
	k, ok := a.buckets[id]
	if !ok {
		var found Bucket
		if found, ok = a.s.buckets[id]; ok {
			k = &found
			if a.buckets == nil {
				a.buckets = map[uint64]*Bucket{}
			}
			a.buckets[id] = k
		}
	}
	if k == nil {
		return nil, fmt.Errorf("%w: bucket %d does not exist", ErrApply, id)
	}
	return k, nil
}

func (a *applier) segment(r *Record) error {
	if r.Segment.IsZero() || len(r.Descriptor) > MaxDescriptor {
		return fmt.Errorf("%w: segment %s with a descriptor of %d bytes", ErrApply, r.Segment, len(r.Descriptor))
	}
	if a.segments == nil {
		a.segments = map[erasure.SegmentID][]byte{}
	}
	// The record's bytes belong to whoever decoded it. A segment may be
	// described again: the last descriptor holds.
	a.segments[r.Segment] = slices.Clone(r.Descriptor)
	a.b.Set(AppendSegmentKey(nil, r.Segment), appendSegmentEntry(nil, r.Descriptor))
	return nil
}

func (a *applier) knows(id erasure.SegmentID) bool {
	if _, ok := a.segments[id]; ok {
		return true
	}
	_, ok := a.s.segments[id]
	return ok
}

// finish appends the group's own entry and the usage of the buckets touched,
// and takes the changes over into the state. Nothing can fail any more.
func (a *applier) finish() {
	a.key = AppendGroupKey(a.key[:0], a.g.First)
	a.value = a.g.Append(a.value[:0])
	a.b.Set(a.key, a.value)

	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	for _, id := range sortedIDs(a.buckets) {
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
