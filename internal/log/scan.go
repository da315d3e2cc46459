package log

import (
	"errors"
	"fmt"
	"io"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/erasure"
	"github.com/cairnstore/cairn/internal/segment"
)

// scanner walks the groups of one log segment in order. Each shard file is read
// header by header; since every header maps the whole group, a header that one
// shard cannot show is made up for by the others.
type scanner struct {
	l     *Log
	desc  *segment.Descriptor
	pos   []int64   // by shard: where its next header should stand
	heads []*header // by shard: header read at pos; nil: none verifies
	read  []bool    // by shard: pos has been looked at
	page  []byte

	last  uint64   // last sequence walked over
	hash  [32]byte // chain hash there
	proof uint64   // highest acknowledged sequence that headers beyond the end carry

	busy   error         // a shortage of the host: what was found missing may be there
	unread map[int]error // by shard: reads that failed, so that the shard could not speak
}

// readAt reads from a shard file and remembers what a failure says: nothing
// about the log if the host is short of something, and of a place beyond the
// file's end that it was not written.
func (s *scanner) readAt(shard int, p []byte, off int64) error {
	err := s.l.set.ReadAt(s.desc, shard, p, off)
	switch {
	case err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
	case errors.Is(err, disk.ErrBusy):
		s.busy = err
	default:
		if s.unread == nil {
			s.unread = map[int]error{}
		}
		s.unread[shard] = err
	}
	return err
}

func (l *Log) scan(d *segment.Descriptor, first int64, last uint64, hash [32]byte) *scanner {
	n := len(d.Disks)
	s := &scanner{l: l, desc: d, pos: make([]int64, n), heads: make([]*header, n), read: make([]bool, n), page: make([]byte, maxHeader), last: last, hash: hash}
	for i := range s.pos {
		s.pos[i] = first
	}
	return s
}

// next returns the header of the group that follows, or nil at the end: no
// shard shows a header that continues the chain. Errors say nothing about the
// log: a shortage in the host or a newer format.
func (s *scanner) next() (*header, error) {
	var found *header
	for shard := range s.pos {
		if !s.read[shard] {
			h, err := s.readHeader(shard)
			if err != nil {
				return nil, err
			}
			s.heads[shard], s.read[shard] = h, true
		}
		h := s.heads[shard]
		if h == nil {
			continue
		}
		if h.first == s.last+1 && h.prev == s.hash && found == nil {
			found = h
		}
		s.proof = max(s.proof, h.acked)
	}
	if found == nil {
		return nil, nil
	}
	for i := range found.parts {
		shard := found.parts[i].shard
		if shard >= len(s.pos) {
			return nil, fmt.Errorf("%w: part on shard %d of %d", ErrGroup, shard, len(s.pos))
		}
		s.pos[shard], s.heads[shard], s.read[shard] = found.end(i), nil, false
	}
	s.last, s.hash = found.last, found.hash
	return found, nil
}

func (s *scanner) readHeader(shard int) (*header, error) {
	if s.readAt(shard, s.page, s.pos[shard]) != nil {
		return nil, s.busy // else absent, unreadable or past the end of the file
	}
	h, err := decodeHeader(s.page, s.l.set.Key(s.desc.ID, shard), s.l.pool, s.desc.ID, shard, s.pos[shard])
	var format *FormatError
	if errors.As(err, &format) {
		return nil, err
	}
	return h, nil
}

// records returns the records of a group, from the first part whose copy gives
// the chain hash.
func (s *scanner) records(h *header) ([]byte, error) {
	var last error
	for i := range h.parts {
		if !h.parts[i].records {
			continue
		}
		b, err := s.recordsAt(h, i)
		if err == nil {
			return b, nil
		}
		last = err
	}
	if s.busy != nil {
		return nil, s.busy
	}
	return nil, fmt.Errorf("records of sequence %d: %w", h.first, last)
}

func (s *scanner) recordsAt(h *header, i int) ([]byte, error) {
	b := make([]byte, h.records)
	if err := s.readAt(h.parts[i].shard, b, h.parts[i].start+h.size()); err != nil {
		return nil, err
	}
	if ChainHash(h.prev, h.first, h.last, b) != h.hash {
		return nil, fmt.Errorf("%w: records do not verify", ErrGroup)
	}
	return b, nil
}

// whole returns how many parts of the group verify: header, records where they
// belong, and block.
func (s *scanner) whole(h *header) int {
	n := 0
	for i := range h.parts {
		if s.partWhole(h, i) {
			n++
		}
	}
	return n
}

func (s *scanner) partWhole(h *header, i int) bool {
	p := &h.parts[i]
	page := make([]byte, maxHeader)
	if s.readAt(p.shard, page, p.start) != nil {
		return false
	}
	mine, err := decodeHeader(page, s.l.set.Key(s.desc.ID, p.shard), s.l.pool, s.desc.ID, p.shard, p.start)
	if err != nil || mine.first != h.first || mine.hash != h.hash {
		return false
	}
	if p.records {
		if _, err := s.recordsAt(h, i); err != nil {
			return false
		}
	}
	buf, err := s.l.block(s.desc, h, i, s.readAt)
	if err == nil {
		buf.Release()
	}
	return err == nil
}

// block reads and verifies the block of part i.
func (l *Log) block(d *segment.Descriptor, h *header, i int, readAt func(shard int, p []byte, off int64) error) (*erasure.Buffer, error) {
	p := &h.parts[i]
	buf := erasure.GetBuffer(int(p.length))
	at := h.blockAt(i)
	err := readAt(p.shard, buf.B, at)
	if err == nil && l.set.Key(d.ID, p.shard).Tag(at, buf.B) != p.tag {
		err = errRotten
	}
	if err != nil {
		buf.Release()
		return nil, err
	}
	return buf, nil
}

// payload returns the payload of a group, rebuilt from parity where blocks are
// missing or rotten.
func (s *scanner) payload(h *header) ([]byte, error) {
	if h.payload == 0 {
		return nil, nil
	}
	blocks := make([][]byte, len(h.parts))
	size := 0
	for i := range h.parts {
		size = max(size, int(h.parts[i].length))
		if buf, err := s.l.block(s.desc, h, i, s.readAt); err == nil {
			defer buf.Release()
			blocks[i] = buf.B
		}
	}
	if s.busy != nil {
		return nil, s.busy
	}
	out := make([]byte, 0, h.payload)
	for i := range h.data {
		b := blocks[i]
		if b == nil {
			b = make([]byte, size)
			codec, err := s.l.codecFor(h.parity)
			if err == nil {
				err = codec.Reconstruct(blocks, size, []int{i}, [][]byte{b})
			}
			if err != nil {
				return nil, fmt.Errorf("payload of sequence %d: %w", h.first, err)
			}
			b = b[:h.parts[i].length]
		}
		out = append(out, b...)
	}
	return out, nil
}

// codecFor returns a codec with m parity blocks. Narrow pools make segments of
// another m only as 1+0.
func (l *Log) codecFor(m int) (*erasure.Codec, error) {
	if l.codec.Geometry().Parity == m {
		return l.codec, nil
	}
	return erasure.NewCodec(erasure.Geometry{Data: erasure.MaxData, Parity: m})
}
