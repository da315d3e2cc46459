// Package disktest is the conformance suite of disk.Disk drivers: one subtest
// for each guarantee in the documentation of package disk.
//
// A driver's test calls Run:
//
//	func TestConformance(t *testing.T) {
//		disktest.Run(t, func(t *testing.T) disktest.Harness { return &harness{dir: t.TempDir()} })
//	}
//
// A driver that can simulate a power cut also has its harness implement
// PowerCutter.
package disktest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/disk"
)

// Harness is one disk under test, empty at first.
type Harness interface {
	// Disk returns the open disk.
	Disk() disk.Disk
	// Reopen closes the disk and returns it opened again.
	Reopen() disk.Disk
}

// PowerCutter is a Harness that can cut the power.
type PowerCutter interface {
	Harness
	// PowerCut cuts the power, brings it back and returns the disk with what
	// the cut left. Successive calls should leave different mixtures of
	// unsynced sectors.
	PowerCut() disk.Disk
}

// guarantee is one subtest. Checks take an interface so that disktest's own
// tests can see them fail.
type guarantee struct {
	name  string
	check func(t require.TestingT, h Harness)
}

var guarantees = []guarantee{
	{"Names", names},
	{"Create", create},
	{"CreateEmpty", createEmpty},
	{"CreateExisting", createExisting},
	{"Open", open},
	{"Remove", remove},
	{"RemoveOpen", removeOpen},
	{"List", list},
	{"Check", check},
	{"Usage", usage},
	{"Read", read},
	{"Write", write},
	{"WriteBeyond", writeBeyond},
	{"Handles", handles},
	{"Extend", extend},
	{"Reserve", reserve},
	{"StartSync", startSync},
	{"Closed", closed},
	{"ClosedFile", closedFile},
	{"Reopen", reopen},
	{"ConcurrentFiles", concurrentFiles},
	{"ConcurrentExtend", concurrentExtend},
	{"CloseInFlight", closeInFlight},
}

// powerGuarantees need a PowerCutter.
var powerGuarantees = []guarantee{
	{"PowerEntries", powerEntries},
	{"PowerSync", powerSync},
	{"PowerGrowth", powerGrowth},
	{"PowerSectors", powerSectors},
	{"PowerExtend", powerExtend},
	{"PowerReserve", powerReserve},
	{"PowerStartSync", powerStartSync},
}

// Run tests every guarantee on a disk of its own from open.
func Run(t *testing.T, open func(t *testing.T) Harness) {
	for _, g := range guarantees {
		t.Run(g.name, func(t *testing.T) { g.check(t, open(t)) })
	}
	if _, ok := open(t).(PowerCutter); !ok {
		return
	}
	for _, g := range powerGuarantees {
		t.Run(g.name, func(t *testing.T) { g.check(t, open(t)) })
	}
}
