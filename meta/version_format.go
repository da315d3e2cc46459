package meta

import (
	"encoding/binary"
	"fmt"

	"github.com/cairnstore/cairn/erasure"
	"github.com/cairnstore/cairn/versioning"
)

const versionVersion = 1

// Version is one state of a key: the value of its head entry, or of its entry
// among the versions that are no longer current.
type Version struct {
	ID       versioning.ID
	Modified int64  // commit time, Unix nanoseconds
	EndSeq   uint64 // sequence of the commit that ended it; 0 while current
	EndTime  int64  // time of that commit; 0 while current
	Object

	// The place of a packed object's bytes, resolved from its group so that a
	// read needs no second lookup: Size bytes from FileOffset of shard Shard of
	// the log segment Segment. Group is the first sequence of the group, whose
	// entry has what a reconstruction needs.
	Group      uint64
	Segment    erasure.SegmentID
	Shard      uint16
	FileOffset int64

	// Unknown holds tagged fields of newer writers, kept as they were.
	Unknown []byte
}

// WithTags returns a version that is v with other tags: what KindTags makes of
// it. The two share what they point to.
func (v *Version) WithTags(tags []byte) *Version {
	w := *v
	w.Tags = tags
	if len(tags) == 0 {
		w.Tags = nil
	}
	return &w
}

// Append appends the encoding of v to b.
func (v *Version) Append(b []byte) []byte {
	b = append(b, versionVersion)
	b = binary.AppendUvarint(b, v.ID.Epoch)
	b = binary.AppendUvarint(b, v.ID.Sequence)
	b = binary.BigEndian.AppendUint64(b, uint64(v.Modified))
	b = binary.AppendUvarint(b, v.EndSeq)
	if v.EndSeq != 0 {
		b = binary.BigEndian.AppendUint64(b, uint64(v.EndTime))
	}
	b = v.Object.append(b)
	if v.Packed {
		b = binary.AppendUvarint(b, v.Group)
		b = v.Segment.Append(b)
		b = binary.AppendUvarint(b, uint64(v.Shard))
		b = binary.AppendUvarint(b, uint64(v.FileOffset))
	}
	return append(b, v.Unknown...)
}

// DecodeVersion reads what Append wrote. The version's Metadata, Tags and
// Unknown alias b; its strings do not. A newer version of the format is a
// *FormatError, anything else that is wrong wraps ErrEntry.
func DecodeVersion(b []byte) (*Version, error) {
	v := new(Version)
	return v, decodeVersion(v, b)
}

// decodeVersion reads b into v, which must be zero.
func decodeVersion(v *Version, b []byte) error {
	d := decoder{b: b}
	return d.version(v)
}

// version reads a version, all that is left, into v, which must be zero.
func (d *decoder) version(v *Version) error {
	size := len(d.b)
	if err := d.leading("version entry", versionVersion); err != nil {
		return err
	}
	v.ID.Epoch = d.uvarint()
	v.ID.Sequence = d.uvarint()
	v.Modified = int64(d.uint64())
	if v.EndSeq = d.uvarint(); v.EndSeq != 0 {
		v.EndTime = int64(d.uint64())
	}
	d.object(&v.Object)
	if v.Packed {
		v.Group = d.uvarint()
		v.Segment = d.segment()
		v.Shard = uint16(d.below(1<<16 - 1))
		v.FileOffset = d.positive()
	}
	if v.Unknown = d.tagged(); d.skim {
		v.Unknown = nil
	}
	if d.bad {
		return fmt.Errorf("%w: version of %d bytes", ErrEntry, size)
	}
	return nil
}

// smallHead is room for what surrounds a key in its entry's key, and for the
// value of a small object without metadata.
const smallHead = 192

// HeadInto reads the current version of key in bucket into v, without an
// allocation of its own if scratch has room for key and value. What v was is
// gone; else it is as HeadOf.
func HeadInto(r Reader, bucket uint64, key string, scratch []byte, v *Version) error {
	k := AppendHeadKey(scratch[:0], bucket, key)
	value, err := r.Get(k, k[len(k):])
	if err != nil {
		return err
	}
	*v = Version{}
	return decodeVersion(v, value)
}

// HeadOf returns the current version of key in bucket, ErrNoEntry if it has
// none. It costs one lookup. Key and value are built in scratch, which the
// version's Metadata, Tags and Unknown may alias: it belongs to the version
// until the caller is done with it. nil scratch is allowed.
func HeadOf(r Reader, bucket uint64, key string, scratch []byte) (*Version, error) {
	if scratch == nil {
		scratch = make([]byte, 0, len(key)+smallHead)
	}
	v := new(Version)
	if err := HeadInto(r, bucket, key, scratch, v); err != nil {
		return nil, err
	}
	return v, nil
}
