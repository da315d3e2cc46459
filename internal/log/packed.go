package log

import (
	"errors"
	"fmt"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/erasure"
)

// ErrCorrupt reports bytes that cannot be had from the disks that are there.
var ErrCorrupt = errors.New("bytes are lost or damaged")

// LostError says which disks of a group failed to give what was needed. It
// wraps ErrCorrupt.
type LostError struct {
	Segment erasure.SegmentID
	Disks   []disk.ID
	Err     error // what the last of them said
}

func (e *LostError) Error() string {
	return fmt.Sprintf("%v: segment %v, disks %v: %v", ErrCorrupt, e.Segment, e.Disks, e.Err)
}

func (e *LostError) Unwrap() []error { return []error{ErrCorrupt, e.Err} }

var errRotten = errors.New("does not verify")

// Rescue reads the bytes [off, off+len(p)) of a group's payload, which lie in
// one block, when the plain read of them failed or did not verify: from another
// copy, or from the same range of k' other blocks. verify says whether p is
// right; if a combination does not verify, whole blocks are checked by their
// tags and the rotten ones left out (rule 6). It returns a *LostError if nothing
// verifies.
func (l *Log) Rescue(g *Group, off int64, p []byte, verify func([]byte) bool) error {
	lost := &LostError{Segment: g.Segment.ID, Err: errRotten}
	if g.Data == 1 {
		for i := range g.Blocks {
			b := &g.Blocks[i]
			err := l.set.ReadAt(g.Segment, b.Shard, p, b.Offset+off)
			if err == nil {
				if verify(p) {
					return nil
				}
				err = errRotten
			}
			if errors.Is(err, disk.ErrBusy) {
				return err
			}
			lost.add(g.Segment.Disks[b.Shard], err)
		}
		return lost
	}
	block := -1
	for i := range g.Data {
		if b := &g.Blocks[i]; off >= b.Start && off+int64(len(p)) <= b.Start+b.Length {
			block = i
		}
	}
	if block < 0 {
		return fmt.Errorf("%w: range [%d, %d) is in no block", ErrGroup, off, off+int64(len(p)))
	}
	err := l.rebuildRange(g, block, off-g.Blocks[block].Start, p, lost)
	if err == nil && verify(p) {
		return nil
	}
	if errors.Is(err, disk.ErrBusy) {
		return err
	}
	return l.rebuildVerified(g, block, off-g.Blocks[block].Start, p, verify, lost)
}

func (e *LostError) add(id disk.ID, err error) {
	for _, d := range e.Disks {
		if d == id {
			return
		}
	}
	e.Disks, e.Err = append(e.Disks, id), err
}

// rebuildRange rebuilds p, at offset at of the block, from the same range of k'
// other blocks as they are.
func (l *Log) rebuildRange(g *Group, block int, at int64, p []byte, lost *LostError) error {
	blocks := make([][]byte, len(g.Blocks))
	have := 0
	for i := range g.Blocks {
		if i == block || have == g.Data {
			continue
		}
		b := &g.Blocks[i]
		n := min(max(b.Length-at, 0), int64(len(p)))
		buf := erasure.GetBuffer(int(n))
		defer buf.Release()
		if err := l.set.ReadAt(g.Segment, b.Shard, buf.B, b.Offset+at); n > 0 && err != nil {
			if errors.Is(err, disk.ErrBusy) {
				return err
			}
			lost.add(g.Segment.Disks[b.Shard], err)
			continue
		}
		blocks[i] = present(buf.B)
		have++
	}
	return l.reconstruct(g, blocks, block, p)
}

// rebuildVerified rebuilds the whole block from blocks that their tags prove.
func (l *Log) rebuildVerified(g *Group, block int, at int64, p []byte, verify func([]byte) bool, lost *LostError) error {
	h, err := l.headerOf(g)
	if err != nil {
		return err
	}
	if h == nil || len(h.parts) != len(g.Blocks) {
		lost.add(g.Segment.Disks[g.Blocks[block].Shard], errors.New("no header of the group can be read"))
		return lost
	}
	blocks := make([][]byte, len(g.Blocks))
	have := 0
	for i := range g.Blocks {
		buf, err := l.block(g.Segment, h, i, func(shard int, p []byte, off int64) error {
			return l.set.ReadAt(g.Segment, shard, p, off)
		})
		if errors.Is(err, disk.ErrBusy) {
			return err
		}
		if err != nil {
			lost.add(g.Segment.Disks[g.Blocks[i].Shard], err)
			continue
		}
		defer buf.Release()
		blocks[i] = present(buf.B)
		have++
	}
	if blocks[block] == nil {
		if have < g.Data {
			return lost
		}
		size := 0
		for _, b := range g.Blocks {
			size = max(size, int(b.Length))
		}
		whole := make([]byte, size)
		if err := l.reconstruct(g, blocks, block, whole); err != nil {
			lost.Err = err
			return lost
		}
		blocks[block] = whole
	}
	copy(p, blocks[block][at:])
	if !verify(p) {
		return lost
	}
	return nil
}

// present makes a block of no bytes differ from a missing one.
func present(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

func (l *Log) reconstruct(g *Group, blocks [][]byte, block int, p []byte) error {
	codec, err := l.codecFor(g.Parity)
	if err != nil {
		return err
	}
	return codec.Reconstruct(blocks, len(p), []int{block}, [][]byte{p})
}

// headerOf reads the group's header from the first part that shows it; nil if
// none does. The error is a shortage of the host.
func (l *Log) headerOf(g *Group) (*header, error) {
	page := make([]byte, maxHeader)
	for i := range g.Blocks {
		b := &g.Blocks[i]
		if b.Part == 0 {
			continue
		}
		if err := l.set.ReadAt(g.Segment, b.Shard, page, b.Part); err != nil {
			if errors.Is(err, disk.ErrBusy) {
				return nil, err
			}
			continue
		}
		h, err := decodeHeader(page, l.set.Key(g.Segment.ID, b.Shard), l.pool, g.Segment.ID, b.Shard, b.Part)
		if err == nil && h.first == g.First {
			return h, nil
		}
	}
	return nil, nil
}
