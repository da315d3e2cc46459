package segment

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/cairnstore/cairn/erasure"
)

// HeaderSize is the length of the header page at the start of every shard file.
const HeaderSize = 4096

// Header is the first page of a shard file.
type Header struct {
	Pool  erasure.PoolID
	Shard int
	Descriptor

	// What follows at offset HeaderSize: the opening group of a log segment.
	// Zero for payload segments.
	BodyLength int64 // bytes
	BodyHash   [32]byte
}

// A header page on disk, integers big-endian (docs/format/segment.md):
//
//	0     8   magic "cairnseg"
//	8     2   format version
//	10    2   shard
//	12    4   length of the descriptor
//	16    16  pool
//	32    8   length of the body
//	40    32  BLAKE3 of the body
//	72        descriptor, then zeros
//	4064  32  tag of the page before it
//
// Magic, version and tag are the same in all versions, so that a newer header
// is told from a rotten one.
const (
	headerMagic   = "cairnseg"
	headerVersion = 1
	headerFixed   = 72
	headerTag     = HeaderSize - erasure.TagSize
)

// Encode fills page, HeaderSize bytes, and seals it with the tag of this shard
// at offset 0. A header that makes no sense is a panic.
func (h *Header) Encode(page []byte) {
	if len(page) != HeaderSize || h.Shard < 0 || h.Shard >= h.Geometry.Shards() || h.BodyLength < 0 {
		panic(fmt.Sprintf("segment: header of shard %d of %s, body of %d bytes, into %d", h.Shard, h.Geometry, h.BodyLength, len(page)))
	}
	copy(page, headerMagic)
	binary.BigEndian.PutUint16(page[8:], headerVersion)
	binary.BigEndian.PutUint16(page[10:], uint16(h.Shard))
	copy(page[16:], h.Pool[:])
	binary.BigEndian.PutUint64(page[32:], uint64(h.BodyLength))
	copy(page[40:], h.BodyHash[:])
	d := h.Append(page[headerFixed:headerFixed]) // at most 802 bytes
	binary.BigEndian.PutUint32(page[12:], uint32(len(d)))
	clear(page[headerFixed+len(d) : headerTag])
	tag := erasure.NewKey(h.Pool, h.ID, h.Shard).Tag(0, page[:headerTag])
	copy(page[headerTag:], tag[:])
}

// DecodeHeader reads the header page of a shard file of which the name says that
// it is shard of segment id. It keeps nothing of page. Errors:
//
//   - [ErrNoHeader]: all zeros
//   - *[FormatError]: a newer format, verified
//   - [ErrHeader]: anything else, also a header written for another place
func DecodeHeader(page []byte, pool erasure.PoolID, id erasure.SegmentID, shard int) (*Header, error) {
	if len(page) != HeaderSize || shard < 0 || shard > math.MaxUint16 {
		return nil, fmt.Errorf("%w: %d bytes for shard %d of %s", ErrHeader, len(page), shard, id)
	}
	if isZero(page) {
		return nil, fmt.Errorf("%w: shard %d of %s", ErrNoHeader, shard, id)
	}
	tag := erasure.NewKey(pool, id, shard).Tag(0, page[:headerTag])
	if string(page[:8]) != headerMagic || [erasure.TagSize]byte(page[headerTag:]) != tag {
		return nil, fmt.Errorf("%w: shard %d of %s does not verify", ErrHeader, shard, id)
	}
	if v := binary.BigEndian.Uint16(page[8:]); v != headerVersion {
		return nil, &FormatError{What: "segment header version", Have: uint32(v), Want: headerVersion}
	}
	n := binary.BigEndian.Uint32(page[12:])
	if n > headerTag-headerFixed {
		return nil, fmt.Errorf("%w: descriptor of %d bytes", ErrHeader, n)
	}
	d, err := DecodeDescriptor(page[headerFixed : headerFixed+n])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrHeader, err)
	}
	h := &Header{
		Pool:       erasure.PoolID(page[16:32]),
		Shard:      int(binary.BigEndian.Uint16(page[10:])),
		Descriptor: *d,
		BodyLength: int64(binary.BigEndian.Uint64(page[32:])),
		BodyHash:   [32]byte(page[40:72]),
	}
	// Not reached by rot, for the tag is keyed with these; by a mistaken writer.
	if h.Pool != pool || h.ID != id || h.Shard != shard || shard >= d.Geometry.Shards() || h.BodyLength < 0 {
		return nil, fmt.Errorf("%w: says shard %d of %s, body of %d bytes", ErrHeader, h.Shard, h.ID, h.BodyLength)
	}
	return h, nil
}

func isZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
