package model

import (
	"slices"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/internal/protocol"
)

// work appends, rolls and drops until the process ends or is closed.
func (h *history) work(r *run) outcome {
	for range 6 {
		var result outcome
		switch n := h.rng.IntN(10); {
		case n < 6 && h.budget > 0:
			h.budget--
			result = r.append(r.compose())
		case n == 6:
			h.events.Rolls++
			result = r.advance(r.after(), false, (*protocol.Membership).KeepsWith)
		case n == 7 && len(r.live) > 1:
			r.drop(r.live[h.rng.IntN(len(r.live))])
			result = r.advance(r.after(), true, (*protocol.Membership).KeepsWith)
		case n >= 8:
			return done
		}
		switch result {
		case crashed:
			return crashed
		case refused:
			h.events.Stops++
			h.note("  too few disks are left")
			return crashed
		}
	}
	return done
}

// after is the opening group of a segment that goes on after the last group.
func (r *run) after() opening {
	return opening{Parent: protocol.Parent{Segment: r.segments[r.tail].id, Last: r.last, Hash: chainHash(r.prev)}, acked: r.last}
}

// compose makes the next group.
func (r *run) compose() group {
	r.serials++
	g := group{serial: r.serials, prev: r.prev}
	g.First = r.last + 1
	g.Last = g.First + uint64(r.rng.IntN(2))
	return g
}

// append writes content to the tail until it is acknowledged. When a disk fails
// under it, the same content goes to the next segment.
func (r *run) append(content group) outcome {
	for {
		g := content
		g.acked = r.last
		s := r.segments[r.tail]
		r.place(&g, s)
		if len(g.shards) == 0 {
			return refused
		}
		s.groups = append(s.groups, &g)
		whole := len(g.shards)
		if enough := g.data + 1; r.broken&DegradedAck != 0 && enough < whole && r.chance(300) {
			whole = enough
		}
		switch n := r.rng.IntN(100); {
		case n < 25:
			r.events.GroupCrashes++
			r.note("  crash: group g%d (%d..%d, k'=%d) is on %q of %s of s%d", g.serial, g.First, g.Last, g.data, r.scatter(&g), r.where(&g), r.tail)
			return crashed
		case n < 35 && len(r.live) > 1:
			failed := s.devices[g.shards[r.rng.IntN(len(g.shards))]]
			r.note("  group g%d (%d..%d, k'=%d) is on %q of %s of s%d when a disk fails", g.serial, g.First, g.Last, g.data, r.scatter(&g), r.where(&g), r.tail)
			r.drop(failed)
			r.events.Rewrites++
			if result := r.advance(r.after(), true, (*protocol.Membership).KeepsWith); result != done {
				return result
			}
			continue
		}
		for _, shard := range g.shards[:whole] {
			file := r.devices[s.devices[shard]].file(r.tail)
			file.groups = append(file.groups, record{group: &g, header: true, block: true, synced: true})
		}
		r.last, r.prev = g.Last, g.serial
		r.shown = append(r.shown, &g)
		r.events.Acked++
		r.note("  group g%d (%d..%d, k'=%d) is acknowledged on %s of s%d", g.serial, g.First, g.Last, g.data, r.where(&g)[:len(g.shards[:whole])*r.lettering()], r.tail)
		return done
	}
}

// place draws k' and the shards of a group; none if too few can be written.
func (r *run) place(g *group, s *segment) {
	var shards []int
	for _, shard := range r.rng.Perm(len(s.devices)) {
		if slices.Contains(r.live, s.devices[shard]) {
			shards = append(shards, shard)
		}
	}
	g.data = 1
	if most := len(shards) - s.parity; most > 1 && r.chance(500) {
		g.data = 1 + r.rng.IntN(most)
	}
	if n := g.data + s.parity; n <= len(shards) {
		g.shards = shards[:n]
	}
}

// scatter writes what a crash in mid-group may leave.
func (r *run) scatter(g *group) string {
	wrote := ""
	for _, shard := range g.shards {
		d := r.devices[r.segments[r.tail].devices[shard]]
		file := d.file(r.tail)
		rec := r.unfinished(g)
		if n := len(file.groups); r.broken&Unaligned != 0 && !rec.block {
			// The torn sector held the end of what came before.
			if n > 0 {
				file.groups[n-1].block = false
			} else {
				file.opening.block = false
			}
		}
		file.groups = append(file.groups, rec)
		if rec.block && r.traced {
			wrote += name(d.id)
		}
	}
	return wrote
}

func (r *run) where(g *group) string {
	ids := make([]disk.ID, len(g.shards))
	for i, shard := range g.shards {
		ids[i] = r.segments[r.tail].disks[shard]
	}
	return r.letters(ids)
}

func (h *history) lettering() int {
	if h.traced {
		return 1
	}
	return 0
}

// close ends the run in order: labels say what is acknowledged, sometimes.
func (r *run) close() string {
	if r.chance(500) {
		r.note("  killed while idle")
		return r.end()
	}
	l := &protocol.Label{Epoch: r.members.Epoch, Parent: r.attempts[len(r.attempts)-1].parent, Members: r.members.View, Acked: r.last, Segments: r.name(r.named)}
	_, result := r.writeLabels(l)
	r.note("  closed")
	if result != done {
		return r.end()
	}
	r.events.Closes++
	return ""
}

// reuse is the switch AppendToTail: go on in the segment that was open, over
// what does not count.
func (r *run) reuse(f *facts, plan *protocol.Plan) bool {
	seg, s := r.segment(plan.End.Segment)
	if s == nil || f.seen[seg] < len(s.devices)-s.parity {
		return false
	}
	r.tail = seg
	here := 0
	for _, d := range s.devices {
		file := f.file(d, seg)
		if file == nil {
			continue
		}
		here++
		file.groups = slices.DeleteFunc(file.groups, func(rec record) bool { return rec.group.Last > plan.End.Last })
		for _, g := range s.groups { // unproved ones are made whole in place
			if g.Last > plan.Acked && g.Last <= plan.End.Last && !slices.ContainsFunc(file.groups, func(rec record) bool { return rec.group == g }) {
				file.groups = append(file.groups, record{group: g, header: true, block: true, synced: true})
			}
		}
	}
	if here <= s.parity {
		return false
	}
	r.note("  s%d is appended to", seg)
	e := protocol.Epoch{Number: r.members.Next, Random: r.rng.Uint64()}
	l := &protocol.Label{Epoch: e, Parent: r.members.Epoch, Members: r.ids(), Segments: r.named, Acked: plan.Acked}
	r.attempts = append(r.attempts, attempt{Epoch: e, members: l.Members, opened: true, parent: l.Parent})
	r.members = r.members.Begin(e, l.Members)
	r.members.Settle()
	for _, d := range r.live {
		own := *l
		own.Disk = r.devices[d].id
		r.devices[d].write(&own, true)
	}
	return true
}
