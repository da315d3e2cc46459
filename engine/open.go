package engine

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/erasure"
	"github.com/cairnstore/cairn/internal/log"
	"github.com/cairnstore/cairn/internal/payload"
	"github.com/cairnstore/cairn/internal/protocol"
	"github.com/cairnstore/cairn/meta"
)

// Open opens the store that the disks hold, or makes one if all of them are
// empty. When it returns nil everything that was ever acknowledged is there.
//
// A store of which half or fewer disks are present, or whose log's end may lie
// on absent ones, opens read-only: mutations return ErrStaleQuorum or
// ErrLogMissing (and ErrReadOnly), and Status says what is missing. So does one
// whose disks are full (ErrNoSpace), until it is opened with more room. On such a
// store the last group before a crash, if nothing proves that it had been
// acknowledged, is shown but may be gone when other disks come back.
//
// Errors: ErrOptions, ErrInUse, ErrForeignDisk, ErrDuplicateDisk, ErrFormat,
// ErrEpochConflict, ErrBusy, or what the context says. Nothing is written before
// all of these have been ruled out.
func Open(ctx context.Context, opts *Options) (*Engine, error) {
	o, err := opts.fill()
	e := &Engine{opts: o, stop: make(chan struct{})}
	if err == nil {
		err = e.open(ctx)
	}
	if err != nil {
		_ = e.release() // err says what matters
		return nil, fail("open", "", "", err)
	}
	return e, nil
}

func (e *Engine) open(ctx context.Context) error {
	o := e.opts
	var err error
	e.log, err = log.Gather(ctx, log.Config{
		Disks: o.Disks, Geometry: o.Geometry, SegmentSize: o.LogSegmentSize, Ahead: o.LogAhead, MaxFiles: o.MaxOpenFiles,
		Rand: o.Rand, Now: o.Clock, Logger: o.Logger,
		OnDrop: e.diskFailed, OnEpoch: e.epochBegan,
	})
	if err != nil {
		return err
	}
	if e.log.Created() {
		// The index is marked as the pool's, so the pool must be there first;
		// and before that, nothing may be written if the directory is taken.
		if o.IndexDir != "" {
			if err := meta.CheckIndex(o.IndexDir, e.log.Pool()); err != nil {
				return err
			}
		}
		if err := e.log.Claim(ctx); err != nil {
			return err
		}
	}
	batch := meta.NewBatch()
	replay := func(g *log.Group) error { return e.replay(batch, g) }
	if err := e.catchUp(ctx, replay); err != nil {
		return err
	}
	if e.log.Refusal() == nil {
		err := e.log.Start(ctx, replay)
		if err != nil && e.log.Refusal() == nil {
			return err
		}
	}
	if e.log.Refusal() != nil {
		// What is shown now may be taken back: it must not outlast this open.
		if err := e.index.Freeze(); err != nil {
			return err
		}
		if err := e.log.Unsettled(ctx, replay); err != nil {
			return err
		}
	}
	e.payload, err = payload.New(payload.Config{
		Pool: e.log.Pool(), Set: e.log.Set(), NewSegment: e.log.NewSegment, OnDiskError: e.payloadError, OnBadFrame: e.badFrame,
		SegmentSize: o.PayloadSegmentSize, Prealloc: o.PayloadAhead, MaxWindows: o.MaxWindows, MaxSegments: o.MaxSegments, Logger: o.Logger,
	})
	if err != nil {
		return err
	}
	if err := e.wholeIndex(); err != nil {
		return err
	}
	stamp, err := e.lastStamp()
	if err != nil {
		return err
	}
	e.garbageFiles, e.garbageBytes = e.log.Garbage(func(id erasure.SegmentID) bool {
		_, known := e.state.Segment(id)
		return known
	})
	e.slots, e.queue = make(chan struct{}, o.MaxQueue), make(chan *request, o.MaxQueue)
	e.tasks.Go(func() { e.commit(stamp) })
	e.tasks.Go(e.watch)
	return nil
}

// catchUp opens the index, finds the log from where the index stands, and
// applies what is missing. An index that is damaged, or of another history, is
// removed and built again from the log.
func (e *Engine) catchUp(ctx context.Context, replay func(*log.Group) error) error {
	err := e.tryIndex(ctx, replay)
	if err == nil || !rebuildable(err) {
		return err
	}
	e.opts.Logger.Warn("index is built again from the log", "reason", err)
	if e.index != nil {
		_ = e.index.Close() // it goes
		e.index = nil
	}
	if e.opts.IndexDir != "" {
		if err := meta.RemoveIndex(e.opts.IndexDir, e.log.Pool()); err != nil {
			return err
		}
	}
	e.indexGone.Store(nil)
	e.metrics.rebuilds.Add(1)
	return e.tryIndex(ctx, replay)
}

func (e *Engine) tryIndex(ctx context.Context, replay func(*log.Group) error) error {
	if err := e.openIndex(); err != nil {
		return err
	}
	p := e.index.Position()
	if err := e.log.Decide(ctx, log.Position{Seq: p.Seq, Hash: p.Hash}); err != nil {
		return err
	}
	e.applied.Store(p.Seq)
	var err error
	if e.state, err = meta.LoadState(e.index); err != nil {
		return err
	}
	return e.log.Replay(ctx, replay)
}

// wholeIndex gives the index up if it shows a part of a transaction that the log
// does not hold: more disks were lost than it can bear.
func (e *Engine) wholeIndex() error {
	seq, pending, err := meta.Pending(e.index)
	if err != nil || !pending {
		return err
	}
	err = contradiction("the index, now removed, held a part of the transaction at sequence %d, which the log has not: open again", seq)
	_ = e.index.Close() // it goes
	e.index = nil
	if e.opts.IndexDir != "" {
		err = errors.Join(err, meta.RemoveIndex(e.opts.IndexDir, e.log.Pool()))
	}
	return err
}

func (e *Engine) openIndex() (err error) {
	if e.opts.plainIndex {
		e.index = meta.NewMemory()
		return nil
	}
	index, err := meta.OpenPebble(meta.PebbleOptions{
		Dir: e.opts.IndexDir, InMemory: e.opts.IndexDir == "", Pool: e.log.Pool(), CacheBytes: e.opts.CacheBytes, MemTableBytes: e.opts.MemTableBytes,
		Logger: e.opts.Logger, OnFailure: e.indexFailed,
	})
	if err == nil {
		e.index = index
	}
	return err
}

// rebuildable reports whether a new index may help against err: the index
// failed, contradicts itself or the log, or is of another history.
func rebuildable(err error) bool {
	for _, cause := range []error{meta.ErrIndexFailed, meta.ErrEntry, meta.ErrApply, log.ErrFork} {
		if errors.Is(err, cause) {
			return !errors.Is(err, disk.ErrBusy) && !errors.Is(err, disk.ErrNoSpace)
		}
	}
	return false
}

// lastStamp returns the time of the last commit.
func (e *Engine) lastStamp() (int64, error) {
	b, err := e.index.Get(meta.StampKey, nil)
	if errors.Is(err, meta.ErrNoEntry) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if len(b) != 8 {
		return 0, &both{ErrIndexFailed, fmt.Errorf("time of the last commit has %d bytes", len(b))}
	}
	return int64(binary.BigEndian.Uint64(b)), nil
}

// watch proves at intervals that the disks are where they were, and goes on
// without those that are not.
func (e *Engine) watch() {
	t := time.NewTicker(e.opts.CheckInterval)
	defer t.Stop()
	for {
		select {
		case <-e.stop:
			return
		case <-t.C:
			e.checkDisks()
		}
	}
}

func (e *Engine) checkDisks() {
	causes := map[disk.ID]error{}
	for _, id := range e.log.Set().Live() {
		d, live := e.log.Set().Disk(id)
		if !live {
			continue
		}
		if err := d.Check(); err != nil && !errors.Is(err, disk.ErrBusy) {
			causes[id] = err
		}
	}
	if len(causes) > 0 {
		// The log says itself, by Refusal, when it cannot go on.
		_ = e.log.DropAll(causes)
	}
}

func (e *Engine) diskFailed(id disk.ID, name string, err error) {
	e.metrics.disksFailed.Add(1)
	if f := e.opts.Events.DiskFailed; f != nil {
		f(DiskFailedInfo{ID: id.String(), Name: name, Err: err})
	}
}

func (e *Engine) epochBegan(epoch protocol.Epoch, members []disk.ID) {
	if f := e.opts.Events.EpochBegan; f != nil {
		info := EpochInfo{Number: epoch.Number}
		for _, id := range members {
			info.Disks = append(info.Disks, id.String())
		}
		f(info)
	}
}

// payloadError hears of a disk that failed a stream's write.
func (e *Engine) payloadError(id disk.ID, err error) {
	if errors.Is(err, disk.ErrNoSpace) || errors.Is(err, disk.ErrBusy) {
		return // says nothing about the disk; the stream reports it
	}
	_ = e.log.Drop(id, err) // Refusal says when the pool cannot go on
}
