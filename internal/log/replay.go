package log

import (
	"context"
	"errors"
	"fmt"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/internal/protocol"
	"github.com/cairnstore/cairn/internal/segment"
)

// Block is where a piece of a group's payload lies. Blocks of a Group come data
// first, in payload order, then parity; with one data block all are equal.
type Block struct {
	Shard  int
	Offset int64 // of the block in the shard file
	Length int64
	Start  int64 // data blocks: where in the payload it begins
	Part   int64 // of the group's header in the shard file; 0: in an opening group
}

// Group is a durable group and where it lies.
type Group struct {
	First, Last uint64
	Hash        [32]byte // chain hash after it
	Segment     *segment.Descriptor
	Data        int // k'
	Parity      int // further blocks
	Payload     int64
	Blocks      []Block
	Records     []byte
	Survives    int // further disk losses that it survives
}

// placed describes a group by its header.
func (h *header) placed(d *segment.Descriptor, records []byte) *Group {
	g := &Group{
		First: h.first, Last: h.last, Hash: h.hash, Segment: d, Data: h.data, Parity: h.parity,
		Payload: h.payload, Records: records, Survives: h.parity, Blocks: make([]Block, len(h.parts)),
	}
	start := int64(0)
	for i := range h.parts {
		g.Blocks[i] = Block{Shard: h.parts[i].shard, Offset: h.blockAt(i), Length: h.parts[i].length, Part: h.parts[i].start}
		if i < h.data {
			g.Blocks[i].Start = start
			start += h.parts[i].length
		}
	}
	return g
}

// placed describes a group that an opening group carries.
func (c *copied) placed(d *segment.Descriptor) *Group {
	n := len(d.Disks)
	g := &Group{
		First: c.first, Last: c.last, Hash: c.hash, Segment: d, Data: 1, Parity: n - 1,
		Payload: int64(len(c.payload)), Records: c.records, Survives: n - 1, Blocks: make([]Block, n),
	}
	for shard := range n {
		g.Blocks[shard] = Block{Shard: shard, Offset: segment.HeaderSize + c.payloadAt, Length: int64(len(c.payload))}
	}
	return g
}

// Decide finds the log, given how far the caller's index holds it. When the log
// may only be read, Refusal says why, and Decide still returns nil unless
// nothing could be decided. ErrFork means that the index is of another history:
// drop it and call Decide with the zero Position.
func (l *Log) Decide(ctx context.Context, from Position) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	l.from = from
	if !l.made {
		l.plan = &protocol.Plan{}
		return forkUnless(from.Seq == 0)
	}
	f := l.facts
	if l.Refusal() == nil {
		f.settle()
	}
	plan, err := protocol.Decide(f, protocol.Facts{Labels: l.labels(), From: from.Seq})
	if f.err != nil {
		return f.err
	}
	var refusal *protocol.Refusal
	if err != nil && !errors.As(err, &refusal) {
		return err
	}
	if refusal != nil {
		l.refuse(refusal)
	}
	if plan == nil {
		plan = &protocol.Plan{}
	}
	l.plan = plan
	l.last, l.hash = plan.End.Last, plan.End.Hash
	return l.checkFork()
}

// checkFork compares the index's chain hash with the log's at its position.
func (l *Log) checkFork() error {
	if l.from.Seq == 0 || len(l.plan.Path) == 0 || l.from.Seq > l.plan.End.Last {
		return nil // an index ahead of the log is a refusal already
	}
	if l.from.Seq == l.plan.End.Last {
		return forkUnless(l.plan.End.Hash == l.from.Hash)
	}
	met := false
	err := l.eachAfter(l.from.Seq, l.plan.End.Last, func(prev [32]byte, _ func() (*Group, error)) error {
		if !met && prev != l.from.Hash {
			return ErrFork
		}
		met = true
		return errStop
	})
	if errors.Is(err, errStop) || err == nil {
		return nil
	}
	if errors.Is(err, errHole) {
		return nil // Replay reports it
	}
	return err
}

func forkUnless(ok bool) error {
	if ok {
		return nil
	}
	return ErrFork
}

var (
	errStop = errors.New("stop")
	errHole = errors.New("hole in the log")
)

// Replay calls fn with every group after the index's position that will not be
// written again, in order. A hole makes the log read-only (ErrLogMissing in
// Refusal) and ends the replay without an error; fn's errors are returned.
func (l *Log) Replay(ctx context.Context, fn func(*Group) error) error {
	end := l.plan.End.Last
	if len(l.plan.Relog) > 0 {
		end = l.plan.Relog[0].First - 1
	}
	err := l.groups(ctx, l.from.Seq, end, fn)
	if errors.Is(err, errHole) {
		l.refuse(&protocol.Refusal{Err: protocol.ErrLogMissing, Reason: err.Error(), Disks: l.absent()})
		return nil
	}
	return err
}

// Unsettled calls fn with the groups at the end of a log that may only be read
// and that nothing proves to be acknowledged.
func (l *Log) Unsettled(ctx context.Context, fn func(*Group) error) error {
	if len(l.plan.Relog) == 0 {
		return nil
	}
	err := l.groups(ctx, max(l.from.Seq, l.plan.Relog[0].First-1), l.plan.End.Last, fn)
	if errors.Is(err, errHole) {
		return nil
	}
	return err
}

func (l *Log) groups(ctx context.Context, after, upTo uint64, fn func(*Group) error) error {
	return l.eachAfter(after, upTo, func(_ [32]byte, load func() (*Group, error)) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		g, err := load()
		if err != nil {
			return err
		}
		return fn(g)
	})
}

// eachAfter walks the groups of the path with after < last <= upTo. visit gets
// the chain hash before the group and a function that loads it. A group that a
// later opening group carries is taken from there.
func (l *Log) eachAfter(after, upTo uint64, visit func(prev [32]byte, load func() (*Group, error)) error) error {
	if after >= upTo {
		return nil
	}
	type carried struct {
		s *seenSegment
		c *copied
	}
	copies := map[uint64]carried{}
	for _, p := range l.plan.Path {
		s := l.facts.look(p.Segment)
		if s == nil {
			continue
		}
		for i := range s.opening.copies {
			c := &s.opening.copies[i]
			copies[c.first] = carried{s, c}
		}
	}
	reached := false
	for _, p := range l.plan.Path {
		if p.Last <= after || p.After >= upTo {
			continue
		}
		s := l.facts.look(p.Segment)
		if s == nil {
			return fmt.Errorf("%w: segment %v is not seen", errHole, p.Segment)
		}
		if !reached && p.After > after {
			return fmt.Errorf("%w: sequence %d is not on the path seen", errHole, after+1)
		}
		reached = true
		sc := l.scan(s.desc, s.first, p.After, s.opening.parent.Hash)
		for last := p.After; last < min(p.Last, upTo); {
			h, err := sc.next()
			if err != nil {
				return err
			}
			c, isCopied := copies[last+1]
			if h == nil && !isCopied {
				return fmt.Errorf("%w: sequence %d cannot be read from segment %v", errHole, last+1, p.Segment)
			}
			var prev [32]byte
			var load func() (*Group, error)
			if isCopied {
				last, prev = c.c.last, c.c.prev
				load = func() (*Group, error) { return c.c.placed(c.s.desc), nil }
			} else {
				last, prev = h.last, h.prev
				load = func() (*Group, error) {
					b, err := sc.records(h)
					if errors.Is(err, disk.ErrBusy) {
						return nil, err
					}
					if err != nil {
						return nil, fmt.Errorf("%w: %w", errHole, err)
					}
					return h.placed(s.desc, b), nil
				}
			}
			if last <= after {
				continue
			}
			if err := visit(prev, load); err != nil {
				return err
			}
		}
	}
	if !reached {
		return fmt.Errorf("%w: sequence %d is not seen", errHole, after+1)
	}
	return nil
}

// loadCopies reads the groups that the next opening group must carry.
func (l *Log) loadCopies() ([]copied, error) {
	var out []copied
	for _, c := range l.plan.Relog {
		s := l.facts.look(c.Segment)
		if s == nil {
			return nil, fmt.Errorf("%w: segment %v", errHole, c.Segment)
		}
		if c.Opening {
			for _, o := range s.opening.copies {
				if o.first == c.First {
					out = append(out, o)
				}
			}
			continue
		}
		sc := l.scan(s.desc, s.first, s.opening.parent.Last, s.opening.parent.Hash)
		for sc.last < c.Last {
			h, err := sc.next()
			if err != nil {
				return nil, err
			}
			if h == nil {
				return nil, fmt.Errorf("%w: sequence %d", errHole, c.First)
			}
			if h.first != c.First {
				continue
			}
			o := copied{first: h.first, last: h.last, prev: h.prev, hash: h.hash}
			if o.records, err = sc.records(h); err == nil {
				o.payload, err = sc.payload(h)
			}
			if err != nil {
				return nil, err
			}
			out = append(out, o)
		}
	}
	if len(out) != len(l.plan.Relog) {
		return nil, fmt.Errorf("%w: %d of %d groups to write again found", errHole, len(out), len(l.plan.Relog))
	}
	return out, nil
}
