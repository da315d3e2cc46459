package log

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/zeebo/blake3"

	"github.com/cairnstore/cairn/erasure"
)

// A group's part in one shard file (docs/format/log.md): the header at a 4 KiB
// boundary, the records right behind it if this shard carries them, then the
// shard's block, zeros up to the next 4 KiB boundary. The header is the same in
// all parts but for the shard number and the tag:
//
//	0    8   magic "cairngrp"
//	8    2   format version
//	10   2   length of the header, tag included
//	12   16  pool
//	28   24  segment
//	52   2   shard that holds this part
//	54   1   k', data blocks
//	55   1   m, parity blocks (k' = 1: further copies)
//	56   2   class
//	58   4   key id (0: not encrypted)
//	62   8   first sequence
//	70   8   last sequence
//	78   8   highest acknowledged sequence
//	86   32  chain hash before
//	118  32  chain hash after
//	150  4   length of the records
//	154  8   length of the payload
//	162      k'+m parts, 52 bytes each: shard (2), carries records (1), zero (1),
//	         offset of the part (8), length of its block (8), tag of its block (32)
//	         keyed tag of everything before, 32 bytes
const (
	groupMagic   = "cairngrp"
	GroupVersion = 1 // format written by this package

	headerFixed = 162
	partSize    = 52
	// maxHeader bounds a header, so that one page read holds it.
	maxHeader = erasure.Align
	// maxOffset bounds places in a shard file, far beyond any.
	maxOffset = 1 << 56
)

var (
	// ErrGroup reports a group header or part that does not verify.
	ErrGroup = errors.New("bad group")
	errBlank = errors.New("no group")
)

// FormatError reports a group or opening group of an unknown format version.
type FormatError struct {
	What       string
	Have, Want uint16
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("%s has format version %d, this program knows up to %d", e.What, e.Have, e.Want)
}

// part is what one shard holds of a group.
type part struct {
	shard   int
	records bool
	start   int64 // of the header, in the shard file
	length  int64 // of the block
	tag     [erasure.TagSize]byte
}

// header describes one group.
type header struct {
	pool         erasure.PoolID
	segment      erasure.SegmentID
	data, parity int
	class        uint16
	keyID        uint32
	first, last  uint64
	acked        uint64
	prev, hash   [32]byte
	records      int64
	payload      int64
	parts        []part // data blocks in order, then parity
}

func (h *header) size() int64 { return headerFixed + int64(len(h.parts))*partSize + erasure.TagSize }

// blockAt returns where the block of part i begins in its shard file.
func (h *header) blockAt(i int) int64 {
	p := &h.parts[i]
	at := p.start + h.size()
	if p.records {
		at += h.records
	}
	return at
}

// end returns where part i ends, rounded up to the next group's boundary.
func (h *header) end(i int) int64 { return erasure.AlignUp(h.blockAt(i) + h.parts[i].length) }

// encode appends the header of part i, sealed with the key of its shard.
func (h *header) encode(b []byte, i int, key *erasure.Key) []byte {
	start := len(b)
	b = append(b, groupMagic...)
	b = binary.BigEndian.AppendUint16(b, GroupVersion)
	b = binary.BigEndian.AppendUint16(b, uint16(h.size()))
	b = append(b, h.pool[:]...)
	b = h.segment.Append(b)
	b = binary.BigEndian.AppendUint16(b, uint16(h.parts[i].shard))
	b = append(b, byte(h.data), byte(h.parity))
	b = binary.BigEndian.AppendUint16(b, h.class)
	b = binary.BigEndian.AppendUint32(b, h.keyID)
	b = binary.BigEndian.AppendUint64(b, h.first)
	b = binary.BigEndian.AppendUint64(b, h.last)
	b = binary.BigEndian.AppendUint64(b, h.acked)
	b = append(b, h.prev[:]...)
	b = append(b, h.hash[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(h.records))
	b = binary.BigEndian.AppendUint64(b, uint64(h.payload))
	for j := range h.parts {
		p := &h.parts[j]
		b = binary.BigEndian.AppendUint16(b, uint16(p.shard))
		b = append(b, boolByte(p.records), 0)
		b = binary.BigEndian.AppendUint64(b, uint64(p.start))
		b = binary.BigEndian.AppendUint64(b, uint64(p.length))
		b = append(b, p.tag[:]...)
	}
	tag := key.Tag(h.parts[i].start, b[start:])
	return append(b, tag[:]...)
}

// decodeHeader reads the header that page (a page of a shard file, from offset
// at) begins with. It returns errBlank for a page of zeros, ErrGroup for
// anything that does not verify as a header of that place, or a *FormatError.
func decodeHeader(page []byte, key *erasure.Key, pool erasure.PoolID, segment erasure.SegmentID, shard int, at int64) (*header, error) {
	if len(page) < headerFixed+erasure.TagSize {
		return nil, fmt.Errorf("%w: short page", ErrGroup)
	}
	if string(page[:8]) != groupMagic {
		if allZero(page) {
			return nil, errBlank
		}
		return nil, fmt.Errorf("%w: no header", ErrGroup)
	}
	size := int(binary.BigEndian.Uint16(page[10:]))
	if size < headerFixed+erasure.TagSize || size > len(page) {
		return nil, fmt.Errorf("%w: header of %d bytes", ErrGroup, size)
	}
	signed := page[:size-erasure.TagSize]
	if key.Tag(at, signed) != [erasure.TagSize]byte(page[size-erasure.TagSize:size]) {
		return nil, fmt.Errorf("%w: header does not verify", ErrGroup)
	}
	if v := binary.BigEndian.Uint16(page[8:]); v != GroupVersion {
		return nil, &FormatError{What: "group header", Have: v, Want: GroupVersion}
	}
	h := &header{
		pool:    erasure.PoolID(page[12:28]),
		segment: erasure.DecodeSegmentID(page[28:]),
		data:    int(page[54]), parity: int(page[55]),
		class: binary.BigEndian.Uint16(page[56:]),
		keyID: binary.BigEndian.Uint32(page[58:]),
		first: binary.BigEndian.Uint64(page[62:]),
		last:  binary.BigEndian.Uint64(page[70:]),
		acked: binary.BigEndian.Uint64(page[78:]),
		prev:  [32]byte(page[86:118]), hash: [32]byte(page[118:150]),
		records: int64(binary.BigEndian.Uint32(page[150:])),
		payload: int64(binary.BigEndian.Uint64(page[154:])),
	}
	n := h.data + h.parity
	if h.data < 1 || size != headerFixed+n*partSize+erasure.TagSize {
		return nil, fmt.Errorf("%w: %d+%d parts in %d bytes", ErrGroup, h.data, h.parity, size)
	}
	h.parts = make([]part, n)
	mine := false
	for j := range h.parts {
		p := page[headerFixed+j*partSize:]
		h.parts[j] = part{
			shard:   int(binary.BigEndian.Uint16(p)),
			records: p[2] != 0,
			start:   int64(binary.BigEndian.Uint64(p[4:])),
			length:  int64(binary.BigEndian.Uint64(p[12:])),
			tag:     [erasure.TagSize]byte(p[20:52]),
		}
		mine = mine || h.parts[j].shard == shard && h.parts[j].start == at
		if q := &h.parts[j]; q.start < 0 || q.start%erasure.Align != 0 || q.start > maxOffset || q.length < 0 || q.length > MaxPayload {
			return nil, fmt.Errorf("%w: part of %d bytes at %d", ErrGroup, q.length, q.start)
		}
	}
	if h.records > MaxRecords || h.payload < 0 || h.payload > MaxPayload {
		return nil, fmt.Errorf("%w: %d record bytes, %d payload bytes", ErrGroup, h.records, h.payload)
	}
	if !mine || h.pool != pool || h.segment != segment || h.first == 0 || h.last < h.first ||
		int(binary.BigEndian.Uint16(page[52:])) != shard {
		return nil, fmt.Errorf("%w: header of another place", ErrGroup)
	}
	return h, nil
}

// chainContext separates the chain hash from every other use of BLAKE3.
const chainContext = "cairn log chain v1"

// ChainHash returns the hash that links a group to all before it. It covers the
// sequences and the records, never where they lie.
func ChainHash(prev [32]byte, first, last uint64, records []byte) [32]byte {
	var head [48]byte
	copy(head[:], prev[:])
	binary.BigEndian.PutUint64(head[32:], first)
	binary.BigEndian.PutUint64(head[40:], last)
	h := chainers.Get().(*blake3.Hasher)
	defer chainers.Put(h)
	h.Reset()
	h.Write(head[:])
	h.Write(records)
	var sum [32]byte
	h.Sum(sum[:0])
	return sum
}

// chainers holds hashers in DeriveKey mode for chainContext: 10 KB each.
var chainers = sync.Pool{New: func() any { return blake3.NewDeriveKey(chainContext) }}

func boolByte(b bool) byte {
	if b {
		return 1
	}
	return 0
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
