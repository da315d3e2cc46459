package meta

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"unicode/utf8"

	"github.com/cairnstore/cairn/erasure"
	"github.com/cairnstore/cairn/versioning"
)

// The first byte of an index key is its space. Numbers are big-endian, so that
// the order of keys is the order of what they name.
const (
	spaceMeta    = 0x01
	spaceBucket  = 0x02
	spaceUsage   = 0x03
	spaceHead    = 0x10
	spaceVersion = 0x11
	spaceGroup   = 0x20
	spaceSegment = 0x21
	spaceRef     = 0x22
)

// Entries of the meta space: position and format are written by the index
// itself, with each batch.
var (
	positionKey = []byte("\x01pos")
	formatKey   = []byte("\x01format")
	pendingKey  = []byte("\x01pending")
)

// StampKey is the key of the time of the last commit: Unix nanoseconds, 8 bytes
// big-endian. Whoever applies a group sets it in the same batch.
var StampKey = []byte("\x01stamp")

// AppendBucketKey appends the key of a bucket's entry to b.
func AppendBucketKey(b []byte, bucket uint64) []byte {
	return binary.BigEndian.AppendUint64(append(b, spaceBucket), bucket)
}

// AppendUsageKey appends the key of a bucket's usage to b.
func AppendUsageKey(b []byte, bucket uint64) []byte {
	return binary.BigEndian.AppendUint64(append(b, spaceUsage), bucket)
}

// headKeyStart is where the object key begins in a head's key.
const headKeyStart = 9

// AppendHeadKey appends the key of the current version of key to b. Object keys
// stand in it as they are, so heads of a bucket sort as S3 lists them.
func AppendHeadKey(b []byte, bucket uint64, key string) []byte {
	b = binary.BigEndian.AppendUint64(append(b, spaceHead), bucket)
	return append(b, key...)
}

// AppendVersionKey appends the key of a version that is not current to b. Those
// of one object key stand together, the newest first.
func AppendVersionKey(b []byte, bucket uint64, key string, id versioning.ID) []byte {
	b = binary.BigEndian.AppendUint64(append(b, spaceVersion), bucket)
	b = appendEscaped(b, key)
	b = binary.BigEndian.AppendUint64(b, ^id.Sequence)
	return binary.BigEndian.AppendUint64(b, ^id.Epoch)
}

// AppendGroupKey appends the key of the group with the first sequence first to b.
func AppendGroupKey(b []byte, first uint64) []byte {
	return binary.BigEndian.AppendUint64(append(b, spaceGroup), first)
}

// AppendSegmentKey appends the key of a payload segment to b.
func AppendSegmentKey(b []byte, id erasure.SegmentID) []byte {
	return id.Append(append(b, spaceSegment))
}

// Ref is one use of a range of a segment by a version. For a payload segment
// Unit is 0 and Offset the extent's; for a log segment Unit is the first
// sequence of a group and Offset a place in that group's payload.
type Ref struct {
	Segment erasure.SegmentID
	Unit    uint64
	Offset  int64
	Bucket  uint64
	Key     string
	Version versioning.ID
}

// Append appends the key of r to b. References sort by what they refer to.
func (r *Ref) Append(b []byte) []byte {
	b = r.Segment.Append(append(b, spaceRef))
	b = binary.BigEndian.AppendUint64(b, r.Unit)
	b = binary.BigEndian.AppendUint64(b, uint64(r.Offset))
	b = binary.BigEndian.AppendUint64(b, r.Bucket)
	b = appendEscaped(b, r.Key)
	b = binary.BigEndian.AppendUint64(b, r.Version.Sequence)
	return binary.BigEndian.AppendUint64(b, r.Version.Epoch)
}

// DecodeBucketKey reads what AppendBucketKey wrote; else ErrEntry.
func DecodeBucketKey(b []byte) (bucket uint64, err error) { return decodeNumberKey(b, spaceBucket) }

// DecodeUsageKey reads what AppendUsageKey wrote; else ErrEntry.
func DecodeUsageKey(b []byte) (bucket uint64, err error) { return decodeNumberKey(b, spaceUsage) }

// DecodeGroupKey reads what AppendGroupKey wrote; else ErrEntry.
func DecodeGroupKey(b []byte) (first uint64, err error) { return decodeNumberKey(b, spaceGroup) }

func decodeNumberKey(b []byte, space byte) (uint64, error) {
	d := decoder{b: b}
	d.space(space)
	n := d.uint64()
	return n, d.endKey(b)
}

// DecodeHeadKey reads what AppendHeadKey wrote; else ErrEntry.
func DecodeHeadKey(b []byte) (bucket uint64, key string, err error) {
	d := decoder{b: b}
	d.space(spaceHead)
	bucket = d.uint64()
	key = string(d.b)
	if CheckKey(key) != nil {
		d.fail()
	}
	d.b = nil
	return bucket, key, d.endKey(b)
}

// headKeyIn returns the object key in the key of a head in bucket, aliasing b;
// ErrEntry if it is none.
func headKeyIn(b []byte, bucket uint64) (key []byte, err error) {
	if len(b) > headKeyStart && len(b) <= headKeyStart+MaxKey && b[0] == spaceHead && binary.BigEndian.Uint64(b[1:]) == bucket {
		if key := b[headKeyStart:]; utf8.Valid(key) {
			return key, nil
		}
	}
	return nil, fmt.Errorf("%w: key %.80x is no head in bucket %d", ErrEntry, b, bucket)
}

// DecodeVersionKey reads what AppendVersionKey wrote; else ErrEntry.
func DecodeVersionKey(b []byte) (bucket uint64, key string, id versioning.ID, err error) {
	d := decoder{b: b}
	d.space(spaceVersion)
	bucket = d.uint64()
	key = d.escaped()
	id.Sequence = ^d.uint64()
	id.Epoch = ^d.uint64()
	return bucket, key, id, d.endKey(b)
}

// DecodeSegmentKey reads what AppendSegmentKey wrote; else ErrEntry.
func DecodeSegmentKey(b []byte) (id erasure.SegmentID, err error) {
	d := decoder{b: b}
	d.space(spaceSegment)
	id = d.segment()
	return id, d.endKey(b)
}

// DecodeRef reads what Ref.Append wrote; else ErrEntry.
func DecodeRef(b []byte) (Ref, error) {
	d := decoder{b: b}
	d.space(spaceRef)
	r := Ref{Segment: d.segment(), Unit: d.uint64()}
	off := d.uint64()
	if off > 1<<63-1 {
		d.fail()
	}
	r.Offset = int64(off)
	r.Bucket = d.uint64()
	r.Key = d.escaped()
	r.Version.Sequence = d.uint64()
	r.Version.Epoch = d.uint64()
	return r, d.endKey(b)
}

func (d *decoder) space(want byte) {
	if d.byte() != want {
		d.fail()
	}
}

func (d *decoder) segment() (id erasure.SegmentID) {
	if p := d.take(erasure.SegmentIDSize); p != nil {
		id = erasure.DecodeSegmentID(p)
	}
	return id
}

// endKey returns an error if anything went wrong or is left over.
func (d *decoder) endKey(b []byte) error {
	if d.bad || len(d.b) > 0 {
		return fmt.Errorf("%w: key %.80x", ErrEntry, b)
	}
	return nil
}

// appendEscaped appends key so that what follows it does not disturb the order:
// a zero byte becomes 00 FF, the end is 00 01.
func appendEscaped(b []byte, key string) []byte {
	for i := range len(key) {
		if b = append(b, key[i]); key[i] == 0 {
			b = append(b, 0xff)
		}
	}
	return append(b, 0, 1)
}

// escaped reads what appendEscaped wrote. It must be an object key.
func (d *decoder) escaped() string {
	var key []byte
	for {
		i := bytes.IndexByte(d.b, 0)
		if i < 0 || i+1 >= len(d.b) {
			d.fail()
			return ""
		}
		end := d.b[i+1] == 1
		if !end && d.b[i+1] != 0xff {
			d.fail()
			return ""
		}
		key = append(key, d.b[:i]...)
		d.b = d.b[i+2:]
		if end {
			break
		}
		key = append(key, 0)
	}
	if CheckKey(string(key)) != nil {
		d.fail()
		return ""
	}
	return string(key)
}

// successor returns the least key above all that begin with prefix, nil if
// there is none. It may share prefix's array.
func successor(prefix []byte) []byte {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] < 0xff {
			prefix[i]++
			return prefix[:i+1]
		}
	}
	return nil
}
