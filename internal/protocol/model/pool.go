package model

import (
	"encoding/binary"
	"math/rand/v2"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/erasure"
	"github.com/cairnstore/cairn/internal/protocol"
)

// pool is everything that was ever written to a pool's disks, as far as it is
// still there.
type pool struct {
	devices  []*device
	slots    []int // the device in each slot
	segments []*segment
}

// device is a disk: the one that is, or was, in a slot.
type device struct {
	slot   int
	id     disk.ID
	label  *protocol.Label  // nil: an empty disk
	prior  *protocol.Label  // what a power cut may bring back, if unsynced
	synced bool             // the label is durable
	rotten bool             // the label cannot be read
	held   []protocol.Epoch // that the label ever was of
	shards []*shard         // by segment; nil: no file
}

// segment is a log segment as its writer meant it.
type segment struct {
	id      erasure.SegmentID
	parity  int
	devices []int // by shard
	disks   []disk.ID
	parent  protocol.Parent
	acked   uint64
	copies  []*group
	groups  []*group
}

// group is one append. The same content written again elsewhere is another
// group with the same serial.
type group struct {
	protocol.Span
	serial int // content
	prev   int // serial of the group before: the chain hash
	acked  uint64
	data   int   // k'
	shards []int // where it was meant to go
}

// shard is the file of a segment on a device.
type shard struct {
	opening record
	groups  []record
}

// record is what a shard file holds of a group or an opening group.
type record struct {
	group  *group // nil: an opening group
	header bool   // the header verifies
	block  bool   // and so does all the rest
	synced bool   // a power cut leaves it
}

// tear returns r as a crash in mid-write, or a power cut, may leave it.
func (r record) tear(rng *rand.Rand) record {
	switch rng.IntN(4) {
	case 0:
		r.header, r.block = false, false
	case 1:
		r.block = false // the header alone
	}
	return r
}

func deviceID(index int) (id disk.ID) {
	binary.BigEndian.PutUint64(id[8:], uint64(index)+1)
	return id
}

func deviceIndex(id disk.ID) int { return int(binary.BigEndian.Uint64(id[8:])) - 1 }

func chainHash(serial int) (h [32]byte) {
	binary.BigEndian.PutUint64(h[:], uint64(serial))
	return h
}

func serialOf(h [32]byte) int { return int(binary.BigEndian.Uint64(h[:])) }

// add puts an empty disk into a slot.
func (p *pool) add(slot int) *device {
	d := &device{slot: slot, id: deviceID(len(p.devices)), synced: true}
	p.slots[slot] = len(p.devices)
	p.devices = append(p.devices, d)
	return d
}

func (p *pool) segment(id erasure.SegmentID) (int, *segment) {
	for i := len(p.segments) - 1; i >= 0; i-- {
		if p.segments[i].id == id {
			return i, p.segments[i]
		}
	}
	return -1, nil
}

// file returns a device's shard of a segment, nil if there is none.
func (d *device) file(seg int) *shard {
	if seg >= len(d.shards) {
		return nil
	}
	return d.shards[seg]
}

func (d *device) create(seg int) *shard {
	for len(d.shards) <= seg {
		d.shards = append(d.shards, nil)
	}
	d.shards[seg] = &shard{}
	return d.shards[seg]
}

// write replaces the label.
func (d *device) write(l *protocol.Label, synced bool) {
	d.prior = d.label
	d.label, d.synced = l, synced
	d.held = append(d.held, l.Epoch)
}

// powerCut decides what is left of everything unsynced, on every disk.
func (p *pool) powerCut(rng *rand.Rand) {
	for _, d := range p.devices {
		if !d.synced && rng.IntN(2) == 0 {
			d.label = d.prior
			d.held = d.held[:len(d.held)-1]
		}
		d.synced = true
		for _, s := range d.shards {
			if s == nil {
				continue
			}
			s.opening = s.opening.cut(rng)
			for i := range s.groups {
				s.groups[i] = s.groups[i].cut(rng)
			}
		}
	}
}

func (r record) cut(rng *rand.Rand) record {
	if !r.synced {
		r = r.tear(rng)
		r.synced = true
	}
	return r
}

// sync makes what a shard file holds durable.
func (s *shard) sync() {
	if s == nil {
		return
	}
	s.opening.synced = true
	for i := range s.groups {
		s.groups[i].synced = true
	}
}
