package meta

import (
	"fmt"
	"slices"

	"github.com/cairnstore/cairn/erasure"
)

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
	k := a.bucketSlab.take()
	*k = Bucket{ID: seq, Name: r.Name, Created: r.Time, Revision: seq}
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

// bucket returns the bucket with the given id, to be changed.
func (a *applier) bucket(id uint64) (*Bucket, error) {
	k, ok := a.buckets[id]
	if !ok {
		var found Bucket
		if found, ok = a.s.buckets[id]; ok {
			k = a.bucketSlab.take()
			*k = found
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
