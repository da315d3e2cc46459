// Package memdisk keeps disk.Disks in memory and cuts their power.
//
// It is the disk that the engine's crash tests run on: a Machine is a set of
// disks on one power supply, which goes at a chosen operation; Restart gives a
// new machine with what a real one could have found on its disks.
//
// # Guarantees
//
// Those of [disk.Disk], and no more than those: what a Sync does not cover
// survives a cut in any mixture of 512-byte sectors. Content costs memory only
// where it was written, and is shared with clones until one of them writes.
//
// # Concurrency
//
// All methods may be called from many goroutines. Given the same operations in
// the same order and the same random source, a machine does the same.
//
// # Errors
//
// Those of package disk, and [ErrPower] once the power is gone.
package memdisk

import (
	"errors"
	"math/rand/v2"
	"sync"
)

// SectorSize is the number of bytes that survive a power cut, or do not, as one
// (but see [Machine.Restart]).
const SectorSize = 512

// ErrPower reports that the machine has no power.
var ErrPower = errors.New("power cut")

// Machine is a set of disks that share one power supply.
type Machine struct {
	mu    sync.Mutex // taken after a store's, never before
	disks []*Disk    // the newest handle of each
	ops   int64
	cutAt int64 // 0: never
	dead  bool
}

// NewMachine returns a machine without disks.
func NewMachine() *Machine { return &Machine{} }

// New returns an empty disk with a machine of its own.
func New(name string) *Disk { return NewMachine().NewDisk(name) }

// NewDisk adds an empty disk.
func (m *Machine) NewDisk(name string) *Disk {
	return m.add(&store{machine: m, name: name, tok: new(token), files: make(map[string]*inode)})
}

// NewDiskFrom adds a disk that holds what another did when im was taken. The
// two share nothing that a write to one would show in the other.
func (m *Machine) NewDiskFrom(name string, im *Image) *Disk {
	return m.add(&store{
		machine: m, name: name, tok: new(token), capacity: im.capacity, used: im.used,
		files: cloneFiles(im.files),
	})
}

func (m *Machine) add(s *store) *Disk {
	d := s.open()
	m.mu.Lock()
	m.disks = append(m.disks, d)
	m.mu.Unlock()
	return d
}

// Disks returns the disks in order of creation, each as its newest handle (see
// [Disk.Reopen]).
func (m *Machine) Disks() []*Disk {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]*Disk(nil), m.disks...)
}

// Ops returns how many operations that could change durable state have begun:
// Create, Remove, WriteAt, Extend, Reserve and Sync, numbered from 1 in order of start.
// Those refused before they reached the disk (a bad name, a closed handle, no
// such file) do not count, nor do those after a cut.
func (m *Machine) Ops() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ops
}

// CutAt has the power go when operation number n begins: it and every later
// operation on any disk of the machine fails with ErrPower. Operation n may
// still have taken effect in part: its sectors or its directory entry are
// unsynced state. A number that has passed never comes; zero cancels.
func (m *Machine) CutAt(n int64) {
	m.mu.Lock()
	m.cutAt = n
	m.mu.Unlock()
}

// Cut has the power go now.
func (m *Machine) Cut() {
	m.mu.Lock()
	m.dead = true
	m.mu.Unlock()
}

// power is what an operation finds when it begins.
type power int

const (
	powerOn   power = iota
	powerGoes       // the operation takes effect, unsynced, and fails
	powerOff
)

// begin numbers an operation. The caller holds its store's lock, so that on one
// disk operations take effect in the order of their numbers.
func (m *Machine) begin() power {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead {
		return powerOff
	}
	m.ops++
	if m.ops == m.cutAt {
		m.dead = true
		return powerGoes
	}
	return powerOn
}

func (m *Machine) powered() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.dead
}

// Restart cuts the power and returns a new machine with clones of all disks as
// the cut could have left them. What was synced is there. Each unsynced sector
// holds its old or its new bytes: on each disk, by chance, all are new, all are
// old, or each is what a coin says; a sector written several times since it
// was synced may also hold what was written in between. On one disk of four
// some sectors are torn, new bytes up to somewhere and old ones after. A file
// that was growing without a sync has any length between, a Create or Remove in
// flight did or did not happen. The old machine stays dead.
func (m *Machine) Restart(r *rand.Rand) *Machine {
	return m.reborn(func(d *Disk) survivor { return newChance(r) })
}

// RestartWith is Restart with all choices made by keep, which is asked about
// each unsynced sector of each file and says whether it has its new bytes;
// sector -1 asks whether an unsynced creation or removal of the file happened.
// A file that was growing without a sync has its new size if the sector with
// its last byte is kept, which is asked even if nothing was written there; else
// it ends with the last sector kept or at its old size. d is the old machine's.
func (m *Machine) RestartWith(keep func(d *Disk, file string, sector int64) bool) *Machine {
	return m.reborn(func(d *Disk) survivor { return choice{d, keep} })
}

// Kill returns a new machine that has all that was written, synced or not: the
// machine ran on, its processes did not. What is unsynced stays so, and a later
// Restart decides about it. The old machine stays dead.
func (m *Machine) Kill() *Machine {
	return m.reborn(func(*Disk) survivor { return nil })
}

// reborn clones the machine; a nil survivor keeps unsynced state as it is.
func (m *Machine) reborn(survive func(d *Disk) survivor) *Machine {
	m.Cut()
	next := NewMachine()
	for _, d := range m.Disks() {
		next.add(d.store.clone(next, survive(d)))
	}
	return next
}
