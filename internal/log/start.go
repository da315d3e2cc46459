package log

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/erasure"
	"github.com/cairnstore/cairn/internal/label"
	"github.com/cairnstore/cairn/internal/protocol"
	"github.com/cairnstore/cairn/internal/segment"
)

func isNoSpace(err error) bool { return errors.Is(err, disk.ErrNoSpace) }

// Start begins a new epoch over the present disks and a new tail, whose opening
// group carries the groups that must be written again, and calls fn with those
// in their new place. Everything is durable before it returns; only then may
// anything of the log be shown. It may be called once, if Refusal is nil.
func (l *Log) Start(ctx context.Context, fn func(*Group) error) error {
	l.write.Lock()
	defer l.write.Unlock()
	if err := l.Refusal(); err != nil {
		return err
	}
	copies, err := l.loadCopies()
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := l.claim(); err != nil {
		return err
	}
	l.keep = l.plan.Named
	o := &opening{parent: l.plan.End, acked: l.plan.Acked, copies: copies}
	if err := l.advance(o, true, (*protocol.Membership).OpensWith); err != nil {
		if isNoSpace(err) && l.made {
			l.refuse(err) // what is full can still be read
		}
		return err
	}
	for i := range o.copies {
		if c := &o.copies[i]; c.last > l.from.Seq {
			if err := fn(c.placed(l.tail.desc)); err != nil {
				return err
			}
		}
	}
	l.facts = nil
	return nil
}

// Claim writes the first labels of a pool that is being made, on all of its
// disks; for any other it does nothing. The labels name no segment, which tells
// a later open that creation was cut short. Start claims if that was not done.
func (l *Log) Claim(ctx context.Context) error {
	l.write.Lock()
	defer l.write.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	return l.claim()
}

func (l *Log) claim() error {
	if !l.created || l.claimed {
		return nil
	}
	random, err := l.random()
	if err != nil {
		return err
	}
	epoch := protocol.Epoch{Number: l.view.Next, Random: random}
	members := l.sorted()
	ids := make([]disk.ID, len(members))
	for i, m := range members {
		ids[i] = m.id
	}
	failed := l.writeLabels(ids, func(id disk.ID) *protocol.Label {
		return l.labelFor(id, &protocol.Membership{Epoch: epoch, View: ids}, protocol.Epoch{}, nil, 0)
	})
	if len(failed) > 0 {
		return fmt.Errorf("creating the pool: disk %v: %w", l.named[failed[0].id], failed[0].err)
	}
	for _, m := range members {
		// Two handles of one disk would have overwritten each other's label.
		got, _, err := m.store.Read()
		if err != nil {
			return fmt.Errorf("creating the pool: %w", err)
		}
		if got == nil || got.Disk != m.id {
			return fmt.Errorf("%w: %v does not hold the label that was just written to it", ErrDuplicate, m.disk)
		}
	}
	l.view = &protocol.Membership{Epoch: epoch, View: ids, Next: epoch.Number + 1}
	l.claimed = true
	return nil
}

// advance makes a new tail that continues at o.parent, under a new epoch if
// fresh is set or a disk fails on the way (rule 2): first the files, then labels
// that name them on every member, then the opening group in every shard. Until
// all of that is durable nothing has changed but the names that labels carry.
// Log.write must be held.
func (l *Log) advance(o *opening, fresh bool, quorum func(*protocol.Membership, []disk.ID) bool) error {
	exclude := map[disk.ID]error{}
	for {
		members := slices.DeleteFunc(l.liveIDs(), func(d disk.ID) bool { return exclude[d] != nil })
		view, parent := l.view, l.epochParent
		if fresh {
			if !quorum(view, members) {
				return l.giveUp(exclude, fmt.Errorf("%w: %d disks of a view of %d are left", ErrNoQuorum, len(members), len(view.View)))
			}
			random, err := l.random()
			if err != nil {
				return err
			}
			l.pending = true
			parent = view.Epoch
			view = view.Begin(protocol.Epoch{Number: view.Next, Random: random}, members)
		}
		if _, ok := l.geometryFor(len(members)); !ok {
			return l.giveUp(exclude, fmt.Errorf("%w: %d healthy, %d needed", ErrNoQuorum, len(members), l.geometry.Parity+1))
		}
		t, failed := l.nextTail(view.Epoch, members, fresh)
		if len(failed) == 0 {
			o.epochParent, o.made = parent, l.cfg.Now().UnixNano()
			keep := append([]protocol.Named{{ID: t.desc.ID, Parity: t.desc.Geometry.Parity, Disks: t.desc.Disks}}, l.keep...)
			l.keep, l.view = keep, view // named from here on, whatever comes of it
			failed = l.writeLabels(members, func(id disk.ID) *protocol.Label {
				return l.labelFor(id, view, parent, keep, o.acked)
			})
			if len(failed) == 0 {
				failed = l.writeOpening(t, o)
			}
		}
		if len(failed) == 0 {
			l.enter(members, t, o, fresh, exclude)
			return nil
		}
		if err := harmless(failed); err != nil {
			return err
		}
		if l.created {
			// A pool begins whole: a member that missed these labels would go
			// on saying that creation was cut short.
			return fmt.Errorf("creating the pool: disk %v: %w", l.named[failed[0].id], failed[0].err)
		}
		for _, f := range failed {
			exclude[f.id] = f.err
		}
		fresh = true
	}
}

// harmless returns the error if what failed says nothing against the disks, so
// that none is dropped for it: the host is short of something, all that failed
// are full, or a label would be too large.
func harmless(failed []diskError) error {
	full := 0
	for _, f := range failed {
		switch {
		case errors.Is(f.err, disk.ErrBusy), errors.Is(f.err, label.ErrLabel):
			return f.err
		case isNoSpace(f.err):
			full++
		}
	}
	if full == len(failed) {
		return failed[0].err
	}
	return nil
}

// nextTail returns the files of the next tail: those made ahead if they fit,
// else new ones.
func (l *Log) nextTail(epoch protocol.Epoch, members []disk.ID, fresh bool) (*tail, []diskError) {
	if s := l.spare; s != nil {
		l.spare = nil
		<-s.done
		if !fresh && len(s.failed) == 0 {
			return s.tail, nil
		}
		if !fresh {
			return nil, s.failed
		}
		if len(s.failed) == 0 {
			l.discard(s.tail)
		}
	}
	id := erasure.SegmentID{Epoch: epoch.Number, Random: epoch.Random, Counter: 1}
	if !fresh {
		id = l.takeID()
	}
	return l.createTail(l.describe(segment.KindLog, id, members), l.firstSize())
}

// discard removes files that no label ever named. What cannot be removed is
// garbage that a later open knows by its epoch.
func (l *Log) discard(t *tail) {
	l.set.Forget(t.desc.ID)
	for shard, f := range t.files {
		if f == nil {
			continue
		}
		if d, live := l.set.Disk(f.disk); live {
			_ = d.Remove(segment.FileName(t.desc.ID, shard))
		}
	}
}

// enter makes the new tail, and epoch, the ones in force.
func (l *Log) enter(members []disk.ID, t *tail, o *opening, fresh bool, dropped map[disk.ID]error) {
	if l.tail != nil {
		for _, f := range l.tail.files {
			_ = f.file.Close() // read from now on through the set
		}
	}
	l.tail, l.epochParent, l.pending, l.created = t, o.epochParent, false, false
	l.view.Settle()
	l.last, l.hash = o.parent.Last, o.parent.Hash
	l.keep = []protocol.Named{{ID: t.desc.ID, Parity: t.desc.Geometry.Parity, Disks: t.desc.Disks}}
	l.state.Lock()
	l.live = slices.Clone(members) // they are the view's too, which outlasts a drop
	if fresh {
		l.ids = t.desc.ID
	}
	l.state.Unlock()
	l.announce(dropped)
	if fresh {
		l.cfg.OnEpoch(l.view.Epoch, members)
		l.cfg.Logger.Info("epoch in force", "epoch", l.view.Epoch.Number, "disks", len(members), "geometry", t.desc.Geometry.String())
	}
	l.metrics.segments.Add(1)
}

// announce tells everyone about dropped disks.
func (l *Log) announce(dropped map[disk.ID]error) {
	for id, err := range dropped {
		l.state.Lock()
		l.gone[id] = err
		l.live = slices.DeleteFunc(l.live, func(d disk.ID) bool { return d == id })
		l.state.Unlock()
		l.set.Drop(id, err)
		l.cfg.Logger.Warn("disk dropped", "disk", l.named[id], "id", id.String(), "error", err)
		l.cfg.OnDrop(id, l.named[id], err)
	}
}

// giveUp turns the log read-only: too few disks are left.
func (l *Log) giveUp(dropped map[disk.ID]error, err error) error {
	l.announce(dropped)
	l.refuse(err)
	return err
}

// writeLabels replaces the labels of the given members, all at once.
func (l *Log) writeLabels(ids []disk.ID, labelOf func(disk.ID) *protocol.Label) []diskError {
	return eachShard(len(ids), func(i int) error {
		l.metrics.syncs.Add(2)
		l.metrics.labels.Add(1)
		return l.members[ids[i]].store.Write(labelOf(ids[i]))
	}, ids)
}

func (l *Log) labelFor(id disk.ID, view *protocol.Membership, parent protocol.Epoch, segments []protocol.Named, acked uint64) *protocol.Label {
	return &protocol.Label{
		Pool: l.pool, Disk: id, Epoch: view.Epoch, Parent: parent, Members: view.View, Beside: view.Beside, Segments: segments, Acked: acked,
		Class: l.cfg.Class, Geometry: l.geometry, Created: l.birth,
	}
}

// sorted returns the present members in the order of their ids.
func (l *Log) sorted() []*member {
	out := make([]*member, 0, len(l.members))
	for _, m := range l.members {
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b *member) int { return slices.Compare(a.id[:], b.id[:]) })
	return out
}

func (l *Log) liveIDs() []disk.ID {
	l.state.RLock()
	defer l.state.RUnlock()
	return slices.Clone(l.live)
}

// absent returns the members of the view that are not present.
func (l *Log) absent() []disk.ID {
	var out []disk.ID
	for _, d := range l.view.View {
		if l.members[d] == nil {
			out = append(out, d)
		}
	}
	return out
}

// takeID returns a fresh segment id of the epoch in force.
func (l *Log) takeID() erasure.SegmentID {
	l.state.Lock()
	defer l.state.Unlock()
	l.ids.Counter++
	return l.ids
}

// describe lays a new segment on k+m of the members. Segments of a kind take
// turns: as many as fit beside each other lie on different disks, and the next
// ones begin a disk further on, so that every disk comes to hold every shard
// number, parity's too.
func (l *Log) describe(kind segment.Kind, id erasure.SegmentID, members []disk.ID) *segment.Descriptor {
	g, _ := l.geometryFor(len(members))
	d := &segment.Descriptor{ID: id, Kind: kind, Geometry: g, Class: l.cfg.Class, Disks: make([]disk.ID, g.Shards())}
	turn := id.Epoch + l.turns[kind].Add(1) // another begin at each open
	n, shards := uint64(len(members)), uint64(len(d.Disks))
	beside := n / shards
	from := turn%beside*shards + turn/beside%n
	for i := range d.Disks {
		d.Disks[i] = members[(from+uint64(i))%n]
	}
	return d
}

// newDescriptor describes a new segment of the epoch in force.
func (l *Log) newDescriptor(kind segment.Kind) (*segment.Descriptor, error) {
	l.state.Lock()
	defer l.state.Unlock()
	if l.refusal != nil {
		return nil, l.refusal
	}
	if _, ok := l.geometryFor(len(l.live)); !ok {
		return nil, fmt.Errorf("%w: %d healthy, %d needed", ErrNoQuorum, len(l.live), l.geometry.Parity+1)
	}
	l.ids.Counter++
	return l.describe(kind, l.ids, l.live), nil
}

// NewSegment returns the descriptor of a new payload segment: a fresh id of the
// epoch in force, on k+m live disks, or fewer by rule 5.
func (l *Log) NewSegment(ctx context.Context) (*segment.Descriptor, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return l.newDescriptor(segment.KindPayload)
}
