package log

import (
	"errors"
	"fmt"
	"sync"

	"github.com/zeebo/blake3"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/erasure"
	"github.com/cairnstore/cairn/internal/segment"
)

// tail is the log segment that groups are appended to.
type tail struct {
	desc  *segment.Descriptor
	files []*shardFile
	// spoiled: parts of a group that was not acknowledged are on disk. A group
	// after them would have its sequences: the log must go on in a new tail.
	spoiled bool
}

// shardFile is one shard file of the tail.
type shardFile struct {
	disk disk.ID
	file disk.File
	key  *erasure.Key
	pos  int64 // where the next part goes; changed under Log.write

	mu    sync.Mutex
	ready int64         // size, zero-filled and durable
	busy  chan struct{} // closed when the extension under way ends; nil: none
	err   error         // failure of an extension; the file is dead
}

// diskError is a failure of one disk.
type diskError struct {
	id  disk.ID
	err error
}

// createTail makes the shard files of d, zero-filled ahead. Failures are
// returned by disk, and nothing is left then.
func (l *Log) createTail(d *segment.Descriptor, size int64) (*tail, []diskError) {
	t := &tail{desc: d, files: make([]*shardFile, len(d.Disks))}
	failed := eachShard(len(d.Disks), func(shard int) error {
		f, err := l.set.Create(d, shard, size)
		if err != nil {
			return err
		}
		l.metrics.created.Add(1)
		t.files[shard] = &shardFile{disk: d.Disks[shard], file: f, key: l.set.Key(d.ID, shard), ready: size}
		return nil
	}, d.Disks)
	if len(failed) > 0 {
		l.discard(t)
	}
	return t, failed
}

// eachShard runs fn for every shard at once and collects failures by disk.
func eachShard(n int, fn func(shard int) error, disks []disk.ID) []diskError {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for shard := 1; shard < n; shard++ {
		wg.Go(func() { errs[shard] = fn(shard) })
	}
	if n > 0 {
		errs[0] = fn(0)
	}
	wg.Wait()
	var failed []diskError
	for shard, err := range errs {
		if err != nil {
			failed = append(failed, diskError{disks[shard], err})
		}
	}
	return failed
}

// writeOpening makes the opening group durable in every shard file.
func (l *Log) writeOpening(t *tail, o *opening) []diskError {
	body := o.append(make([]byte, 0, openingFixed+64))
	first := erasure.AlignUp(segment.HeaderSize + int64(len(body)))
	sum := blake3.Sum256(body)
	return eachShard(len(t.files), func(shard int) error {
		f := t.files[shard]
		if err := f.ensure(first, l.cfg.Ahead, false); err != nil {
			return err
		}
		buf := erasure.GetBuffer(int(first))
		defer buf.Release()
		clear(buf.B[segment.HeaderSize+len(body):])
		copy(buf.B[segment.HeaderSize:], body)
		h := segment.Header{Pool: l.pool, Shard: shard, Descriptor: *t.desc, BodyLength: int64(len(body)), BodyHash: sum}
		h.Encode(buf.B[:segment.HeaderSize])
		f.pos = first
		if _, err := f.file.WriteAt(buf.B, 0); err != nil {
			return err
		}
		l.metrics.written.Add(first)
		l.metrics.syncs.Add(1)
		return f.sync()
	}, t.desc.Disks)
}

// ensure makes the file at least end bytes long, waiting for an extension under
// way. Growing here, on the way of an append, happens only when appends outrun
// the zero-fill, and before those that are bulk.
func (f *shardFile) ensure(end, ahead int64, bulk bool) error {
	f.mu.Lock()
	for f.busy != nil && f.err == nil && f.ready < end {
		busy := f.busy
		f.mu.Unlock()
		<-busy
		f.mu.Lock()
	}
	defer f.mu.Unlock()
	if f.err != nil || f.ready >= end {
		return f.err
	}
	size := erasure.AlignUp(end + ahead)
	grow := f.file.Extend
	if bulk {
		size = erasure.AlignUp(end + bulkAhead*ahead)
		grow = func(size int64) error { return disk.Reserve(f.file, size) } // durable with the append's sync
	}
	err := grow(size)
	if errors.Is(err, disk.ErrNoSpace) {
		size = erasure.AlignUp(end) // no more than is needed
		err = grow(size)
	}
	if err != nil {
		return err
	}
	f.ready = size
	return nil
}

// bulkPart is the size of a part from which its group is bulk: it goes to space
// that was reserved, not filled with zeros ahead. Such an append has metadata to
// sync with it, which weighs little beside its bytes; the zeros would double
// them.
const bulkPart = 256 << 10

// bulkAhead is how many times as much is taken ahead by reserving, which costs
// one system call whatever the size.
const bulkAhead = 4

// sync makes what was written durable.
func (f *shardFile) sync() error { return f.synced(f.file.Sync()) }

// synced is the outcome of a sync that has ended with err. A zero-fill that ran
// meanwhile has its own sync of the same file, and the kernel reports a failed
// write-back to one of the two only: its outcome counts as well.
func (f *shardFile) synced(err error) error {
	if err != nil {
		return err
	}
	f.mu.Lock()
	busy := f.busy
	f.mu.Unlock()
	if busy != nil {
		<-busy
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// fillAhead keeps ahead bytes of zeros in front of the append position, in the
// background, one extension of a file at a time.
func (l *Log) fillAhead(f *shardFile) {
	ahead := l.cfg.Ahead
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.busy != nil || f.err != nil || f.ready-f.pos > ahead/2 || f.ready >= l.cfg.SegmentSize {
		return
	}
	done := make(chan struct{})
	f.busy = done
	size := erasure.AlignUp(f.pos + ahead + ahead/2)
	l.background.Go(func() {
		err := f.file.Extend(size)
		f.mu.Lock()
		defer f.mu.Unlock()
		f.busy = nil
		close(done)
		switch {
		case err == nil:
			f.ready = max(f.ready, size)
			l.metrics.extended.Add(1)
		case harmless([]diskError{{f.disk, err}}) != nil:
			// The append that needs the room will try again, and say so.
		default:
			f.err = fmt.Errorf("zero-fill: %w", err)
		}
	})
}

// spare is the next log segment's files, made before they are needed.
type spare struct {
	done   chan struct{}
	tail   *tail
	failed []diskError
}

// prepare makes the files of the next segment in the background once the tail
// is half full, so that a roll creates nothing.
func (l *Log) prepare() {
	if l.spare != nil || l.tail.fill() < l.cfg.SegmentSize/2 {
		return
	}
	d, err := l.newDescriptor(segment.KindLog)
	if err != nil {
		return // the roll will find out
	}
	s := &spare{done: make(chan struct{})}
	l.spare = s
	l.background.Go(func() {
		defer close(s.done)
		s.tail, s.failed = l.createTail(d, l.firstSize())
	})
}

// firstSize is the size at which log shard files are made.
func (l *Log) firstSize() int64 {
	return min(erasure.AlignUp(l.cfg.Ahead), erasure.AlignUp(l.cfg.SegmentSize))
}

func (t *tail) fill() int64 {
	var most int64
	for _, f := range t.files {
		most = max(most, f.pos)
	}
	return most
}
