package meta

import (
	"errors"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// Apply implements Index.
func (x *pebbleIndex) Apply(b *Batch, pos Position) error {
	if err := x.enter(); err != nil {
		return err
	}
	defer x.leave()
	if err := x.backpressure(); err != nil {
		return err
	}
	x.writeMu.Lock()
	defer x.writeMu.Unlock()
	last := x.Position()
	if pos.Seq < last.Seq {
		return errBackwards(pos, last)
	}
	if err := x.commit(b, pos, last == Position{}); err != nil {
		x.fail.set(err)
	}
	if err := x.fail.err(); err != nil {
		return err
	}
	x.applied.Add(1)

	x.mu.Lock()
	if x.unflushed.groups == 0 {
		x.since = x.opts.Clock()
	}
	x.pos = pos
	x.count++
	x.unflushed = x.unflushed.plus(held{int64(b.Bytes()), pos.Seq - last.Seq, 1})
	due := x.dueLocked()
	x.mu.Unlock()
	if due {
		x.wantFlush()
	}
	return nil
}

// commit writes the batch, the position and, into a new index, its format. It
// does not sync; there is nothing to.
func (x *pebbleIndex) commit(b *Batch, pos Position, first bool) (err error) {
	w := x.db.NewBatchWithSize(b.Bytes() + b.Len()*4 + 128)
	defer func() { err = errors.Join(err, w.Close()) }()
	if first {
		err = w.Set(formatKey, []byte{indexVersion}, nil)
	}
	b.each(
		func(key, value []byte) { err = errors.Join(err, w.Set(key, value, nil)) },
		func(key []byte) { err = errors.Join(err, w.Delete(key, nil)) },
	)
	var buf [80]byte
	err = errors.Join(err, w.Set(positionKey, pos.append(buf[:0]), nil))
	if err != nil {
		return err
	}
	return w.Commit(pebble.NoSync)
}

// dueLocked reports whether so much is unflushed that a flush is due.
func (x *pebbleIndex) dueLocked() bool {
	return x.unflushed.groups > 0 &&
		(x.over(x.unflushed, 1) || x.opts.Clock().Sub(x.since) >= x.opts.FlushInterval)
}

// over reports whether h reaches n times a limit on what may be replayed.
func (x *pebbleIndex) over(h held, n int) bool {
	return h.bytes >= int64(n)*x.opts.FlushBytes ||
		h.records >= uint64(n)*uint64(x.opts.FlushRecords) ||
		h.groups >= n*x.opts.FlushGroups
}

// backpressure waits while twice as much is unflushed as should be: the replay
// after a crash stays bounded, however slow the directory's disk is.
func (x *pebbleIndex) backpressure() error {
	for {
		x.mu.Lock()
		full := x.over(x.unflushed.plus(x.flushing), 2) && !x.frozen
		done := x.done
		x.mu.Unlock()
		if !full {
			return nil
		}
		x.wantFlush()
		if err := x.await(done); err != nil {
			return err
		}
	}
}

// Flush implements Index.
func (x *pebbleIndex) Flush() error {
	if err := x.enter(); err != nil {
		return err
	}
	defer x.leave()
	x.mu.Lock()
	target := x.count
	x.mu.Unlock()
	for {
		x.mu.Lock()
		reached, done := x.doneCount >= target || x.frozen, x.done
		x.mu.Unlock()
		if reached {
			return x.fail.err()
		}
		x.wantFlush()
		if err := x.await(done); err != nil {
			return err
		}
	}
}

// Freeze implements Index.
func (x *pebbleIndex) Freeze() error {
	if err := x.Flush(); err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.frozen = true
	return nil
}

func (x *pebbleIndex) await(done <-chan struct{}) error {
	select {
	case <-done:
		return x.fail.err()
	case <-x.fail.failed():
		return x.fail.err()
	}
}

// wantFlush asks run for a flush. Askers while one is asked for share it.
func (x *pebbleIndex) wantFlush() {
	select {
	case x.kick <- struct{}{}:
	default:
	}
}

// run flushes when asked to, and when time is up; when the index fails or is
// closed it waits for those who use the database and closes it.
func (x *pebbleIndex) run() {
	defer close(x.ended)
	tick := time.NewTicker(max(x.opts.FlushInterval/8, time.Millisecond))
	defer tick.Stop()
	closing := x.closing
	failed := x.fail.failed()
	for {
		select {
		case <-x.kick:
			x.flush()
		case <-tick.C:
			x.mu.Lock()
			due := x.dueLocked()
			x.mu.Unlock()
			if due {
				x.flush()
			}
		case <-failed:
			failed = nil
			x.reportFailure()
			x.gate.shut()
		case <-closing:
			closing = nil
			x.gate.shut()
		case <-x.gate.drained():
			x.shutDown(failed != nil)
			return
		}
	}
}

func (x *pebbleIndex) reportFailure() {
	err := x.fail.err()
	x.opts.Logger.Error("index failed", "dir", x.opts.Dir, "err", err)
	if x.opts.OnFailure != nil {
		x.opts.OnFailure(err)
	}
}

// flush makes durable what was applied before it. Only run calls it.
func (x *pebbleIndex) flush() {
	x.mu.Lock()
	idle := x.doneCount == x.count || x.frozen
	x.mu.Unlock()
	if idle || x.fail.err() != nil {
		return
	}
	// No batch may come between the position taken and the end of the memtable.
	x.writeMu.Lock()
	x.mu.Lock()
	pos, count := x.pos, x.count
	x.flushing, x.unflushed = x.unflushed, held{}
	x.mu.Unlock()
	flushed, err := x.db.AsyncFlush()
	x.writeMu.Unlock()
	if err != nil {
		x.fail.set(err)
		return
	}
	select {
	case <-flushed:
	case <-x.fail.failed():
	}
	// After a failure writes are swallowed and Pebble's flush means nothing.
	if x.fail.err() != nil {
		return
	}
	x.flushes.Add(1)
	x.mu.Lock()
	x.durable, x.doneCount, x.flushing = pos, count, held{}
	close(x.done)
	x.done = make(chan struct{})
	x.mu.Unlock()
	if x.opts.OnFlush != nil {
		x.opts.OnFlush(pos)
	}
}

// shutDown releases everything, when nobody uses the database any more.
func (x *pebbleIndex) shutDown(reportable bool) {
	x.flush()
	err := x.db.Close()
	x.cache.Unref()
	x.lock.Close()
	if failed := x.fail.err(); failed != nil {
		if reportable {
			x.reportFailure()
		}
		err = failed
	} else if err != nil {
		err = errors.Join(ErrIndexFailed, err)
	}
	x.closeErr = err
}

// Close implements Index.
func (x *pebbleIndex) Close() error {
	x.closeOnce.Do(func() { close(x.closing) })
	<-x.ended
	return x.closeErr
}
