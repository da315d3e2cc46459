package protocol

import (
	"slices"

	"github.com/cairnstore/cairn/disk"
)

// Membership is what the labels of the present disks say about the pool.
type Membership struct {
	Epoch   Epoch     // the newest epoch that may be in force
	View    []disk.ID // its members
	Present []disk.ID // members that are present
	Absent  []disk.ID // members that are not
	Stale   []disk.ID // present disks outside the view, or that do not hold Epoch
	Next    uint64    // number for the next epoch
}

// Quorum reports whether a cold open may write: more than half of the view is
// present (rule 1).
func (m *Membership) Quorum() bool { return 2*len(m.Present) > len(m.View) }

// KeepsHalf reports whether a running pool with the given view may go on with
// the remaining number of disks: at least half of the view (rule 1).
func KeepsHalf(view, remaining int) bool { return remaining > 0 && 2*remaining >= view }

// DecideMembership judges the labels of the present disks, one a disk. An epoch
// comes into force only when every disk that it lists holds it, so a listed
// disk that holds its parent, or another epoch of the same number, proves that
// it never did: it is passed over, and the next older one is judged. It returns
// a *Refusal if two epochs of one number remain, or if no quorum is present;
// the Membership is valid, for reading, beside an ErrStaleQuorum.
func DecideMembership(labels []Label) (*Membership, error) {
	held := make(map[disk.ID]Epoch, len(labels))
	epochs := make(map[Epoch]*Label, 2)
	m := &Membership{}
	for i := range labels {
		l := &labels[i]
		held[l.Disk] = l.Epoch
		epochs[l.Epoch] = l
		m.Next = max(m.Next, l.Epoch.Number+1)
	}
	var chosen *Label
	for chosen == nil && len(epochs) > 0 {
		top := newest(epochs)
		var alive []*Label
		for _, l := range top {
			if !neverInForce(l, held) {
				alive = append(alive, l)
			}
		}
		switch len(alive) {
		case 0:
			for _, l := range top {
				delete(epochs, l.Epoch)
			}
		case 1:
			chosen = alive[0]
		default:
			return nil, refuse(ErrEpochConflict, absentOf(alive, held), "%v and %v", alive[0].Epoch, alive[1].Epoch)
		}
	}
	if chosen == nil {
		return nil, refuse(ErrStaleQuorum, nil, "no epoch in force is known")
	}
	m.Epoch, m.View = chosen.Epoch, chosen.Members
	for _, d := range m.View {
		if _, ok := held[d]; ok {
			m.Present = append(m.Present, d)
		} else {
			m.Absent = append(m.Absent, d)
		}
	}
	for i := range labels {
		if l := &labels[i]; l.Epoch != m.Epoch {
			m.Stale = append(m.Stale, l.Disk)
		}
	}
	if !m.Quorum() {
		return m, refuse(ErrStaleQuorum, m.Absent, "%d of %d members of epoch %v present", len(m.Present), len(m.View), m.Epoch)
	}
	return m, nil
}

// newest returns the labels of the epochs with the highest number.
func newest(epochs map[Epoch]*Label) []*Label {
	var top []*Label
	for e, l := range epochs {
		switch {
		case len(top) == 0 || e.Number > top[0].Epoch.Number:
			top = append(top[:0], l)
		case e.Number == top[0].Epoch.Number:
			top = append(top, l)
		}
	}
	slices.SortFunc(top, func(a, b *Label) int {
		if a.Epoch.Random < b.Epoch.Random {
			return -1
		}
		return 1
	})
	return top
}

// neverInForce reports whether a present disk that l's epoch lists proves that
// the epoch did not reach it.
func neverInForce(l *Label, held map[disk.ID]Epoch) bool {
	for _, d := range l.Members {
		e, present := held[d]
		if present && e != l.Epoch && (e == l.Parent || e.Number == l.Epoch.Number) {
			return true
		}
	}
	return false
}

func absentOf(labels []*Label, held map[disk.ID]Epoch) []disk.ID {
	var absent []disk.ID
	for _, l := range labels {
		for _, d := range l.Members {
			if _, ok := held[d]; !ok && !slices.Contains(absent, d) {
				absent = append(absent, d)
			}
		}
	}
	return absent
}
