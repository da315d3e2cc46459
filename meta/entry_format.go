package meta

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// Versions of the small entries. Each begins with one and ends in room for
// tagged fields.
const (
	bucketVersion   = 1
	usageVersion    = 1
	segmentVersion  = 1
	positionVersion = 1
	pendingVersion  = 1
	// indexVersion is that of the index as a whole: which entries stand for
	// what. It is in the format entry and in the marker file.
	indexVersion = 2
)

// Bucket is a bucket and what is in it.
type Bucket struct {
	ID      uint64 // the sequence of its creation
	Name    string
	Created int64 // Unix nanoseconds
	Usage   Usage
	// Settings is the block that the last KindSettings gave it, opaque here;
	// nil at first. It must not be changed.
	Settings []byte
	// Revision is the sequence of the record that last changed the settings,
	// the creation included.
	Revision uint64
}

// Usage is what a bucket holds: its current versions and their bytes.
type Usage struct {
	Objects int64
	Bytes   int64
}

func (k *Bucket) append(b []byte) []byte {
	b = append(b, bucketVersion)
	b = binary.BigEndian.AppendUint64(b, uint64(k.Created))
	b = appendString(b, k.Name)
	b = binary.AppendUvarint(b, k.Revision)
	return appendBytes(b, k.Settings)
}

func decodeBucket(k *Bucket, b []byte) error {
	d := decoder{b: b}
	if err := d.leading("bucket entry", bucketVersion); err != nil {
		return err
	}
	k.Created = int64(d.uint64())
	k.Name = d.string()
	if CheckBucketName(k.Name) != nil {
		d.fail()
	}
	k.Revision = d.uvarint()
	k.Settings = slices.Clone(d.bytes())
	if len(k.Settings) > MaxSettings {
		d.fail()
	}
	return d.endValue("bucket", b)
}

func (u Usage) append(b []byte) []byte {
	b = append(b, usageVersion)
	b = binary.AppendUvarint(b, uint64(u.Objects))
	return binary.AppendUvarint(b, uint64(u.Bytes))
}

func decodeUsage(u *Usage, b []byte) error {
	d := decoder{b: b}
	if err := d.leading("usage entry", usageVersion); err != nil {
		return err
	}
	u.Objects = d.positive()
	u.Bytes = d.positive()
	return d.endValue("usage", b)
}

func appendSegmentEntry(b, descriptor []byte) []byte {
	return appendBytes(append(b, segmentVersion), descriptor)
}

// decodeSegmentEntry returns a descriptor that aliases b.
func decodeSegmentEntry(b []byte) ([]byte, error) {
	d := decoder{b: b}
	if err := d.leading("segment entry", segmentVersion); err != nil {
		return nil, err
	}
	descriptor := d.bytes()
	if len(descriptor) > MaxDescriptor {
		d.fail()
	}
	return descriptor, d.endValue("segment", b)
}

func (p Position) append(b []byte) []byte {
	b = append(b, positionVersion)
	b = binary.BigEndian.AppendUint64(b, p.Seq)
	b = append(b, p.Hash[:]...)
	return p.Segment.Append(b)
}

func decodePosition(p *Position, b []byte) error {
	d := decoder{b: b}
	if err := d.leading("position entry", positionVersion); err != nil {
		return err
	}
	p.Seq = d.uint64()
	copy(p.Hash[:], d.take(len(p.Hash)))
	p.Segment = d.segment()
	return d.endValue("position", b)
}

// pending says which large transaction has come into the index in part.
type pending struct {
	Seq  uint64   // of its record
	Hash [32]byte // chain hash after its group
}

func (p pending) append(b []byte) []byte {
	b = append(b, pendingVersion)
	b = binary.BigEndian.AppendUint64(b, p.Seq)
	return append(b, p.Hash[:]...)
}

func decodePending(p *pending, b []byte) error {
	d := decoder{b: b}
	if err := d.leading("pending entry", pendingVersion); err != nil {
		return err
	}
	p.Seq = d.uint64()
	copy(p.Hash[:], d.take(len(p.Hash)))
	return d.endValue("pending", b)
}

// leading reads the leading version byte.
func (d *decoder) leading(what string, want byte) error {
	if v := d.byte(); v != want && !d.bad {
		return &FormatError{What: what, Have: uint64(v), Want: uint64(want)}
	}
	return nil
}

// endValue checks that tagged fields, which no version has yet, are all that is
// left. Small entries do not keep them: each is written by the records of
// today, never carried over.
func (d *decoder) endValue(what string, b []byte) error {
	if d.tagged(); d.bad {
		return fmt.Errorf("%w: %s of %d bytes", ErrEntry, what, len(b))
	}
	return nil
}
