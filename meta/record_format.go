package meta

import (
	"encoding/binary"
	"fmt"

	"github.com/cairnstore/cairn/erasure"
	"github.com/cairnstore/cairn/versioning"
)

// Kind says what a record does.
type Kind uint8

// The kinds of records.
const (
	KindPut          Kind = iota + 1 // an object becomes the current version of a key
	KindDelete                       // a key has no current version any more
	KindCreateBucket                 // a bucket exists
	KindDeleteBucket                 // an empty bucket is gone
	KindSegment                      // a payload segment becomes known
	KindTags                         // the current version of a key gets other tags
	KindSettings                     // a bucket gets other settings
	KindDeletePrefix                 // all keys that begin with a prefix lose their current version; alone in its group
	kindEnd
)

// String returns the kind's name.
func (k Kind) String() string {
	switch k {
	case KindPut:
		return "put"
	case KindDelete:
		return "delete"
	case KindCreateBucket:
		return "create bucket"
	case KindDeleteBucket:
		return "delete bucket"
	case KindSegment:
		return "segment"
	case KindTags:
		return "tags"
	case KindSettings:
		return "settings"
	case KindDeletePrefix:
		return "delete prefix"
	default:
		return fmt.Sprintf("kind %d", uint8(k))
	}
}

const (
	recordVersion = 1
	// MaxRecord is the longest record in bytes, its length prefix apart.
	MaxRecord = 4 << 20
	// MaxDescriptor is the longest segment descriptor in bytes.
	MaxDescriptor = 4 << 10
	// MaxSettings is the longest settings block of a bucket in bytes.
	MaxSettings = 1 << 20
)

// Record is one mutation in the log. Its sequence is its place there: record i
// of a group has the group's first sequence plus i.
type Record struct {
	Kind   Kind
	Epoch  uint64  // number of the epoch that committed it
	Time   int64   // commit time, Unix nanoseconds, never decreasing along the log
	Bucket uint64  // bucket id, the sequence of its creation; not in CreateBucket and Segment
	Name   string  // bucket name: CreateBucket
	Key    string  // object key: Put, Delete, Tags
	Prefix string  // 0 to MaxKey bytes of UTF-8: DeletePrefix; empty is the whole bucket
	Object *Object // Put

	Version  versioning.ID // Tags: the id that the current version must have
	Tags     []byte        // Tags: a block of AppendTags; empty leaves none
	Settings []byte        // Settings: at most MaxSettings bytes, opaque here

	Segment    erasure.SegmentID // Segment
	Descriptor []byte            // Segment: at most MaxDescriptor bytes, opaque here

	// Unknown holds tagged fields of newer writers (tag, length, bytes), kept
	// as they were read.
	Unknown []byte
}

// Append appends the encoding of r to b. Fields that r.Kind has no use for are
// left out. A record that breaks a limit still encodes; DecodeRecord refuses it.
func (r *Record) Append(b []byte) []byte {
	// The length in front is not known before the rest is written, so the rest
	// is written first, after room for the longest length, and moved down.
	start := len(b)
	const room = binary.MaxVarintLen32
	b = append(b, make([]byte, room)...)
	b = append(b, recordVersion, byte(r.Kind))
	b = binary.AppendUvarint(b, r.Epoch)
	b = binary.BigEndian.AppendUint64(b, uint64(r.Time))
	switch r.Kind {
	case KindPut:
		b = binary.AppendUvarint(b, r.Bucket)
		b = appendString(b, r.Key)
		b = r.Object.append(b)
	case KindDelete:
		b = binary.AppendUvarint(b, r.Bucket)
		b = appendString(b, r.Key)
	case KindCreateBucket:
		b = appendString(b, r.Name)
	case KindDeleteBucket:
		b = binary.AppendUvarint(b, r.Bucket)
	case KindSegment:
		b = r.Segment.Append(b)
		b = appendBytes(b, r.Descriptor)
	case KindTags:
		b = binary.AppendUvarint(b, r.Bucket)
		b = appendString(b, r.Key)
		b = binary.AppendUvarint(b, r.Version.Epoch)
		b = binary.AppendUvarint(b, r.Version.Sequence)
		b = appendBytes(b, r.Tags)
	case KindSettings:
		b = binary.AppendUvarint(b, r.Bucket)
		b = appendBytes(b, r.Settings)
	case KindDeletePrefix:
		b = binary.AppendUvarint(b, r.Bucket)
		b = appendString(b, r.Prefix)
	}
	b = append(b, r.Unknown...)
	body := b[start+room:]
	n := uvarintLen(uint64(len(body)))
	binary.PutUvarint(b[start:], uint64(len(body)))
	copy(b[start+n:], body)
	return b[:start+n+len(body)]
}

// DecodeRecord reads the record at the beginning of b and returns it with the
// number of bytes that it takes. Its byte slices, those of its Object too, alias
// b; its strings do not. A record of a newer version, or of a kind that
// this one does not know, is a *FormatError; anything else that is wrong wraps
// ErrRecord. Allocations are bounded by the length of b.
func DecodeRecord(b []byte) (Record, int, error) {
	d := decoder{b: b}
	n := d.length(1)
	if d.bad || n > MaxRecord {
		return Record{}, 0, fmt.Errorf("%w: bad length, %d bytes at hand", ErrRecord, len(b))
	}
	size := len(b) - len(d.b) + n
	d.b = d.take(n)
	if v := d.byte(); v != recordVersion && !d.bad {
		return Record{}, 0, &FormatError{What: "record", Have: uint64(v), Want: recordVersion}
	}
	r := Record{Kind: Kind(d.byte())}
	if !d.bad && r.Kind >= kindEnd {
		return Record{}, 0, &FormatError{What: "record kind", Have: uint64(r.Kind), Want: uint64(kindEnd - 1)}
	}
	r.Epoch = d.uvarint()
	r.Time = int64(d.uint64())
	d.effect(&r)
	r.Unknown = d.tagged()
	if d.bad {
		return Record{}, 0, fmt.Errorf("%w: %s record of %d bytes", ErrRecord, r.Kind, size)
	}
	return r, size, nil
}

// effect reads the fields that belong to r.Kind.
func (d *decoder) effect(r *Record) {
	ok := true
	switch r.Kind {
	case KindPut:
		r.Bucket = d.uvarint()
		r.Key = d.string()
		r.Object = new(Object)
		d.object(r.Object)
		ok = CheckKey(r.Key) == nil
	case KindDelete:
		r.Bucket = d.uvarint()
		r.Key = d.string()
		ok = CheckKey(r.Key) == nil
	case KindCreateBucket:
		r.Name = d.string()
		ok = CheckBucketName(r.Name) == nil
	case KindDeleteBucket:
		r.Bucket = d.uvarint()
	case KindSegment:
		if p := d.take(erasure.SegmentIDSize); p != nil {
			r.Segment = erasure.DecodeSegmentID(p)
		}
		r.Descriptor = d.bytes()
		ok = !r.Segment.IsZero() && len(r.Descriptor) <= MaxDescriptor
	case KindTags:
		r.Bucket = d.uvarint()
		r.Key = d.string()
		r.Version.Epoch = d.uvarint()
		r.Version.Sequence = d.uvarint()
		r.Tags = d.bytes()
		ok = CheckKey(r.Key) == nil && checkTags(r.Tags) == nil
	case KindSettings:
		r.Bucket = d.uvarint()
		r.Settings = d.bytes()
		ok = len(r.Settings) <= MaxSettings
	case KindDeletePrefix:
		r.Bucket = d.uvarint()
		r.Prefix = d.string()
		ok = CheckPrefix(r.Prefix) == nil
	default:
		ok = false
	}
	if !ok {
		d.fail()
	}
}
