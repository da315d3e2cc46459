package log

import (
	"encoding/binary"
	"fmt"

	"github.com/cairnstore/cairn/erasure"
	"github.com/cairnstore/cairn/internal/protocol"
)

// The opening group of a log segment (docs/format/log.md) is the body behind
// the header page of every shard file of the segment, the same in all of them.
// The header page carries its length and BLAKE3.
//
//	0   2   format version
//	2   2   zero
//	4   16  parent epoch of the segment's epoch: number, random
//	20  24  parent segment (zero: none)
//	44  8   last sequence of the parent on the path
//	52  32  chain hash there
//	84  8   highest acknowledged sequence
//	92  8   when it was made, unix nanoseconds
//	100 4   length of the checkpoint place (0: none)
//	104 4   number of copies
//	108     checkpoint place, then the copies: first (8), last (8), chain hash
//	        before (32) and after (32), records length (4), payload length (8),
//	        records, payload
//
// Bytes after the last copy are left for compatible additions.
const (
	OpeningVersion = 1
	openingFixed   = 108
	copyFixed      = 92
	maxOpening     = 64 << 20 // more is no opening group
)

// opening is the first group of a log segment.
type opening struct {
	epochParent protocol.Epoch
	parent      protocol.Parent
	acked       uint64
	made        int64
	checkpoint  []byte
	copies      []copied
}

// copied is a group that an opening group carries whole.
type copied struct {
	first, last      uint64
	prev, hash       [32]byte
	records, payload []byte
	payloadAt        int64 // offset of the payload in the body, set by decode and append
}

func (o *opening) append(b []byte) []byte {
	start := len(b)
	b = binary.BigEndian.AppendUint16(b, OpeningVersion)
	b = append(b, 0, 0)
	b = binary.BigEndian.AppendUint64(b, o.epochParent.Number)
	b = binary.BigEndian.AppendUint64(b, o.epochParent.Random)
	b = o.parent.Segment.Append(b)
	b = binary.BigEndian.AppendUint64(b, o.parent.Last)
	b = append(b, o.parent.Hash[:]...)
	b = binary.BigEndian.AppendUint64(b, o.acked)
	b = binary.BigEndian.AppendUint64(b, uint64(o.made))
	b = binary.BigEndian.AppendUint32(b, uint32(len(o.checkpoint)))
	b = binary.BigEndian.AppendUint32(b, uint32(len(o.copies)))
	b = append(b, o.checkpoint...)
	for i := range o.copies {
		c := &o.copies[i]
		b = binary.BigEndian.AppendUint64(b, c.first)
		b = binary.BigEndian.AppendUint64(b, c.last)
		b = append(b, c.prev[:]...)
		b = append(b, c.hash[:]...)
		b = binary.BigEndian.AppendUint32(b, uint32(len(c.records)))
		b = binary.BigEndian.AppendUint64(b, uint64(len(c.payload)))
		b = append(b, c.records...)
		c.payloadAt = int64(len(b) - start)
		b = append(b, c.payload...)
	}
	return b
}

// decodeOpening reads an opening group whose checksum has been verified. The
// result aliases b.
func decodeOpening(b []byte) (*opening, error) {
	if len(b) < openingFixed {
		return nil, fmt.Errorf("%w: opening group of %d bytes", ErrGroup, len(b))
	}
	if v := binary.BigEndian.Uint16(b); v != OpeningVersion {
		return nil, &FormatError{What: "opening group", Have: v, Want: OpeningVersion}
	}
	o := &opening{
		epochParent: protocol.Epoch{Number: binary.BigEndian.Uint64(b[4:]), Random: binary.BigEndian.Uint64(b[12:])},
		parent: protocol.Parent{
			Segment: erasure.DecodeSegmentID(b[20:]),
			Last:    binary.BigEndian.Uint64(b[44:]),
			Hash:    [32]byte(b[52:84]),
		},
		acked: binary.BigEndian.Uint64(b[84:]),
		made:  int64(binary.BigEndian.Uint64(b[92:])),
	}
	checkpoint := int(binary.BigEndian.Uint32(b[100:]))
	count := int(binary.BigEndian.Uint32(b[104:]))
	at := openingFixed
	if checkpoint > len(b)-at || count > (len(b)-at)/copyFixed {
		return nil, fmt.Errorf("%w: opening group ends early", ErrGroup)
	}
	o.checkpoint = b[at : at+checkpoint]
	at += checkpoint
	for range count {
		if len(b)-at < copyFixed {
			return nil, fmt.Errorf("%w: copy ends early", ErrGroup)
		}
		c := copied{
			first: binary.BigEndian.Uint64(b[at:]), last: binary.BigEndian.Uint64(b[at+8:]),
			prev: [32]byte(b[at+16 : at+48]), hash: [32]byte(b[at+48 : at+80]),
		}
		records := uint64(binary.BigEndian.Uint32(b[at+80:]))
		payload := binary.BigEndian.Uint64(b[at+84:])
		at += copyFixed
		if rest := uint64(len(b) - at); records > rest || payload > rest-records {
			return nil, fmt.Errorf("%w: copy ends early", ErrGroup)
		}
		c.records = b[at : at+int(records)]
		at += int(records)
		c.payloadAt = int64(at)
		c.payload = b[at : at+int(payload)]
		at += int(payload)
		if c.first == 0 || c.last < c.first || ChainHash(c.prev, c.first, c.last, c.records) != c.hash {
			return nil, fmt.Errorf("%w: copy of sequence %d does not verify", ErrGroup, c.first)
		}
		o.copies = append(o.copies, c)
	}
	return o, nil
}
