package meta

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cairnstore/cairn/versioning"
)

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
	v := a.versionSlab.take()
	if err := v.of(a.g, r, seq); err != nil {
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
	v := new(Version)
	return v, v.of(g, r, seq)
}

func (v *Version) of(g *Group, r *Record, seq uint64) error {
	*v = Version{ID: versioning.ID{Epoch: r.Epoch, Sequence: seq}, Modified: r.Time, Object: *r.Object}
	return v.place(g)
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
