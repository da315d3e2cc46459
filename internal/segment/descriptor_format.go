package segment

import (
	"encoding/binary"
	"fmt"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/erasure"
)

// Kind says what a segment carries.
type Kind uint8

// Kinds of segments. The numbers are on-disk format.
const (
	KindLog     Kind = 1 // groups of the log
	KindPayload Kind = 2 // extents of striped objects
)

// String returns "log" or "payload".
func (k Kind) String() string {
	switch k {
	case KindLog:
		return "log"
	case KindPayload:
		return "payload"
	default:
		return fmt.Sprintf("kind %d", uint8(k))
	}
}

// Descriptor says what a segment is and where its shards lie. Whoever is handed
// one reads it only.
type Descriptor struct {
	ID       erasure.SegmentID
	Kind     Kind
	Geometry erasure.Geometry
	Class    uint16    // storage class
	KeyID    uint32    // 0: not encrypted, the only one known so far
	Disks    []disk.ID // in shard order, k+m of them, all different
}

// A descriptor on disk, integers big-endian (docs/format/segment.md):
//
//	0   1   version
//	1   1   kind
//	2   1   k
//	3   1   m
//	4   2   class
//	6   4   key id
//	10  24  segment id
//	34      k+m disk ids of 16 bytes, in shard order
//	        fields: tag 1, length 2, value
//
// A field with the top bit of its tag set may be ignored by who does not know
// it. No field is defined yet.
const (
	descriptorVersion = 1
	descriptorFixed   = 10 + erasure.SegmentIDSize
	diskIDSize        = len(disk.ID{})
	fieldHead         = 3
	fieldOptional     = 0x80
)

// Append appends the encoding of d to b. A descriptor that does not validate is
// a panic.
func (d *Descriptor) Append(b []byte) []byte {
	if err := d.validate(); err != nil {
		panic("segment: " + err.Error())
	}
	b = append(b, descriptorVersion, byte(d.Kind), byte(d.Geometry.Data), byte(d.Geometry.Parity))
	b = binary.BigEndian.AppendUint16(b, d.Class)
	b = binary.BigEndian.AppendUint32(b, d.KeyID)
	b = d.ID.Append(b)
	for i := range d.Disks {
		b = append(b, d.Disks[i][:]...)
	}
	return b
}

// DecodeDescriptor reads a descriptor that fills b, of which it keeps nothing.
// The error wraps [ErrDescriptor] or is a *[FormatError]: newer version, key id
// or field.
func DecodeDescriptor(b []byte) (*Descriptor, error) {
	if len(b) < 1 {
		return nil, fmt.Errorf("%w: empty", ErrDescriptor)
	}
	if b[0] != descriptorVersion {
		return nil, &FormatError{What: "segment descriptor version", Have: uint32(b[0]), Want: descriptorVersion}
	}
	if len(b) < descriptorFixed {
		return nil, fmt.Errorf("%w: %d bytes", ErrDescriptor, len(b))
	}
	d := &Descriptor{
		Kind:     Kind(b[1]),
		Geometry: erasure.Geometry{Data: int(b[2]), Parity: int(b[3])},
		Class:    binary.BigEndian.Uint16(b[4:]),
		KeyID:    binary.BigEndian.Uint32(b[6:]),
		ID:       erasure.DecodeSegmentID(b[10:]),
	}
	if d.KeyID != 0 {
		return nil, &FormatError{What: "key id of segment " + d.ID.String(), Have: d.KeyID, Want: 0}
	}
	if err := d.Geometry.Validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDescriptor, err)
	}
	b = b[descriptorFixed:]
	n := d.Geometry.Shards()
	if len(b) < n*diskIDSize {
		return nil, fmt.Errorf("%w: %d bytes for %d disks", ErrDescriptor, len(b), n)
	}
	d.Disks = make([]disk.ID, n)
	for i := range d.Disks {
		d.Disks[i] = disk.ID(b[i*diskIDSize:][:diskIDSize])
	}
	if err := skipFields(b[n*diskIDSize:]); err != nil {
		return nil, err
	}
	if err := d.validate(); err != nil {
		return nil, err
	}
	return d, nil
}

// skipFields passes over fields of later versions that may be ignored.
func skipFields(b []byte) error {
	for len(b) > 0 {
		if len(b) < fieldHead {
			return fmt.Errorf("%w: field of %d bytes", ErrDescriptor, len(b))
		}
		n := int(binary.BigEndian.Uint16(b[1:]))
		if len(b) < fieldHead+n {
			return fmt.Errorf("%w: field %d ends early", ErrDescriptor, b[0])
		}
		if b[0]&fieldOptional == 0 {
			return &FormatError{What: "segment descriptor field", Have: uint32(b[0]), Want: 0}
		}
		b = b[fieldHead+n:]
	}
	return nil
}

func (d *Descriptor) validate() error {
	if err := d.Geometry.Validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrDescriptor, err)
	}
	if d.ID.IsZero() || d.Kind != KindLog && d.Kind != KindPayload {
		return fmt.Errorf("%w: segment %s of %s", ErrDescriptor, d.ID, d.Kind)
	}
	if len(d.Disks) != d.Geometry.Shards() {
		return fmt.Errorf("%w: %d disks for %s", ErrDescriptor, len(d.Disks), d.Geometry)
	}
	for i, id := range d.Disks {
		if id.IsZero() {
			return fmt.Errorf("%w: shard %d on no disk", ErrDescriptor, i)
		}
		for _, other := range d.Disks[:i] {
			if id == other {
				return fmt.Errorf("%w: two shards on disk %s", ErrDescriptor, id)
			}
		}
	}
	return nil
}
