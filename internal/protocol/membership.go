package protocol

import (
	"slices"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/erasure"
)

// MaxBeside bounds how many views a label lists beside its own. It takes as
// many crashed opens in a row, each with other disks, to get there.
const MaxBeside = 16

// Membership says which disks form the pool, and which of them must be there
// for the next epoch.
type Membership struct {
	Epoch Epoch     // the newest epoch that may be in force
	View  []disk.ID // its members
	// Beside are the views of the other epochs that may be in force instead,
	// because Epoch is not known to have come into force; empty if it is.
	Beside []View

	Present []disk.ID // members that are present
	Absent  []disk.ID // members that are not
	Stale   []disk.ID // present disks that do not hold Epoch
	Next    uint64    // number for the next epoch

	quorum bool
}

// Quorum reports whether a cold open may write: more than half of the view, and
// of every view beside it, is present (rule 1).
func (m *Membership) Quorum() bool { return m.quorum }

// OpensWith reports whether a cold open may make its epoch of the given disks.
func (m *Membership) OpensWith(disks []disk.ID) bool {
	return m.each(func(view []disk.ID) bool { return 2*count(view, disks) > len(view) })
}

// KeepsWith reports whether a running pool may go on with the given disks: at
// least half of the view, and of every view beside it (rule 1).
func (m *Membership) KeepsWith(disks []disk.ID) bool {
	return len(disks) > 0 && m.each(func(view []disk.ID) bool { return 2*count(view, disks) >= len(view) })
}

// Begin returns the membership once labels of epoch e may have been written:
// e may be in force, and so may all that could be before. Its Epoch, View and
// Beside are what those labels say, and their Parent is m.Epoch. An attempt
// that fails is left behind by beginning the next one from the result.
func (m *Membership) Begin(e Epoch, members []disk.ID) *Membership {
	next := &Membership{Epoch: e, View: members, Present: members, Next: max(m.Next, e.Number+1)}
	next.addBeside(View{m.Epoch, m.View})
	for _, v := range m.Beside {
		next.addBeside(v)
	}
	return next
}

// Settle records that Epoch came into force: every member holds it. Labels that
// are written from now on have nothing beside them.
func (m *Membership) Settle() { m.Beside = nil }

// KeepsHalf reports whether a running pool with the given view may go on with
// the remaining number of its disks: at least half of the view (rule 1).
func KeepsHalf(view, remaining int) bool { return remaining > 0 && 2*remaining >= view }

// DecideMembership judges the labels of the present disks, one a disk, with the
// opening groups seen on them. Nothing is written under an epoch, labels apart,
// before every disk that it lists holds it. So an opening group of an epoch, or
// a label that knows so, proves that it came into force, and a listed disk that
// did not get it proves that it did not. An epoch that is neither proved nor
// disproved may be in force: open goes on from the newest such epoch if more
// than half of it *and* of every other that may be in force is present.
//
// It returns a *Refusal if that is not so; the Membership beside it serves for
// reading, and is nil if two epochs with one number are both proved or if no
// label tells of an epoch in force.
func DecideMembership(labels []Label, openings ...erasure.SegmentID) (*Membership, error) {
	m := &Membership{}
	present := make([]disk.ID, len(labels))
	for i := range labels {
		present[i] = labels[i].Disk
		m.Next = max(m.Next, labels[i].Epoch.Number+1)
		for _, n := range labels[i].Segments {
			m.Next = max(m.Next, n.ID.Epoch+1)
		}
	}
	for _, id := range openings {
		m.Next = max(m.Next, id.Epoch+1)
	}

	var base *epoch        // the newest epoch proved to be in force
	var undecided []*epoch // those that may have come after it, newest first
	for _, e := range epochsOf(labels) {
		if base != nil && e.Epoch.Number < base.Epoch.Number {
			break
		}
		switch {
		case !e.proved(labels, openings):
			if !e.disproved(labels) {
				undecided = append(undecided, e)
			}
		case base != nil:
			return nil, refuse(ErrEpochConflict, nil, "%v and %v both came into force", base.Epoch, e.Epoch)
		default:
			base = e
		}
	}
	if base != nil {
		m.Epoch, m.View = base.Epoch, base.Members
		// An epoch that passes over the one in force cannot have come after it.
		undecided = slices.DeleteFunc(undecided, func(e *epoch) bool { return e.label != nil && passesOver(e.label, base.Epoch) })
	}
	if len(undecided) > 0 {
		m.Epoch, m.View = undecided[0].Epoch, undecided[0].Members
		for _, e := range undecided {
			m.addBeside(e.View)
			if e.label == nil {
				continue
			}
			for _, v := range e.label.Beside {
				m.addBeside(v)
			}
		}
		if base != nil {
			m.addBeside(base.View)
		}
	}
	if m.Epoch.Number == 0 {
		return nil, refuse(ErrStaleQuorum, nil, "no epoch in force is known")
	}

	for _, d := range m.View {
		if slices.Contains(present, d) {
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
	m.quorum = m.OpensWith(present) && len(m.Beside) < MaxBeside
	switch {
	case m.quorum:
		return m, nil
	case len(undecided) > 1 && undecided[1].Epoch.Number == m.Epoch.Number:
		return m, refuse(ErrEpochConflict, m.missing(present), "%v and %v", m.Epoch, undecided[1].Epoch)
	case 2*len(m.Present) > len(m.View):
		return m, refuse(ErrStaleQuorum, m.missing(present), "epoch %v may not have come into force, and half or fewer of a view before it are present", m.Epoch)
	default:
		return m, refuse(ErrStaleQuorum, m.missing(present), "%d of %d members of epoch %v present", len(m.Present), len(m.View), m.Epoch)
	}
}

// epoch is one that a label holds, or that the views beside a label tell of.
type epoch struct {
	View
	label *Label // one that holds it; nil: none does any more
}

// epochsOf returns all epochs that labels tell of, the newest first.
func epochsOf(labels []Label) []*epoch {
	var epochs []*epoch
	add := func(v View, l *Label) {
		if v.Epoch.Number > 0 && !slices.ContainsFunc(epochs, func(e *epoch) bool { return e.Epoch == v.Epoch }) {
			epochs = append(epochs, &epoch{v, l})
		}
	}
	for i := range labels {
		add(View{labels[i].Epoch, labels[i].Members}, &labels[i])
	}
	for i := range labels {
		for _, v := range labels[i].Beside {
			add(v, nil)
		}
	}
	slices.SortFunc(epochs, func(a, b *epoch) int { return b.Epoch.compare(a.Epoch) })
	return epochs
}

// proved reports whether e is known to have come into force. A proof outweighs
// a disk that does not hold it: that is an old copy of itself.
func (e *epoch) proved(labels []Label, openings []erasure.SegmentID) bool {
	for _, id := range openings {
		if id.Epoch == e.Epoch.Number && id.Random == e.Epoch.Random {
			return true
		}
	}
	holders := 0
	for i := range labels {
		if l := &labels[i]; l.Epoch == e.Epoch {
			if len(l.Beside) == 0 {
				return true
			}
			if slices.Contains(e.Members, l.Disk) {
				holders++
			}
		}
	}
	return holders > 0 && holders == len(e.Members)
}

// disproved reports whether a present disk shows that e, which lists it, is not
// in force. It holds an older label: e did not reach it. Or it holds a newer one
// that does not count e among what could be in force, and whose maker, seeing
// this disk, would have known: e did not reach it then, or was succeeded since.
func (e *epoch) disproved(labels []Label) bool {
	for i := range labels {
		l := &labels[i]
		if l.Epoch == e.Epoch || !slices.Contains(e.Members, l.Disk) {
			continue
		}
		// Beside keeps one epoch of each set of disks, which speaks for all.
		counts := func(v View) bool { return v.Epoch == e.Epoch || slices.Equal(v.Members, e.Members) }
		if l.Epoch.Number < e.Epoch.Number || !slices.ContainsFunc(l.Beside, counts) {
			return true
		}
	}
	return false
}

// passesOver reports whether l's epoch does not go on from e, nor from anything
// newer.
func passesOver(l *Label, e Epoch) bool {
	return l.Parent.Number < e.Number || l.Parent.Number == e.Number && l.Parent != e
}

func (m *Membership) addBeside(v View) {
	if v.Epoch.Number == 0 {
		return
	}
	for i, o := range m.Beside {
		if slices.Equal(o.Members, v.Members) {
			if v.Epoch.compare(o.Epoch) > 0 {
				m.Beside[i] = v
			}
			return
		}
	}
	m.Beside = append(m.Beside, v)
}

func (m *Membership) each(ok func(view []disk.ID) bool) bool {
	return ok(m.View) && !slices.ContainsFunc(m.Beside, func(v View) bool { return !ok(v.Members) })
}

// missing returns the disks of all views that are not present.
func (m *Membership) missing(present []disk.ID) []disk.ID {
	var absent []disk.ID
	for _, v := range append([]View{{m.Epoch, m.View}}, m.Beside...) {
		for _, d := range v.Members {
			if !slices.Contains(present, d) && !slices.Contains(absent, d) {
				absent = append(absent, d)
			}
		}
	}
	return absent
}

func count(view, disks []disk.ID) int {
	n := 0
	for _, d := range view {
		if slices.Contains(disks, d) {
			n++
		}
	}
	return n
}
