package log

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/erasure"
	"github.com/cairnstore/cairn/internal/label"
	"github.com/cairnstore/cairn/internal/protocol"
	"github.com/cairnstore/cairn/internal/segment"
)

// found is what a disk said when it was first looked at.
type found struct {
	disk  disk.Disk
	store *label.Store
	label *protocol.Label
	state label.State
	err   error
}

// Gather reads the labels of the disks and decides the membership. It writes
// nothing. Disks of another pool, doubled disks, disks with foreign files and
// newer formats are errors; a disk that cannot be read is absent. When half or
// fewer of the pool's disks are present the log is returned and may only be
// read (Refusal).
func Gather(ctx context.Context, cfg Config) (*Log, error) {
	cfg.fill()
	l := &Log{cfg: cfg, members: map[disk.ID]*member{}, named: map[disk.ID]string{}, gone: map[disk.ID]error{}}
	if len(cfg.Disks) == 0 {
		return nil, fmt.Errorf("%w: no disks", ErrGeometry)
	}
	seen := l.look()
	if err := ctx.Err(); err != nil {
		return nil, closeStores(seen, err)
	}
	err := l.identify(seen)
	if err == nil {
		l.codec, err = erasure.NewCodec(erasure.Geometry{Data: erasure.MaxData, Parity: l.geometry.Parity})
	}
	if err != nil {
		return nil, closeStores(seen, err)
	}
	l.set = segment.NewSet(l.pool, cfg.MaxFiles)
	for id, m := range l.members {
		l.set.Add(id, m.disk)
		l.live = append(l.live, id)
	}
	sortIDs(l.live)
	if l.made {
		err = l.judge()
	}
	if err != nil {
		_ = l.set.Close() // only read from
		return nil, closeStores(seen, err)
	}
	return l, nil
}

func closeStores(seen []found, err error) error {
	for i := range seen {
		_ = seen[i].store.Close() // nothing was written; err tells what matters
	}
	return err
}

// look reads all labels at once.
func (l *Log) look() []found {
	seen := make([]found, len(l.cfg.Disks))
	var wg sync.WaitGroup
	for i, d := range l.cfg.Disks {
		seen[i] = found{disk: d, store: label.NewStore(d)}
		wg.Go(func() {
			f := &seen[i]
			f.label, f.state, f.err = f.store.Read()
		})
	}
	wg.Wait()
	return seen
}

// identify settles which pool this is and who its members are.
func (l *Log) identify(seen []found) error {
	var labels []protocol.Label
	var blank []found
	var foreign error
	byID := map[disk.ID]disk.Disk{}
	for _, f := range seen {
		var format *label.FormatError
		switch {
		case f.state == label.Foreign:
			return fmt.Errorf("%w: %w", ErrForeignDisk, f.err)
		case errors.As(f.err, &format), errors.Is(f.err, disk.ErrBusy):
			return f.err
		case f.state == label.Damaged, f.err != nil:
			l.notJoined = append(l.notJoined, fmt.Errorf("disk %v not joined: %w", f.disk, f.err))
			l.cfg.Logger.Warn("disk not joined", "disk", f.disk.String(), "error", f.err)
		case f.state == label.Blank:
			blank = append(blank, f)
		default:
			if other, twice := byID[f.label.Disk]; twice {
				return fmt.Errorf("%w: %v and %v are both disk %v", ErrDuplicate, other, f.disk, f.label.Disk)
			}
			byID[f.label.Disk] = f.disk
			if len(labels) > 0 && labels[0].Pool != f.label.Pool && foreign == nil {
				foreign = fmt.Errorf("%w: %v is of pool %x, %v of pool %x", ErrForeignDisk,
					byID[labels[0].Disk], labels[0].Pool, f.disk, f.label.Pool)
			}
			labels = append(labels, *f.label)
			l.members[f.label.Disk] = &member{id: f.label.Disk, disk: f.disk, store: f.store, label: f.label}
			l.named[f.label.Disk] = f.disk.String()
		}
	}
	if len(labels) == 0 {
		return l.create(blank, len(seen))
	}
	l.pool, l.geometry, l.cfg.Class, l.birth = labels[0].Pool, labels[0].Geometry, labels[0].Class, labels[0].Created
	if g := l.cfg.Geometry; g != (erasure.Geometry{}) && g != l.geometry {
		return fmt.Errorf("%w: the pool was made as %v, not %v", ErrGeometry, l.geometry, g)
	}
	if (len(blank) > 0 || foreign != nil) && len(blank)+len(labels) == len(seen) {
		never, err := l.neverMade(labels)
		if err != nil {
			return err
		}
		if never {
			return l.complete(blank, labels)
		}
	}
	if foreign != nil {
		return foreign
	}
	for _, f := range blank {
		l.notJoined = append(l.notJoined, fmt.Errorf("disk %v is empty and not part of the pool", f.disk))
		l.cfg.Logger.Warn("empty disk ignored", "disk", f.disk.String())
	}
	l.made = true
	return nil
}

// judge decides the membership of a pool that exists, by its labels and by the
// opening groups that are seen.
func (l *Log) judge() error {
	var err error
	if l.facts, err = l.collect(); err != nil {
		return err
	}
	m, err := protocol.DecideMembership(l.labels(), l.facts.Openings()...)
	if m == nil {
		return err
	}
	l.view, l.refusal = m, err
	l.ids = erasure.SegmentID{Epoch: m.Epoch.Number, Random: m.Epoch.Random}
	for _, id := range m.Absent {
		l.named[id] = ""
	}
	return nil
}

// labels returns the labels of the present disks.
func (l *Log) labels() []protocol.Label {
	var labels []protocol.Label
	for _, m := range l.sorted() {
		if m.label != nil {
			labels = append(labels, *m.label)
		}
	}
	return labels
}

// create prepares a new pool: every disk must be there and empty.
func (l *Log) create(blank []found, given int) error {
	if len(blank) < given {
		return fmt.Errorf("%w: no disk has a readable label, and only %d of %d are empty: %w",
			ErrForeignDisk, len(blank), given, errors.Join(l.notJoined...))
	}
	l.geometry = l.cfg.Geometry
	if l.geometry == (erasure.Geometry{}) {
		l.geometry = DefaultGeometry(given)
	}
	if err := l.geometry.Validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrGeometry, err)
	}
	if l.geometry.Shards() > given {
		return fmt.Errorf("%w: %v needs %d disks, %d given", ErrGeometry, l.geometry, l.geometry.Shards(), given)
	}
	l.birth = l.cfg.Now().UnixNano()
	return l.complete(blank, nil)
}

// complete makes a pool of the empty disks, and of those that an attempt cut
// short has labelled. It gets an id of its own, so that no disk of an older one
// is ever taken for a member.
func (l *Log) complete(blank []found, labels []protocol.Label) error {
	pool, err := l.randomID()
	if err != nil {
		return err
	}
	l.pool, l.created = pool, true
	for _, f := range blank {
		id, err := l.randomID()
		if err != nil {
			return err
		}
		l.members[id] = &member{id: id, disk: f.disk, store: f.store}
		l.named[id] = f.disk.String()
	}
	l.view = &protocol.Membership{Next: 1}
	for i := range labels {
		l.view.Next = max(l.view.Next, labels[i].Epoch.Number+1)
	}
	return nil
}

// neverMade reports whether the labels are those of a pool whose creation was
// cut short, or of several attempts at it. Claim writes them to every disk, or fails, before the first labels
// that name a segment, so as long as a disk is still empty nothing can have
// been acknowledged. A pool that lost disks is told from that by any label that
// names a segment, and by any opening group.
func (l *Log) neverMade(labels []protocol.Label) (bool, error) {
	attempts := map[erasure.PoolID]protocol.Epoch{}
	for i := range labels {
		epoch, met := attempts[labels[i].Pool]
		if len(labels[i].Segments) > 0 || labels[i].Acked > 0 || (met && labels[i].Epoch != epoch) {
			return false, nil
		}
		attempts[labels[i].Pool] = labels[i].Epoch
	}
	own := l.pool
	defer func() { l.pool = own }()
	for l.pool = range attempts {
		f, err := l.collect()
		if err != nil || len(f.opened) > 0 {
			return false, err
		}
	}
	return true, nil
}

func sortIDs(ids []disk.ID) {
	slices.SortFunc(ids, func(a, b disk.ID) int { return slices.Compare(a[:], b[:]) })
}
