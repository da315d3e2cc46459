package erasure

import (
	"encoding/binary"
	"fmt"
)

// PoolID identifies a pool (one store) for its whole life. It is random.
type PoolID [16]byte

// SegmentIDSize is the length of an encoded SegmentID in bytes.
const SegmentIDSize = 24

// SegmentID names a segment. No two segments of a pool ever share one: the
// epoch is in every label before its first segment is made, and the random part
// tells apart two epochs that were given the same number.
type SegmentID struct {
	Epoch   uint64 // number of the epoch that made the segment, from 1
	Random  uint64 // random part of that epoch's id
	Counter uint64 // from 1 within the epoch
}

// IsZero reports whether id names no segment.
func (id SegmentID) IsZero() bool { return id == SegmentID{} }

// Compare orders ids by epoch number, then counter, then random part.
func (id SegmentID) Compare(o SegmentID) int {
	switch {
	case id.Epoch != o.Epoch:
		return cmpUint(id.Epoch, o.Epoch)
	case id.Counter != o.Counter:
		return cmpUint(id.Counter, o.Counter)
	default:
		return cmpUint(id.Random, o.Random)
	}
}

func cmpUint(a, b uint64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	default:
		return 0
	}
}

// String returns the id as it stands in file names: epoch, random part and
// counter in hexadecimal, joined by dashes.
func (id SegmentID) String() string {
	return fmt.Sprintf("%08x-%016x-%08x", id.Epoch, id.Random, id.Counter)
}

// Append appends the encoding of id to b: epoch, random part and counter, each
// big-endian, SegmentIDSize bytes in all.
func (id SegmentID) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, id.Epoch)
	b = binary.BigEndian.AppendUint64(b, id.Random)
	return binary.BigEndian.AppendUint64(b, id.Counter)
}

// DecodeSegmentID reads an id from the first SegmentIDSize bytes of b, which
// must be that long.
func DecodeSegmentID(b []byte) SegmentID {
	return SegmentID{
		Epoch:   binary.BigEndian.Uint64(b),
		Random:  binary.BigEndian.Uint64(b[8:]),
		Counter: binary.BigEndian.Uint64(b[16:]),
	}
}
