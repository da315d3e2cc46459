package label

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/zeebo/blake3"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/erasure"
	"github.com/cairnstore/cairn/internal/protocol"
)

// A label copy on disk, all integers big-endian (docs/format/label.md):
//
//	0   8  magic "cairnlbl"
//	8   2  format version
//	10  2  zero
//	12  4  length of the body
//	16     body
//	       BLAKE3 of everything before, 32 bytes
//
// The frame (magic, version, length, checksum) is the same in all versions, so
// that a newer label is told from a rotten one.
const (
	magic   = "cairnlbl"
	Version = 1 // format written by this package

	headLen = 16
	sumLen  = 32

	// SlotSize is the space of one copy in a label file.
	SlotSize = 64 << 10
	maxBody  = SlotSize - headLen - sumLen
	maxList  = 4096 // members or segments; more cannot be real
)

// ErrLabel reports a label that is damaged or makes no sense.
var ErrLabel = errors.New("bad disk label")

// FormatError reports a label of a format this package does not know.
type FormatError struct{ Have, Want uint16 }

func (e *FormatError) Error() string {
	return fmt.Sprintf("disk label has format version %d, this program knows up to %d", e.Have, e.Want)
}

// Append appends the encoded label, checksum included, to b. It fails if the
// label names more than a slot can hold.
func Append(b []byte, l *protocol.Label) ([]byte, error) {
	start := len(b)
	b = append(b, magic...)
	b = binary.BigEndian.AppendUint16(b, Version)
	b = append(b, 0, 0, 0, 0, 0, 0)
	b = append(b, l.Pool[:]...)
	b = append(b, l.Disk[:]...)
	b = binary.BigEndian.AppendUint64(b, l.Generation)
	b = appendEpoch(b, l.Epoch)
	b = appendEpoch(b, l.Parent)
	b = binary.BigEndian.AppendUint64(b, l.Acked)
	b = binary.BigEndian.AppendUint64(b, uint64(l.Created))
	b = binary.BigEndian.AppendUint16(b, l.Class)
	b = append(b, byte(l.Geometry.Data), byte(l.Geometry.Parity))
	b = appendDisks(b, l.Members)
	b = binary.BigEndian.AppendUint16(b, uint16(len(l.Beside)))
	for _, v := range l.Beside {
		b = appendDisks(appendEpoch(b, v.Epoch), v.Members)
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(l.Segments)))
	for _, n := range l.Segments {
		b = n.ID.Append(b)
		b = append(b, byte(n.Parity))
		b = appendDisks(b, n.Disks)
	}
	body := len(b) - start - headLen
	if body > maxBody {
		return b[:start], fmt.Errorf("%w: %d bytes, %d members and %d segments do not fit %d bytes",
			ErrLabel, body, len(l.Members), len(l.Segments), maxBody)
	}
	binary.BigEndian.PutUint32(b[start+12:], uint32(body))
	sum := blake3.Sum256(b[start:])
	return append(b, sum[:]...), nil
}

func appendEpoch(b []byte, e protocol.Epoch) []byte {
	b = binary.BigEndian.AppendUint64(b, e.Number)
	return binary.BigEndian.AppendUint64(b, e.Random)
}

func appendDisks(b []byte, disks []disk.ID) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(disks)))
	for _, d := range disks {
		b = append(b, d[:]...)
	}
	return b
}

// Decode reads the label at the start of slot. It returns an error that wraps
// ErrLabel for damage, or a *FormatError for a newer format.
func Decode(slot []byte) (*protocol.Label, error) {
	if len(slot) < headLen {
		return nil, fmt.Errorf("%w: %d bytes", ErrLabel, len(slot))
	}
	body := int(binary.BigEndian.Uint32(slot[12:]))
	if string(slot[:8]) != magic || body > maxBody || len(slot) < headLen+body+sumLen {
		return nil, fmt.Errorf("%w: not a label", ErrLabel)
	}
	if blake3.Sum256(slot[:headLen+body]) != [sumLen]byte(slot[headLen+body:headLen+body+sumLen]) {
		return nil, fmt.Errorf("%w: checksum mismatch", ErrLabel)
	}
	if v := binary.BigEndian.Uint16(slot[8:]); v != Version {
		return nil, &FormatError{Have: v, Want: Version}
	}
	r := reader{b: slot[headLen : headLen+body]}
	l := &protocol.Label{}
	copy(l.Pool[:], r.next(16))
	l.Disk = r.disk()
	l.Generation = r.u64()
	l.Epoch = protocol.Epoch{Number: r.u64(), Random: r.u64()}
	l.Parent = protocol.Epoch{Number: r.u64(), Random: r.u64()}
	l.Acked = r.u64()
	l.Created = int64(r.u64())
	l.Class = r.u16()
	l.Geometry = erasure.Geometry{Data: int(r.u8()), Parity: int(r.u8())}
	l.Members = r.disks()
	for n := r.count(); n > 0 && r.err == nil; n-- {
		v := protocol.View{Epoch: protocol.Epoch{Number: r.u64(), Random: r.u64()}}
		v.Members = r.disks()
		l.Beside = append(l.Beside, v)
	}
	for n := r.count(); n > 0 && r.err == nil; n-- {
		l.Segments = append(l.Segments, protocol.Named{
			ID: erasure.DecodeSegmentID(r.next(erasure.SegmentIDSize)), Parity: int(r.u8()), Disks: r.disks(),
		})
	}
	switch {
	case r.err != nil:
		return nil, r.err
	case l.Geometry.Validate() != nil || l.Epoch.Number == 0 || l.Disk.IsZero():
		return nil, fmt.Errorf("%w: geometry %v, epoch %v, disk %v", ErrLabel, l.Geometry, l.Epoch, l.Disk)
	}
	// Bytes after the fields that this version knows are left for compatible
	// additions.
	return l, nil
}

// reader takes fields off a body; after the first shortage it yields zeros.
type reader struct {
	b   []byte
	err error
}

var zeros [32]byte

func (r *reader) next(n int) []byte {
	if r.err != nil || len(r.b) < n {
		r.err = fmt.Errorf("%w: body ends early", ErrLabel)
		return zeros[:n]
	}
	p := r.b[:n]
	r.b = r.b[n:]
	return p
}

func (r *reader) u8() byte      { return r.next(1)[0] }
func (r *reader) u16() uint16   { return binary.BigEndian.Uint16(r.next(2)) }
func (r *reader) u64() uint64   { return binary.BigEndian.Uint64(r.next(8)) }
func (r *reader) disk() disk.ID { return disk.ID(r.next(16)) }

func (r *reader) count() int {
	n := int(r.u16())
	if n > maxList {
		r.err = fmt.Errorf("%w: list of %d", ErrLabel, n)
		return 0
	}
	return n
}

func (r *reader) disks() []disk.ID {
	n := r.count()
	if n*16 > len(r.b) {
		r.err = fmt.Errorf("%w: list of %d ends early", ErrLabel, n)
		return nil
	}
	ids := make([]disk.ID, n)
	for i := range ids {
		ids[i] = r.disk()
	}
	return ids
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
