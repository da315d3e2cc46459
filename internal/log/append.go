package log

import (
	"fmt"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/internal/protocol"
)

// Limits of one group.
const (
	// BlockTarget is the payload for which a group takes one more data block.
	BlockTarget = 64 << 10
	// MaxPayload is the most payload that one group may carry.
	MaxPayload = 16 << 20
	// MaxRecords is the most record bytes that one group may carry.
	MaxRecords = 16 << 20
)

// Append makes one group durable: count records, encoded one after another in
// records, and the payload, of which no item is cut (each is read back from one
// place). When it returns nil the group is on all the disks that it was laid on.
// When a disk fails on the way, the same group is written again without it, to
// a new tail. It returns ErrNoQuorum once too few disks are left, and wraps
// disk.ErrNoSpace or disk.ErrBusy, as a rule with nothing written, when the
// disks are full or the host is short of something. Append keeps no reference to
// records or payload but in the Group that it returns.
func (l *Log) Append(records []byte, count uint64, payload [][]byte) (*Group, error) {
	l.write.Lock()
	defer l.write.Unlock()
	switch {
	case l.closed:
		return nil, ErrClosed
	case l.tail == nil:
		return nil, ErrReadOnly
	case count == 0 || len(records) == 0:
		return nil, fmt.Errorf("%w: empty group", ErrGroup)
	case len(records) > MaxRecords || sizeOf(payload) > MaxPayload:
		return nil, fmt.Errorf("%w: %d record bytes, %d payload bytes", ErrTooLarge, len(records), sizeOf(payload))
	}
	h := header{
		pool: l.pool, class: l.cfg.Class, first: l.last + 1, last: l.last + count, acked: l.last, prev: l.hash,
		records: int64(len(records)), payload: sizeOf(payload),
	}
	h.hash = ChainHash(h.prev, h.first, h.last, records)
	for again := false; ; {
		if err := l.Refusal(); err != nil {
			return nil, err
		}
		if l.tail.fill() >= l.cfg.SegmentSize || l.tail.spoiled || l.pending {
			if err := l.roll(); err != nil {
				return nil, err
			}
		}
		desc, data := l.tail.desc, h
		failed := l.appendTo(l.tail, &data, records, payload)
		if len(failed) == 0 {
			l.last, l.hash = h.last, h.hash
			l.metrics.groups.Add(1)
			if !data.bulk() { // more like it are to come
				for _, f := range l.tail.files {
					l.fillAhead(f)
				}
			}
			l.prepare()
			return data.placed(desc, records), nil
		}
		if err := harmless(failed); err != nil {
			if again || !l.tail.spoiled {
				return nil, err
			}
			// Parts of the group are on disk, where a later open could take it
			// for acknowledged: it had better become so.
			again = true
			continue
		}
		if err := l.drop(failed); err != nil {
			return nil, err
		}
	}
}

// roll begins the next log segment, of the same epoch unless a new one was begun
// and is not in force yet.
func (l *Log) roll() error {
	return l.advance(l.openingHere(), l.pending, (*protocol.Membership).KeepsWith)
}

// openingHere continues at the last acknowledged group.
func (l *Log) openingHere() *opening {
	o := &opening{acked: l.last}
	o.parent.Segment, o.parent.Last, o.parent.Hash = l.tail.desc.ID, l.last, l.hash
	return o
}

// drop goes on without the given disks, under a new epoch and with a new tail.
func (l *Log) drop(failed []diskError) error {
	dropped := map[disk.ID]error{}
	for _, f := range failed {
		dropped[f.id] = f.err
	}
	l.announce(dropped)
	return l.advance(l.openingHere(), true, (*protocol.Membership).KeepsWith)
}

// Drop gives up a disk: it gets no more writes, and the pool goes on without it
// under a new epoch. Once too few disks are left the log turns read-only and
// Drop returns ErrNoQuorum. Dropping a disk that is not live does nothing.
func (l *Log) Drop(id disk.ID, cause error) error {
	return l.DropAll(map[disk.ID]error{id: cause})
}

// DropAll gives up several disks at once.
func (l *Log) DropAll(causes map[disk.ID]error) error {
	l.write.Lock()
	defer l.write.Unlock()
	if l.closed {
		return ErrClosed
	}
	var failed []diskError
	for _, id := range l.liveIDs() {
		if err, ok := causes[id]; ok {
			failed = append(failed, diskError{id, err})
		}
	}
	if len(failed) == 0 {
		return nil
	}
	if l.tail == nil || l.Refusal() != nil {
		for _, f := range failed {
			l.announce(map[disk.ID]error{f.id: f.err})
		}
		return l.Refusal()
	}
	return l.drop(failed)
}

// appendTo lays the group on the tail and makes it durable there. Until every
// shard file has room nothing is written.
func (l *Log) appendTo(t *tail, h *header, records []byte, payload [][]byte) []diskError {
	items := split(payload, t.desc.Geometry.Data)
	l.place(t, h, items)
	w := &l.layout
	bulk := h.bulk()
	for i := range h.parts {
		if err := t.files[h.parts[i].shard].ensure(h.end(i), l.cfg.Ahead, bulk); err != nil {
			return []diskError{{w.disks[i], err}}
		}
	}
	for i := range h.parts {
		t.files[h.parts[i].shard].pos = h.end(i) // consumed, whatever comes of the write (rule 3)
	}
	defer w.release()
	l.fill(t, h, records, items, bulk)
	failed := l.writeParts(t, h)
	t.spoiled = len(failed) > 0
	return failed
}

// Close ends background work. If the log is being written, labels are rewritten
// with the last acknowledged sequence, so that the next open has nothing to
// settle; a failure there loses nothing. Disks stay open.
func (l *Log) Close() error {
	l.write.Lock()
	defer l.write.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	if l.spare != nil {
		<-l.spare.done
		if len(l.spare.failed) == 0 {
			l.discard(l.spare.tail)
		}
		l.spare = nil
	}
	l.background.Wait()
	if l.tail != nil && l.Refusal() == nil && (l.tail.spoiled || l.pending) {
		// What failed must not come up at the next open.
		if err := l.roll(); err != nil {
			l.cfg.Logger.Warn("the group that failed last is left to the next open", "error", err)
		}
	}
	if l.tail != nil && l.Refusal() == nil && !l.pending {
		live := l.liveIDs()
		for _, f := range l.writeLabels(live, func(id disk.ID) *protocol.Label {
			return l.labelFor(id, l.view, l.epochParent, l.keep, l.last)
		}) {
			l.cfg.Logger.Warn("label not rewritten at close", "disk", l.named[f.id], "error", f.err)
		}
	}
	for _, m := range l.members {
		_ = m.store.Close() // read-only by now
	}
	return l.set.Close()
}
