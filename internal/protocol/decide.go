package protocol

import (
	"slices"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/erasure"
)

// Parent says where a log segment continues: after sequence Last, whose chain
// hash is Hash, with Segment as its predecessor on the path. The zero Parent
// begins the log.
type Parent struct {
	Segment erasure.SegmentID
	Last    uint64
	Hash    [32]byte
}

// Span is a group, by its first and last sequence.
type Span struct{ First, Last uint64 }

// Opening is what was seen of a segment's opening group.
type Opening struct {
	Disks  []disk.ID // in shard order
	Parity int
	Seen   int // verified copies, at least 1
	Parent Parent
	Acked  uint64 // highest acknowledged sequence it carries
	Copies []Span // tail groups that it carries whole, in order
}

// Group is what was seen of one group.
type Group struct {
	Span
	Acked uint64   // highest acknowledged sequence its header carries
	Hash  [32]byte // chain hash after it, if Whole
	Whole bool     // k' of its shards verify
}

// Source gives the facts that a decision needs.
type Source interface {
	// Openings returns the segments of which at least one verified copy of the
	// opening group was seen, in any order.
	Openings() []erasure.SegmentID
	// Opening returns what was seen of one of them.
	Opening(id erasure.SegmentID) *Opening
	// Absent returns which of the disks cannot speak for the segment: not
	// present, file missing, or unreadable (rule 4).
	Absent(id erasure.SegmentID, disks []disk.ID) []disk.ID
	// Groups returns the groups of the segment that follow sequence after, in
	// order and without gaps, up to upTo if that is not 0; the last one may be
	// one that is seen but not Whole.
	Groups(id erasure.SegmentID, after, upTo uint64) ([]Group, error)
}

// Piece is a part of the log: the groups of a segment after sequence After,
// through Last. Groups that a later opening group carries are read there.
type Piece struct {
	Segment     erasure.SegmentID
	After, Last uint64
}

// Copy is a group to write again into the next opening group, and the segment
// to read it from: from its opening group if Opening, else from its place.
type Copy struct {
	Span
	Segment erasure.SegmentID
	Opening bool
}

// Plan is what an open that writes does with the log.
type Plan struct {
	// Path is the log, oldest piece first, from the piece that holds sequence
	// From+1. Pieces may be empty.
	Path []Piece
	// End is where the log ends: the parent for the next segment. It holds the
	// segment that becomes the parent, not necessarily the newest one.
	End Parent
	// Acked is the highest sequence proved to be acknowledged, at most End.Last:
	// after a refusal, of what is seen. Groups after it, one at most, may be
	// shown by a reader but need not stay.
	Acked uint64
	// Relog lists the groups that the next opening group must carry.
	Relog []Copy
	// Named lists the segments that labels must go on naming, newest first,
	// down to the parent.
	Named []Named
}

// Facts are what labels and index contribute.
type Facts struct {
	Labels []Label // of all present disks
	From   uint64  // the index holds everything up to here; 0: nothing
}

// Decide finds the log in what was seen (rules 2 and 4). A *Refusal means that
// the store may only be read; the Plan beside it, if any, holds the readable
// part of the log, with nothing to write again.
func Decide(src Source, f Facts) (*Plan, error) {
	named := namedBy(f.Labels)
	openings := slices.Clone(src.Openings())
	slices.SortFunc(openings, erasure.SegmentID.Compare)
	var tail erasure.SegmentID
	if len(openings) > 0 {
		tail = openings[len(openings)-1]
	}
	// acked is the highest sequence that was acknowledged; here is what of that
	// is about this tail. A label that names a newer tail may count groups
	// that went there in place of what is seen at the end of this one.
	acked, here := f.From, f.From
	for i := range f.Labels {
		l := &f.Labels[i]
		acked = max(acked, l.Acked)
		if len(l.Segments) == 0 || l.Segments[0].ID.Compare(tail) <= 0 {
			here = max(here, l.Acked)
		}
	}
	// A segment newer than every opening group seen: it never came to hold an
	// acknowledged group if its opening group would have to be seen.
	var refusal *Refusal
	for _, n := range named {
		if n.ID.Compare(tail) <= 0 {
			continue
		}
		if gone := src.Absent(n.ID, n.Disks); len(gone) > n.Parity && refusal == nil {
			refusal = refuse(ErrLogMissing, gone, "segment %v was named as the tail and %d of its %d disks are absent", n.ID, len(gone), len(n.Disks))
		}
	}
	if tail.IsZero() {
		if refusal == nil && acked > 0 {
			refusal = refuse(ErrLogMissing, nil, "sequence %d was acknowledged and no log is seen", acked)
		}
		return &Plan{Named: named}, asError(refusal)
	}

	plan, r := walk(src, tail, f.From)
	if refusal == nil {
		refusal = r
	}
	if plan == nil {
		return nil, asError(refusal)
	}
	o := src.Opening(tail)
	here = max(here, o.Acked)
	groups, err := src.Groups(tail, o.Parent.Last, 0)
	if err != nil {
		return nil, err
	}
	end := Parent{Segment: tail, Last: o.Parent.Last, Hash: o.Parent.Hash}
	whole := 0
	for _, g := range groups {
		here = max(here, g.Acked)
		if !g.Whole {
			break
		}
		end.Last, end.Hash = g.Last, g.Hash
		whole++
	}
	acked = max(acked, here)
	plan.Path[len(plan.Path)-1].Last = end.Last
	if gone := src.Absent(tail, o.Disks); len(gone) > o.Parity && refusal == nil {
		refusal = refuse(ErrLogMissing, gone, "%d of the %d disks of the tail segment %v are absent", len(gone), len(o.Disks), tail)
	}
	if acked > end.Last && refusal == nil {
		refusal = refuse(ErrLogMissing, src.Absent(tail, o.Disks), "sequence %d was acknowledged and the log seen ends at %d", acked, end.Last)
	}
	plan.End, plan.Acked = end, min(here, end.Last)
	if refusal != nil {
		return plan, refusal
	}
	plan.Acked = min(acked, end.Last)

	if whole == 0 && o.Seen < len(o.Disks) {
		// A torn opening group is no parent: it is taken over. What it carries
		// may be needed and may have been shown, whatever else is proved.
		plan.End.Segment = o.Parent.Segment
		for _, c := range o.Copies {
			plan.Relog = append(plan.Relog, Copy{Span: c, Segment: tail, Opening: true})
		}
	}
	for _, g := range groups[:whole] {
		if g.Last > acked {
			plan.Relog = append(plan.Relog, Copy{Span: g.Span, Segment: tail})
		}
	}
	plan.Named = keepNamed(src, named, openings, plan.End.Segment)
	return plan, nil
}

// walk follows parents back from tail to the piece that holds from+1. A parent
// that is needed and not seen is ErrLogMissing; the pieces after it are still
// returned, but the log that they belong to has a hole.
func walk(src Source, tail erasure.SegmentID, from uint64) (*Plan, *Refusal) {
	plan := &Plan{}
	id, last := tail, uint64(0)
	for {
		o := src.Opening(id)
		if o == nil {
			return plan, refuse(ErrLogMissing, nil, "segment %v, a parent on the path, is not seen", id)
		}
		plan.Path = slices.Insert(plan.Path, 0, Piece{Segment: id, After: o.Parent.Last, Last: last})
		if o.Parent.Segment.IsZero() || (from > 0 && o.Parent.Last <= from) {
			return plan, nil
		}
		id, last = o.Parent.Segment, o.Parent.Last
	}
}

// namedBy merges the segments that labels name, newest first.
func namedBy(labels []Label) []Named {
	var named []Named
	for i := range labels {
		for _, n := range labels[i].Segments {
			if !slices.ContainsFunc(named, func(o Named) bool { return o.ID == n.ID }) {
				named = append(named, n)
			}
		}
	}
	slices.SortFunc(named, func(a, b Named) int { return b.ID.Compare(a.ID) })
	return named
}

// keepNamed returns what the next labels must name beside their new tail:
// every segment named or seen that is newer than the parent, and the parent.
func keepNamed(src Source, named []Named, seen []erasure.SegmentID, parent erasure.SegmentID) []Named {
	var keep []Named
	for _, n := range named {
		if n.ID.Compare(parent) >= 0 {
			keep = append(keep, n)
		}
	}
	for _, id := range seen {
		if id.Compare(parent) >= 0 && !slices.ContainsFunc(keep, func(n Named) bool { return n.ID == id }) {
			o := src.Opening(id)
			keep = append(keep, Named{ID: id, Parity: o.Parity, Disks: o.Disks})
		}
	}
	slices.SortFunc(keep, func(a, b Named) int { return b.ID.Compare(a.ID) })
	return keep
}

func asError(r *Refusal) error {
	if r == nil {
		return nil
	}
	return r
}
