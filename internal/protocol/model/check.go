package model

import (
	"fmt"
	"slices"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/internal/protocol"
)

// checkWriter compares the log of an open that will write with what was shown:
// it must hold all of that, and at most the one group that was in flight.
func (h *history) checkWriter(plan *protocol.Plan, log []*group) string {
	for i, g := range h.shown {
		if i >= len(log) {
			return fmt.Sprintf("group g%d (%d..%d) was shown and the log ends before it", g.serial, g.First, g.Last)
		}
		if log[i].serial != g.serial || log[i].Span != g.Span {
			return fmt.Sprintf("group g%d (%d..%d) was shown and the log has g%d there", g.serial, g.First, g.Last, log[i].serial)
		}
	}
	if len(log) > len(h.shown)+1 {
		return fmt.Sprintf("%d groups past what was shown", len(log)-len(h.shown))
	}
	prev, last := 0, uint64(0)
	for _, g := range log {
		if g.prev != prev || g.First != last+1 {
			return fmt.Sprintf("group g%d does not follow g%d", g.serial, prev)
		}
		prev, last = g.serial, g.Last
	}
	if last != plan.End.Last || chainHash(prev) != plan.End.Hash {
		return fmt.Sprintf("the log read ends at %d, the one decided at %d", last, plan.End.Last)
	}
	if len(plan.Relog) > 2 {
		return fmt.Sprintf("%d groups to write again", len(plan.Relog))
	}
	if plan.Acked > h.acked() {
		return fmt.Sprintf("sequence %d is held to be acknowledged", plan.Acked)
	}
	return ""
}

// acked is the last sequence that was shown.
func (h *history) acked() uint64 {
	if len(h.shown) == 0 {
		return 0
	}
	return h.shown[len(h.shown)-1].Last
}

// checkReader compares what an open that may not write can read. All of it must
// be what was shown, but for one group at the end that nothing proves.
func (h *history) checkReader(plan *protocol.Plan, log []*group) string {
	for i, g := range log {
		if i < len(h.shown) && h.shown[i].serial == g.serial {
			continue
		}
		if i == len(log)-1 && g.Last > plan.Acked {
			break
		}
		return fmt.Sprintf("a reader sees g%d (%d..%d) at place %d", g.serial, g.First, g.Last, i)
	}
	return ""
}

// decided reports whether the membership must be decided with these disks
// (docs/format/log.md, "What is promised"): more than half of the view in force
// is there, and so it is of every epoch begun since that the labels tell of,
// and of the views beside it, but for those that a present disk of the view in
// force never got although it is listed.
func (h *history) decided(present []bool) bool {
	n := len(h.attempts) - 1
	for !h.attempts[n].opened {
		n--
	}
	view := h.attempts[n].members
	if !h.majority(view, present) {
		return false
	}
	for i := n + 1; i < len(h.attempts); i++ {
		a := &h.attempts[i]
		if !h.told(a, present) || h.missed(a, view, present) {
			continue
		}
		if !h.majority(a.members, present) || slices.ContainsFunc(a.beside, func(v protocol.View) bool { return !h.majority(v.Members, present) }) {
			return false
		}
	}
	return true
}

// labelled returns the device of a disk that is present with a readable label.
func (h *history) labelled(id disk.ID, present []bool) *device {
	if i := deviceIndex(id); present[i] && h.devices[i].label != nil {
		return h.devices[i]
	}
	return nil
}

func (h *history) majority(view []disk.ID, present []bool) bool {
	n := 0
	for _, id := range view {
		if h.labelled(id, present) != nil {
			n++
		}
	}
	return 2*n > len(view)
}

// told reports whether the label of a present disk tells of the epoch.
func (h *history) told(a *attempt, present []bool) bool {
	for i, d := range h.devices {
		if !present[i] || d.label == nil {
			continue
		}
		if d.label.Epoch == a.Epoch || slices.ContainsFunc(d.label.Beside, func(v protocol.View) bool { return v.Epoch == a.Epoch }) {
			return true
		}
	}
	return false
}

// missed reports whether a present disk of view that a lists never held it.
func (h *history) missed(a *attempt, view []disk.ID, present []bool) bool {
	return slices.ContainsFunc(a.members, func(id disk.ID) bool {
		d := h.labelled(id, present)
		return d != nil && !slices.Contains(d.held, a.Epoch) && slices.Contains(view, id)
	})
}
