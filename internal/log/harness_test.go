package log

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/disk/faultdisk"
	"github.com/cairnstore/cairn/disk/memdisk"
	"github.com/cairnstore/cairn/erasure"
	"github.com/cairnstore/cairn/internal/segment"
)

// rig is a pool on memory disks, and what its log must hold.
type rig struct {
	t        testing.TB
	geometry erasure.Geometry
	machine  *memdisk.Machine
	disks    []*memdisk.Disk // all of the pool's, present or not
	faults   []*faultdisk.Disk
	size     int64 // segment size
}

func newRig(t testing.TB, k, m, extra int) *rig {
	r := &rig{t: t, geometry: erasure.Geometry{Data: k, Parity: m}, machine: memdisk.NewMachine(), size: 64 << 10}
	for i := range k + m + extra {
		r.disks = append(r.disks, r.machine.NewDisk(fmt.Sprintf("d%d", i)))
	}
	return r
}

// gather opens the log on the disks that are not absent.
func (r *rig) gather(absent ...int) (*Log, error) {
	var disks []disk.Disk
	r.faults = make([]*faultdisk.Disk, len(r.disks))
	for i, d := range r.disks {
		r.disks[i] = d.Reopen()
		r.faults[i] = faultdisk.Wrap(r.disks[i])
		if !has(absent, i) {
			disks = append(disks, r.faults[i])
		}
	}
	return Gather(context.Background(), Config{Disks: disks, Geometry: r.geometry, SegmentSize: r.size, Ahead: 16 << 10})
}

// open opens the log and returns it with the groups that it shows.
func (r *rig) open(absent ...int) (*Log, []entry, error) {
	l, err := r.gather(absent...)
	if err != nil {
		return nil, nil, err
	}
	shown, err := show(l)
	if err != nil {
		_ = l.Close()
		return nil, nil, err
	}
	return l, shown, nil
}

// entry is a group as a reader sees it.
type entry struct {
	first, last uint64
	records     []byte
	payload     []byte
}

// show takes the log through an open, as the engine does.
func show(l *Log) ([]entry, error) {
	ctx := context.Background()
	if err := l.Decide(ctx, Position{}); err != nil {
		return nil, err
	}
	var shown []entry
	add := func(g *Group) error {
		p, err := readPayload(l, g)
		shown = append(shown, entry{g.First, g.Last, bytes.Clone(g.Records), p})
		return err
	}
	if err := l.Replay(ctx, add); err != nil {
		return nil, err
	}
	if l.Refusal() != nil {
		return shown, l.Unsettled(ctx, add)
	}
	if err := l.Start(ctx, add); err != nil {
		return nil, err
	}
	return shown, nil
}

// readPayload reads a group's payload the plain way, block by block, and by
// Rescue where that fails.
func readPayload(l *Log, g *Group) ([]byte, error) {
	p := make([]byte, g.Payload)
	var errs []error
	for i := range g.Data {
		b := &g.Blocks[i]
		part := p[b.Start : b.Start+b.Length]
		right := func(q []byte) bool { return bytes.Equal(q, pattern(g.First, int(b.Start), len(q))) }
		if l.set.ReadAt(g.Segment, b.Shard, part, b.Offset) == nil && right(part) {
			continue
		}
		errs = append(errs, l.Rescue(g, b.Start, part, right))
	}
	return p, errors.Join(errs...)
}

// pattern is the payload of the group that begins at sequence first.
func pattern(first uint64, from, n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(uint64(from+i)*31 + first*17 + uint64(from+i)>>8)
	}
	return p
}

// put appends a group of count records and a payload cut into items.
func (r *rig) put(l *Log, count uint64, items ...int) (entry, error) {
	first := l.Last() + 1
	var payload [][]byte
	at := 0
	for _, n := range items {
		payload = append(payload, pattern(first, at, n))
		at += n
	}
	records := []byte(fmt.Sprintf("records %d+%d", first, count))
	g, err := l.Append(records, count, payload)
	if err != nil {
		return entry{}, err
	}
	require.Equal(r.t, first, g.First)
	return entry{g.First, g.Last, records, bytes.Join(payload, nil)}, nil
}

func (r *rig) mustPut(l *Log, count uint64, items ...int) entry {
	e, err := r.put(l, count, items...)
	require.NoError(r.t, err)
	return e
}

// restart cuts the power and keeps a random part of what was not synced.
func (r *rig) restart(rng *rand.Rand) {
	r.machine = r.machine.Restart(rng)
	r.disks = r.machine.Disks()
}

func has(list []int, i int) bool {
	for _, x := range list {
		if x == i {
			return true
		}
	}
	return false
}

func segmentFile(g *Group, shard int) string { return segment.FileName(g.Segment.ID, shard) }
