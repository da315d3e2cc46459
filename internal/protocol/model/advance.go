package model

import (
	"fmt"
	"slices"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/erasure"
	"github.com/cairnstore/cairn/internal/protocol"
)

// opening is what the next tail's opening group says.
type opening struct {
	protocol.Parent
	acked  uint64
	copies []*group
}

// advance makes a new tail, under a new epoch if fresh is set or a disk fails on
// the way (rule 2): files, then labels on every member, then the opening group.
func (r *run) advance(o opening, fresh bool, mayGoOn func(*protocol.Membership, []disk.ID) bool) outcome {
	for {
		ids := r.ids()
		if fresh {
			if !mayGoOn(r.members, ids) {
				return refused
			}
		}
		data, parity, ok := r.narrow(len(r.live))
		if !ok {
			return refused
		}
		parent := r.members.Epoch
		if fresh {
			e := protocol.Epoch{Number: r.members.Next, Random: r.rng.Uint64()}
			r.members = r.members.Begin(e, ids)
			if r.broken&NoViewsBeside != 0 {
				r.members.Beside = nil
			}
			r.attempts = append(r.attempts, attempt{Epoch: e, members: ids, beside: r.members.Beside, parent: parent})
			r.counter = 0
		}
		r.counter++
		seg, result := r.create(o, data+parity, parity)
		if result == crashed {
			return crashed
		}
		s := r.segments[seg]
		// Labels go on naming the tails of attempts that failed.
		r.named = append([]protocol.Named{{ID: s.id, Parity: parity, Disks: s.disks}}, r.named...)
		if !fresh {
			parent = r.attempts[len(r.attempts)-1].parent
		}
		l := &protocol.Label{Epoch: r.members.Epoch, Parent: parent, Members: r.members.View, Beside: r.members.Beside, Acked: o.acked}
		l.Segments = r.name(r.named)
		failed, result := r.writeLabels(l)
		if result == done {
			failed, result = r.writeOpening(seg)
		}
		switch {
		case result == crashed:
			return crashed
		case failed < 0:
			r.members.Settle()
			for i := range r.attempts {
				if r.attempts[i].Epoch == r.members.Epoch {
					r.attempts[i].opened = true
				}
			}
			r.tail, r.named = seg, r.named[:1]
			r.note("  s%d is the tail", seg)
			return done
		}
		r.drop(failed)
		fresh = true
	}
}

// name is what labels say of the segments that they name.
func (r *run) name(named []protocol.Named) []protocol.Named {
	if r.broken&NoParent != 0 {
		named = named[:1]
	}
	named = slices.Clone(named)
	if r.broken&NoDiskLists != 0 {
		for i := range named {
			named[i].Disks = nil
		}
	}
	return named
}

// ids returns the ids of the live disks, sorted.
func (r *run) ids() []disk.ID {
	ids := make([]disk.ID, len(r.live))
	for i, d := range r.live {
		ids[i] = r.devices[d].id
	}
	return ids
}

func (r *run) drop(device int) {
	r.note("  disk %s fails and is dropped", name(r.devices[device].id))
	r.events.Drops++
	r.live = slices.DeleteFunc(slices.Clone(r.live), func(d int) bool { return d == device })
}

// create makes the files of a new segment on n of the live disks.
func (r *run) create(o opening, n, parity int) (int, outcome) {
	s := &segment{
		id:     erasure.SegmentID{Epoch: r.members.Epoch.Number, Random: r.members.Epoch.Random, Counter: r.counter},
		parity: parity, parent: o.Parent, acked: o.acked, copies: o.copies,
	}
	for _, i := range r.rng.Perm(len(r.live))[:n] {
		s.devices = append(s.devices, r.live[i])
		s.disks = append(s.disks, r.devices[r.live[i]].id)
	}
	r.minParity = min(r.minParity, parity)
	seg := len(r.segments)
	r.segments = append(r.segments, s)
	stop := n
	if r.chance(20) {
		stop = r.rng.IntN(n)
	}
	for _, d := range s.devices[:stop] {
		r.devices[d].create(seg)
	}
	if stop < n {
		r.note("  crash: s%d has %d of its %d files", seg, stop, n)
		return seg, crashed
	}
	return seg, done
}

// writeLabels replaces the labels of all members, one after another. A crash
// leaves the rest with their old ones. It returns a disk that failed, or -1.
func (r *run) writeLabels(l *protocol.Label) (failed int, result outcome) {
	order := r.rng.Perm(len(r.live))
	stop, fail := len(order), -1
	if r.chance(r.storm) {
		stop = r.rng.IntN(len(order) + 1)
		r.events.LabelCrashes++
	} else if r.chance(25) && len(order) > 1 {
		fail = r.rng.IntN(len(order))
	} else {
		stop++
	}
	enough := len(order)
	if r.broken&MajorityOfLabels != 0 {
		enough = len(order)/2 + 1
	}
	wrote := ""
	for i, at := range order[:enough] {
		d := r.devices[r.live[at]]
		own := *l
		own.Disk = d.id
		switch i {
		case stop:
			if r.chance(500) { // the write that is under way may show
				d.write(&own, false)
				wrote += name(d.id) + "?"
			}
			r.note("  crash: epoch %d over %s is in the labels of %q", l.Epoch.Number, r.letters(l.Members), wrote)
			return -1, crashed
		case fail:
			if r.chance(500) {
				d.write(&own, r.chance(500))
			}
			r.note("  the label of epoch %d fails on disk %s after %q", l.Epoch.Number, name(d.id), wrote)
			// The others are written at the same time.
			for _, at := range order[i+1:] {
				d := r.devices[r.live[at]]
				own := *l
				own.Disk = d.id
				d.write(&own, true)
			}
			return r.live[at], refused
		}
		d.write(&own, true)
		if r.traced {
			wrote += name(d.id)
		}
	}
	if stop == len(order) {
		r.note("  crash: epoch %d over %s is in all labels", l.Epoch.Number, r.letters(l.Members))
		return -1, crashed
	}
	r.note("  epoch %d over %s: labels on %s, naming %s", l.Epoch.Number, r.letters(l.Members), wrote, r.describe(l.Segments))
	return -1, done
}

// writeOpening writes the opening group to all shards at once. It returns a
// disk that failed, or -1.
func (r *run) writeOpening(seg int) (failed int, result outcome) {
	s := r.segments[seg]
	failed, crash := -1, r.chance(200)
	if !crash && r.chance(25) && len(r.live) > 1 {
		failed = r.rng.IntN(len(s.devices))
	}
	wrote := ""
	for i, d := range s.devices {
		rec := record{header: true, block: true, synced: true}
		if crash || i == failed {
			rec = r.unfinished(nil)
		}
		r.devices[d].file(seg).opening = rec
		if rec.block && r.traced {
			wrote += name(r.devices[d].id)
		}
	}
	if crash {
		r.events.OpeningCrashes++
		r.note("  crash: the opening group of s%d, after s%d/%d with %d copies, is on %q of %s",
			seg, r.index(s.parent.Segment), s.parent.Last, len(s.copies), wrote, r.letters(s.disks))
		return -1, crashed
	}
	if failed >= 0 {
		r.note("  the opening group of s%d fails on disk %s", seg, name(s.disks[failed]))
		return s.devices[failed], refused
	}
	r.note("  s%d on %s opens after s%d/%d, copies of %s", seg, r.letters(s.disks), r.index(s.parent.Segment), s.parent.Last, serials(s.copies))
	return -1, done
}

// unfinished is a record whose write may not have begun, or not have ended, or
// not be durable.
func (r *run) unfinished(g *group) record {
	switch r.rng.IntN(3) {
	case 0:
		return record{group: g, synced: true}
	case 1:
		return record{group: g, header: true, block: true, synced: true}
	default:
		rec := record{group: g, header: true, block: true}
		if r.chance(300) {
			rec = rec.tear(r.rng) // killed within the write
		}
		return rec
	}
}

func (h *history) index(id erasure.SegmentID) int {
	i, _ := h.segment(id)
	return i
}

func (h *history) letters(ids []disk.ID) string {
	if !h.traced {
		return ""
	}
	s := ""
	for _, id := range ids {
		s += name(id)
	}
	return s
}

func (h *history) describe(named []protocol.Named) string {
	if !h.traced {
		return ""
	}
	s := ""
	for _, n := range named {
		s += fmt.Sprintf(" s%d(%s)", h.index(n.ID), h.letters(n.Disks))
	}
	return s[1:]
}

func serials(groups []*group) string {
	if len(groups) == 0 {
		return "nothing"
	}
	s := ""
	for _, g := range groups {
		s += fmt.Sprintf(" g%d", g.serial)
	}
	return s[1:]
}
