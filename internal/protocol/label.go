package protocol

import (
	"cmp"
	"fmt"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/erasure"
)

// Epoch identifies one membership of the pool. Numbers grow along the history
// of a pool; the random part tells apart two epochs that were given one number
// by openers that did not see each other.
type Epoch struct {
	Number uint64 // from 1; 0 is no epoch
	Random uint64
}

func (e Epoch) String() string { return fmt.Sprintf("%d/%016x", e.Number, e.Random) }

// compare orders epochs by number, then random part.
func (e Epoch) compare(o Epoch) int {
	return cmp.Or(cmp.Compare(e.Number, o.Number), cmp.Compare(e.Random, o.Random))
}

// View is an epoch with its members.
type View struct {
	Epoch   Epoch
	Members []disk.ID // sorted
}

// Named is a log segment as a label names it, with the disks that hold its
// shards, so that its absence can be judged when no shard of it is seen.
type Named struct {
	ID     erasure.SegmentID
	Parity int // m of the segment
	Disks  []disk.ID
}

// Label is a disk's identity card.
type Label struct {
	Pool       erasure.PoolID
	Disk       disk.ID
	Generation uint64 // grows with each rewrite of this disk's label

	Epoch   Epoch
	Parent  Epoch     // the newest epoch that could be in force when Epoch was made
	Members []disk.ID // all log-capable disks of Epoch, sorted
	// Beside lists the views that may be in force instead of Members as long
	// as Epoch is not known to have come into force: the parent's, and those
	// that could be in force beside it, of each set of disks the newest. It is
	// empty in labels written once Epoch is in force, and in those of a
	// pool's first epoch.
	Beside []View

	// Segments names the tail of the log first, then every log segment named
	// since, back to the tail's parent (rule 2).
	Segments []Named
	// Acked is the highest sequence known to be acknowledged when the label
	// was written.
	Acked uint64

	// What the pool was created with.
	Class    uint16 // class that holds the log
	Geometry erasure.Geometry
	Created  int64 // unix nanoseconds
}
