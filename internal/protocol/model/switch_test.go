package model

import "testing"

// switches are parts of the rules, taken out one at a time. Each must let a
// history fail on the pool that is named with it: this shows that TestModel
// would notice. docs/format/log.md says what goes wrong in each.
var switches = []struct {
	name  string
	off   Switch
	shows Geometry
}{
	{"majority of labels alone", MajorityOfLabels, Geometry{5, 1, 1}},
	{"header as final word", HeaderIsFinal, Geometry{5, 1, 1}},
	{"labels without disk lists", NoDiskLists, Geometry{5, 1, 1}},
	{"labels without the parent", NoParent, Geometry{5, 1, 1}},
	{"torn opening group as parent", TornParent, Geometry{4, 2, 2}},
	{"no re-log", NoRelog, Geometry{4, 2, 2}},
	{"appending to an old tail", AppendToTail, Geometry{3, 1, 1}},
	{"unaligned groups", Unaligned, Geometry{3, 1, 1}},
	{"degraded acknowledgement", DegradedAck, Geometry{5, 2, 2}},
	{"labels without the views beside", NoViewsBeside, Geometry{5, 2, 2}},
	{"facts not made durable", Unsynced, Geometry{5, 1, 1}},
}

const (
	switchBatch = 2_000
	switchBound = 200_000 // histories; the rarest shows once in about 10,000
)

// TestSwitches prints the shortest failing history of the first batch in which
// there is one; with -histories above its default, of that many histories.
func TestSwitches(t *testing.T) {
	for _, s := range switches {
		t.Run(s.name, func(t *testing.T) {
			on := func(uint64) Geometry { return s.shows }
			batch := switchBatch
			if *histories > defaultHistories {
				batch = *histories
			}
			for n := 0; n < max(switchBound, batch); n += batch {
				failures, _ := runAll(uint64(n)+1, batch, s.off, on)
				if f := shortest(failures); f != nil {
					t.Logf("%d of %d histories fail, the shortest:\n%s", len(failures), n+batch, explain(f, s.off))
					return
				}
			}
			t.Errorf("no history of %d fails on %v", switchBound, s.shows)
		})
	}
}

// TestExplain checks that a failure is told in full: the history, what was
// broken, and how to run it again.
func TestExplain(t *testing.T) {
	failures, _ := runAll(1, switchBatch, NoRelog, func(uint64) Geometry { return Geometry{4, 2, 2} })
	f := shortest(failures)
	if f == nil {
		t.Fatal("nothing failed")
	}
	again := Run(f.Seed, f.Geometry, NoRelog, nil)
	if again == nil || again.What != f.What || again.Steps != f.Steps {
		t.Fatalf("seed %d failed as %v, and again as %v", f.Seed, f, again)
	}
	lines := Explain(f.Seed, f.Geometry, NoRelog)
	if len(lines) != f.Steps+1 || lines[len(lines)-1] != "FAILS: "+f.What {
		t.Errorf("%d lines for %d steps, the last: %q", len(lines), f.Steps, lines[len(lines)-1])
	}
}
