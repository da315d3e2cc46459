package meta

import (
	"encoding/binary"
	"fmt"
	"sort"

	"github.com/cairnstore/cairn/erasure"
)

const (
	groupVersion = 1
	// maxBlocks is the most blocks of a group: 32 data and 16 parity, or 17
	// copies.
	maxBlocks = 48
	minBlock  = 5 // bytes of the shortest encoded block
)

// Group is where one group of the log lies. The index keeps one entry per
// group, under its first sequence.
type Group struct {
	First, Last  uint64            // sequences of its records, both inclusive
	Hash         [32]byte          // chain hash after it
	Segment      erasure.SegmentID // log segment that holds it
	Data, Parity int               // k' and m of its stripe
	Payload      int64             // bytes of small objects that it carries
	// Blocks are the stripe's, data first. With Data = 1 they are Parity+1
	// equal copies. Empty if the group carries no payload.
	Blocks []Block

	// Unknown holds tagged fields of newer writers, kept as they were.
	Unknown []byte
}

// Block is one block of a group's stripe.
type Block struct {
	Shard  uint16 // shard of the segment
	Offset int64  // in the shard file
	Length int64  // bytes
	Start  int64  // data blocks: where in the group's payload it begins
	Part   int64  // where the group's header begins in the shard file; 0 if an opening group carries the group
}

// Locate returns the data block that holds n payload bytes from off, and where
// they begin in its shard file. ok is false if no block holds all of them:
// objects are never cut, so such a range belongs to none.
func (g *Group) Locate(off, n int64) (block int, fileOffset int64, ok bool) {
	data := g.Blocks[:min(max(g.Data, 0), len(g.Blocks))]
	// The last block that begins at or before off.
	i := sort.Search(len(data), func(i int) bool { return data[i].Start > off }) - 1
	if i < 0 || n < 0 || off-data[i].Start > data[i].Length-n {
		return 0, 0, false
	}
	return i, data[i].Offset + off - data[i].Start, true
}

// Append appends the encoding of g to b.
func (g *Group) Append(b []byte) []byte {
	b = append(b, groupVersion)
	b = binary.AppendUvarint(b, g.First)
	b = binary.AppendUvarint(b, g.Last-g.First)
	b = append(b, g.Hash[:]...)
	b = g.Segment.Append(b)
	b = binary.AppendUvarint(b, uint64(g.Data))
	b = binary.AppendUvarint(b, uint64(g.Parity))
	b = binary.AppendUvarint(b, uint64(g.Payload))
	b = binary.AppendUvarint(b, uint64(len(g.Blocks)))
	for _, k := range g.Blocks {
		b = binary.AppendUvarint(b, uint64(k.Shard))
		b = binary.AppendUvarint(b, uint64(k.Offset))
		b = binary.AppendUvarint(b, uint64(k.Length))
		b = binary.AppendUvarint(b, uint64(k.Start))
		b = binary.AppendUvarint(b, uint64(k.Part))
	}
	return append(b, g.Unknown...)
}

// DecodeGroup reads what Append wrote. Unknown aliases b. A newer version of the
// format is a *FormatError, anything else that is wrong wraps ErrEntry.
func DecodeGroup(b []byte) (*Group, error) {
	d := decoder{b: b}
	if n := d.byte(); n != groupVersion && !d.bad {
		return nil, &FormatError{What: "group entry", Have: uint64(n), Want: groupVersion}
	}
	g := &Group{First: d.uvarint()}
	g.Last = g.First + d.below(^g.First)
	copy(g.Hash[:], d.take(len(g.Hash)))
	g.Segment = d.segment()
	g.Data = int(d.below(maxBlocks))
	g.Parity = int(d.below(maxBlocks))
	g.Payload = d.positive()
	n := d.length(minBlock)
	if n > maxBlocks {
		d.fail()
		n = 0
	}
	g.Blocks = make([]Block, n)
	for i := range g.Blocks {
		k := &g.Blocks[i]
		k.Shard = uint16(d.below(1<<16 - 1))
		k.Offset = d.positive()
		k.Length = d.positive()
		k.Start = d.positive()
		k.Part = d.positive()
	}
	g.Unknown = d.tagged()
	if d.bad || g.check() != nil {
		return nil, fmt.Errorf("%w: group of %d bytes", ErrEntry, len(b))
	}
	return g, nil
}

// check returns an error unless the blocks are a stripe of ranges of the
// payload, in order.
func (g *Group) check() error {
	if len(g.Blocks) == 0 {
		if g.Payload != 0 {
			return fmt.Errorf("%d payload bytes in no block", g.Payload)
		}
		return nil
	}
	if g.Data < 1 || g.Parity < 0 || len(g.Blocks) != g.Data+g.Parity {
		return fmt.Errorf("%d blocks for %d data and %d parity", len(g.Blocks), g.Data, g.Parity)
	}
	end := int64(0) // of the data blocks so far, in the payload
	for i, k := range g.Blocks {
		if k.Offset < 0 || k.Length < 0 || k.Offset > 1<<62 || k.Length > 1<<62 {
			return fmt.Errorf("block %d has %d bytes at %d", i, k.Length, k.Offset)
		}
		if i >= g.Data {
			continue
		}
		if k.Start < end || k.Length > g.Payload-k.Start {
			return fmt.Errorf("block %d has %d bytes at %d of a payload of %d", i, k.Length, k.Start, g.Payload)
		}
		end = k.Start + k.Length
	}
	return nil
}

// GroupAt returns the group whose first sequence is first, ErrNoEntry if there
// is none. It costs one lookup; scratch is as in HeadOf.
func GroupAt(r Reader, first uint64, scratch []byte) (*Group, error) {
	k := AppendGroupKey(scratch[:0], first)
	value, err := r.Get(k, k[len(k):])
	if err != nil {
		return nil, err
	}
	return DecodeGroup(value)
}
