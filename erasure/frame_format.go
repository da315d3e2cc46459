package erasure

import "encoding/binary"

// Sizes of a frame, in bytes. They are on-disk format (docs/format/frame.md).
const (
	// FrameSize is the longest frame, trailer included.
	FrameSize = 64 << 10
	// Align divides the offset and the length of every frame.
	Align = 4 << 10
	// TagSize is the length of a keyed BLAKE3 tag.
	TagSize = 32
	// TrailerSize is what ends each frame: length, key id and tag.
	TrailerSize = 8 + TagSize
	// FrameData is the most data that one frame carries.
	FrameData = FrameSize - TrailerSize
)

// keyContext is the BLAKE3 DeriveKey context of frame keys. A change of
// anything that a tag covers needs a new one.
const keyContext = "cairn frame v1"

// keyMaterialSize is pool, segment and shard number, in that order.
const keyMaterialSize = len(PoolID{}) + SegmentIDSize + 2

// noKeyID is the only key id so far: the data is not encrypted.
const noKeyID = 0

// AlignUp rounds a file offset or length up to a multiple of Align.
func AlignUp(n int64) int64 { return (n + Align - 1) &^ (Align - 1) }

// FrameLen returns the length of the frame that carries dataLen bytes: data
// and trailer, rounded up to [Align]. It is at most [FrameSize] if dataLen is
// at most [FrameData].
func FrameLen(dataLen int) int {
	return (dataLen + TrailerSize + Align - 1) &^ (Align - 1)
}

// trailer is the last TrailerSize bytes of a frame.
type trailer struct {
	length uint32 // data bytes from the start of the frame
	keyID  uint32
	tag    [TagSize]byte
}

// encode writes t into b, which is TrailerSize long.
func (t *trailer) encode(b []byte) {
	binary.BigEndian.PutUint32(b, t.length)
	binary.BigEndian.PutUint32(b[4:], t.keyID)
	copy(b[8:], t.tag[:])
}

// decodeTrailer reads a trailer from b, which is TrailerSize long.
func decodeTrailer(b []byte) trailer {
	return trailer{
		length: binary.BigEndian.Uint32(b),
		keyID:  binary.BigEndian.Uint32(b[4:]),
		tag:    [TagSize]byte(b[8:TrailerSize]),
	}
}

// word returns what a tag covers of the trailer: the key id in the high half
// and the length in the low one. With key id 0 it is the plain length, so a
// frame's tag is [Key.Tag] of its data.
func (t *trailer) word() uint64 { return uint64(t.keyID)<<32 | uint64(t.length) }

// keyMaterial lays out what a frame key is derived from.
func keyMaterial(pool PoolID, seg SegmentID, shard uint16) [keyMaterialSize]byte {
	var m [keyMaterialSize]byte
	b := append(m[:0], pool[:]...)
	b = seg.Append(b)
	binary.BigEndian.AppendUint16(b, shard)
	return m
}
