package model

import "fmt"

// Geometry is a pool: its number of disks and the k+m of its segments.
type Geometry struct{ Disks, Data, Parity int }

func (g Geometry) String() string {
	return fmt.Sprintf("%d disks, %d+%d", g.Disks, g.Data, g.Parity)
}

// narrow returns the data and parity shards of a segment on n healthy disks
// (rule 5): m is kept. A 1+1 pool goes on with one disk alone.
func (g Geometry) narrow(n int) (data, parity int, ok bool) {
	if n == 1 && g.Data == 1 && g.Parity == 1 {
		return 1, 0, true
	}
	if n < g.Parity+1 {
		return 0, 0, false
	}
	return min(g.Data, n-g.Parity), g.Parity, true
}

// Geometries are the pools that histories run on.
var Geometries = []Geometry{
	{2, 1, 1}, {3, 1, 0}, {3, 1, 1}, {3, 2, 1}, {4, 2, 1}, {4, 2, 2}, {5, 1, 1}, {5, 2, 2},
	{5, 3, 2}, {6, 1, 1}, {6, 2, 2}, {6, 4, 2}, {7, 2, 1}, {7, 2, 2}, {8, 3, 2}, {8, 4, 2},
}

// Switch takes a part of the rules out of what the model writes or passes on.
type Switch uint

// Switches. Zero is the protocol as it is.
const (
	// MajorityOfLabels goes on once a majority of an epoch's members, not
	// all, hold its label.
	MajorityOfLabels Switch = 1 << iota
	// HeaderIsFinal lets the newest opening group seen decide where the log
	// ends; absent disks of a segment are not asked for.
	HeaderIsFinal
	// NoDiskLists writes labels that name segments without their disks.
	NoDiskLists
	// NoParent writes labels that name the new tail only.
	NoParent
	// TornParent makes a torn opening group the parent of the next segment.
	TornParent
	// NoRelog does not write unproved groups again.
	NoRelog
	// AppendToTail goes on in the segment that was open at the crash.
	AppendToTail
	// Unaligned lets groups share sectors, so that a torn write damages the
	// end of the group before.
	Unaligned
	// DegradedAck acknowledges a group that k'+1 shards hold.
	DegradedAck
	// NoViewsBeside writes labels that do not list the views that may be in
	// force beside theirs.
	NoViewsBeside
	// Unsynced judges what a killed process wrote without making it durable.
	Unsynced
)
