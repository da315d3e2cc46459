package fuzz

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/disk/faultdisk"
	"github.com/cairnstore/cairn/disk/memdisk"
	"github.com/cairnstore/cairn/engine"
	"github.com/cairnstore/cairn/erasure"
)

// rig is a pool on memory disks behind faultdisk, opened and opened again. All
// that it decides by itself is the same for one script.
type rig struct {
	geometry erasure.Geometry
	machine  *memdisk.Machine
	mems     []*memdisk.Disk
	faults   []*faultdisk.Disk // of the latest open
	opts     engine.Options    // of every open, but for Disks
	ticks    atomic.Int64

	mu    sync.Mutex
	names map[string]string // of disks, by id
	// views are the memberships of which one is in force: by names of disks.
	views [][]string
	began [][]string // ids, since they were last looked at
}

func newRig(g erasure.Geometry, seed byte) *rig {
	r := &rig{geometry: g, machine: memdisk.NewMachine(), names: map[string]string{}}
	for i := range g.Shards() {
		r.mems = append(r.mems, r.machine.NewDisk(fmt.Sprintf("d%d", i)))
	}
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	r.opts = engine.Options{
		Geometry: g, CheckInterval: time.Hour,
		LogSegmentSize: 128 << 10, LogAhead: 32 << 10, PayloadSegmentSize: 1 << 20, PayloadAhead: 128 << 10,
		CacheBytes: 1 << 20, MemTableBytes: 256 << 10,
		Rand:  &lockedRand{r: rand.NewChaCha8([32]byte{seed})},
		Clock: func() time.Time { return start.Add(time.Duration(r.ticks.Add(1)) * time.Second) },
	}
	r.opts.Events.EpochBegan = func(i engine.EpochInfo) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.began = append(r.began, i.Disks)
	}
	return r
}

// lockedRand is a random source for many goroutines.
type lockedRand struct {
	mu sync.Mutex
	r  *rand.ChaCha8
}

func (l *lockedRand) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.r.Read(p)
}

// open opens the store without the absent disks. That it is read-only is an
// error, where enough disks are present to write.
func (r *rig) open(absent []int) (*engine.Engine, error) {
	o := r.opts
	var present []string
	r.faults = make([]*faultdisk.Disk, len(r.mems))
	o.Disks = make([]disk.Disk, 0, len(r.mems))
	for i := range r.mems {
		r.mems[i] = r.mems[i].Reopen()
		r.faults[i] = faultdisk.Wrap(r.mems[i])
		if !slices.Contains(absent, i) {
			o.Disks = append(o.Disks, r.faults[i])
			present = append(present, r.mems[i].String())
		}
	}
	before := r.views
	r.views = append(slices.Clip(r.views), present) // whatever comes of this open
	e, err := engine.Open(context.Background(), &o)
	if err != nil {
		return nil, err
	}
	s := e.Status()
	for _, d := range s.Disks {
		if d.Name != "" {
			r.names[d.ID] = d.Name
		}
	}
	r.follow()
	if s.ReadOnly && r.enough(before, present) {
		_ = e.Close()
		return nil, fmt.Errorf("read-only with %v of views %v present: %w", present, before, s.Reason)
	}
	return e, nil
}

// enough reports whether the present disks are enough to write, whichever of
// views is in force.
func (r *rig) enough(views [][]string, present []string) bool {
	if len(present) <= r.geometry.Parity && r.geometry.Shards() > 2 {
		return false
	}
	for _, v := range views {
		n := 0
		for _, name := range v {
			if slices.Contains(present, name) {
				n++
			}
		}
		if 2*n <= len(v) {
			return false
		}
	}
	return true
}

// follow takes notice of the epochs that came into force.
func (r *rig) follow() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, ids := range r.began {
		var v []string
		for _, id := range ids {
			v = append(v, r.names[id])
		}
		r.views = [][]string{v}
	}
	r.began = nil
}

// doubtViews adds the views that a drop under way may have left on some disks.
func (r *rig) doubtViews(lost []int) {
	if len(r.views) == 0 {
		return
	}
	view := r.views[0]
	for set := 1; set < 1<<len(lost); set++ {
		r.views = append(r.views, slices.DeleteFunc(slices.Clone(view), func(name string) bool {
			for j, i := range lost {
				if set&(1<<j) != 0 && r.mems[i].String() == name {
					return true
				}
			}
			return false
		}))
	}
}

// cut cuts the power and brings up the machine again with what that left.
func (r *rig) cut(rng *rand.Rand) {
	r.machine = r.machine.Restart(rng)
	r.mems = r.machine.Disks()
}

// kill ends the process alone: what was not synced is still there, and unsynced.
func (r *rig) kill() {
	r.machine = r.machine.Kill()
	r.mems = r.machine.Disks()
}

// dropIndex removes the index, if it is on disk at all.
func (r *rig) dropIndex() error {
	if r.opts.IndexDir == "" {
		return nil
	}
	return os.RemoveAll(r.opts.IndexDir)
}

// rot flips bits of one byte of a file of a disk, chosen by the tape, and
// returns what it did. Labels are spared: their copies are few, and rot goes on
// for the whole life of a store.
func (r *rig) rot(i int, t *tape) (string, error) {
	entries, err := r.mems[i].List()
	if err != nil {
		return "", err
	}
	entries = slices.DeleteFunc(entries, func(e disk.Entry) bool { return e.Size == 0 || e.Name[0] != 's' })
	if len(entries) == 0 {
		return "", errors.New("no segment there")
	}
	e := entries[t.n(len(entries))]
	// Most of a file is zeros written ahead: look near its beginning too.
	span := []int64{4096, 16 << 10, 64 << 10, e.Size}[t.n(4)]
	at := int64(t.n(1<<16)) * 7919 % min(span, e.Size)
	return fmt.Sprintf("rot of byte %d of %s on d%d", at, e.Name, i), r.mems[i].Corrupt(e.Name, at, 1+t.byte()%255)
}
