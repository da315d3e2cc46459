package model

import (
	"errors"
	"slices"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/erasure"
	"github.com/cairnstore/cairn/internal/protocol"
)

// facts is what the present disks show: the protocol.Source of a decision.
type facts struct {
	*pool
	present []bool // by device
	broken  Switch
	seen    []int // by segment: verified copies of its opening group
}

func (p *pool) look(present []bool, broken Switch) *facts {
	f := &facts{pool: p, present: present, broken: broken, seen: make([]int, len(p.segments))}
	for i, s := range p.segments {
		for _, d := range s.devices {
			if file := f.file(d, i); file != nil && file.opening.block {
				f.seen[i]++
			}
		}
	}
	return f
}

// file returns a shard file if its disk is present.
func (f *facts) file(device, seg int) *shard {
	if !f.present[device] {
		return nil
	}
	return f.devices[device].file(seg)
}

// settleLabels makes the labels durable that the membership is judged by.
func (f *facts) settleLabels() {
	for i, d := range f.devices {
		if f.present[i] {
			d.synced = true
		}
	}
}

// settle makes durable what the end of the log is judged by: the shard files of
// the newest segment seen and of its parent.
func (f *facts) settle() {
	tail := f.newest()
	if tail < 0 {
		return
	}
	parent, _ := f.segment(f.segments[tail].parent.Segment)
	for i, d := range f.devices {
		if f.present[i] {
			d.file(tail).sync()
			if parent >= 0 {
				d.file(parent).sync()
			}
		}
	}
}

// newest returns the newest segment of which an opening group is seen, or -1.
func (f *facts) newest() int {
	tail := -1
	for i, s := range f.segments {
		if f.seen[i] > 0 && (tail < 0 || s.id.Compare(f.segments[tail].id) > 0) {
			tail = i
		}
	}
	return tail
}

// labels returns the labels of the present disks.
func (f *facts) labels() []protocol.Label {
	labels := make([]protocol.Label, 0, len(f.slots))
	for i, d := range f.devices {
		if f.present[i] && d.label != nil {
			labels = append(labels, *d.label)
		}
	}
	return labels
}

// Openings implements protocol.Source.
func (f *facts) Openings() []erasure.SegmentID {
	var ids []erasure.SegmentID
	for i, n := range f.seen {
		if n > 0 {
			ids = append(ids, f.segments[i].id)
		}
	}
	return ids
}

// Opening implements protocol.Source.
func (f *facts) Opening(id erasure.SegmentID) *protocol.Opening {
	i, s := f.segment(id)
	if s == nil || f.seen[i] == 0 {
		return nil
	}
	o := &protocol.Opening{Disks: s.disks, Parity: s.parity, Seen: f.seen[i], Parent: s.parent, Acked: s.acked}
	for _, g := range s.copies {
		o.Copies = append(o.Copies, g.Span)
	}
	return o
}

// Absent implements protocol.Source.
func (f *facts) Absent(id erasure.SegmentID, disks []disk.ID) []disk.ID {
	if f.broken&HeaderIsFinal != 0 {
		return nil
	}
	var absent []disk.ID
	i, _ := f.segment(id)
	for _, d := range disks {
		if f.file(deviceIndex(d), i) == nil {
			absent = append(absent, d)
		}
	}
	return absent
}

// Groups implements protocol.Source.
func (f *facts) Groups(id erasure.SegmentID, after, upTo uint64) ([]protocol.Group, error) {
	i, s := f.segment(id)
	if s == nil || f.seen[i] == 0 {
		return nil, errors.New("the segment is not seen")
	}
	var out []protocol.Group
	f.scan(i, func(g *group, whole bool) bool {
		if g.First > after {
			out = append(out, protocol.Group{Span: g.Span, Acked: g.acked, Hash: chainHash(g.serial), Whole: whole})
		}
		return whole && (upTo == 0 || g.Last < upTo)
	})
	return out, nil
}

// scan calls fn with the groups of a segment that are seen, along the chain,
// while it returns true.
func (f *facts) scan(seg int, fn func(g *group, whole bool) bool) {
	s := f.segments[seg]
	last, prev := s.parent.Last, serialOf(s.parent.Hash)
	for {
		g := f.next(seg, last, prev)
		if g == nil || !fn(g, f.parts(seg, g) >= g.data) {
			return
		}
		last, prev = g.Last, g.serial
	}
}

// next returns the group that goes on after last, if any shard shows its header.
func (f *facts) next(seg int, last uint64, prev int) *group {
	for _, d := range f.segments[seg].devices {
		file := f.file(d, seg)
		if file == nil {
			continue
		}
		for _, r := range file.groups {
			if r.header && r.group.First == last+1 && r.group.prev == prev {
				return r.group
			}
		}
	}
	return nil
}

// parts counts the shards of a group that verify whole.
func (f *facts) parts(seg int, g *group) int {
	n := 0
	for _, shard := range g.shards {
		file := f.file(f.segments[seg].devices[shard], seg)
		if file != nil && slices.ContainsFunc(file.groups, func(r record) bool { return r.group == g && r.block }) {
			n++
		}
	}
	return n
}

var errHole = errors.New("hole in the log")

// read returns the groups of the path after sequence from, as a replay does: a
// group that a later opening group carries is taken from there. It stops at a
// hole.
func (f *facts) read(plan *protocol.Plan, from uint64) ([]*group, error) {
	var log, copies []*group
	for _, p := range plan.Path {
		_, s := f.segment(p.Segment)
		copies = append(copies, s.copies...)
	}
	at := from
	for _, p := range plan.Path {
		if p.Last <= at {
			continue
		}
		if p.After > at {
			return log, errHole
		}
		i, s := f.segment(p.Segment)
		last, prev := p.After, serialOf(s.parent.Hash)
		for last < p.Last {
			g := f.next(i, last, prev)
			if c := slices.IndexFunc(copies, func(c *group) bool { return c.First == last+1 && c.prev == prev }); c >= 0 {
				g = copies[c]
			} else if g == nil || f.parts(i, g) < g.data {
				return log, errHole
			}
			last, prev = g.Last, g.serial
			if last > at {
				log = append(log, g)
			}
		}
		at = last
	}
	return log, nil
}
