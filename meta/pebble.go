package meta

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/cairnstore/cairn/erasure"
)

// PebbleOptions say where an index on Pebble lies and what it may use. Zero
// values mean the defaults given.
type PebbleOptions struct {
	Dir string // its own directory, made if missing
	// InMemory keeps the index in memory and ignores Dir: it is empty at every
	// open.
	InMemory bool
	Pool     erasure.PoolID // the pool whose log it follows

	CacheBytes    int64 // block cache; 64 MiB; below 32 MiB the index saves memory elsewhere too
	MemTableBytes int64 // one memtable, of at most 4; 16 MiB; at least 64 KiB
	MaxOpenFiles  int   // files of the index that are kept open; 1000

	// What may be unflushed before a flush is forced: bytes (64 MiB), records
	// (20,000), groups (1,000), and for how long (60 s).
	FlushBytes    int64
	FlushRecords  int
	FlushGroups   int
	FlushInterval time.Duration

	Clock  func() time.Time // time.Now
	Logger *slog.Logger     // nil discards

	// OnFailure is called once, when the index fails while open. OnFlush is
	// called after each flush with the position that became durable. Both are
	// called by the index's own goroutine and must not call its Flush or Close.
	OnFailure func(error)
	OnFlush   func(Position)

	fs vfs.FS // vfs.Default; tests crash and break another
}

func (o *PebbleOptions) fill() error {
	if o.InMemory {
		o.Dir, o.fs = "index", vfs.NewMem()
	}
	if o.Dir == "" {
		return errors.New("index directory is not set")
	}
	if o.CacheBytes < 0 || o.MemTableBytes < 0 || o.FlushBytes < 0 || o.FlushRecords < 0 || o.FlushGroups < 0 || o.FlushInterval < 0 || o.MaxOpenFiles < 0 {
		return errors.New("an index limit is negative")
	}
	setDefault(&o.CacheBytes, 64<<20)
	setDefault(&o.MemTableBytes, 16<<20)
	o.MemTableBytes = max(o.MemTableBytes, 64<<10)
	setDefault(&o.MaxOpenFiles, 1000)
	setDefault(&o.FlushBytes, 64<<20)
	setDefault(&o.FlushRecords, 20_000)
	setDefault(&o.FlushGroups, 1_000)
	setDefault(&o.FlushInterval, 60*time.Second)
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.fs == nil {
		// One directory has one name, so that a second open of it in this
		// process meets the first one's lock under another path too.
		abs, err := filepath.Abs(o.Dir)
		if err != nil {
			return err
		}
		if real, err := filepath.EvalSymlinks(abs); err == nil {
			abs = real
		}
		o.Dir, o.fs = abs, vfs.Default
	}
	return nil
}

func setDefault[T int | int64 | time.Duration](p *T, v T) {
	if *p == 0 {
		*p = v
	}
}

// pebbleIndex is the index on Pebble.
//
// It writes no WAL: what is not flushed is replayed from the log. Pebble's
// flushes are atomic and in order, so what a crash leaves is the state at some
// position. One goroutine, run, ends memtables when enough is unflushed and
// closes the database, be it asked to or after a failure; it ends in Close.
type pebbleIndex struct {
	opts  PebbleOptions
	db    *pebble.DB
	cache *pebble.Cache
	lock  *pebble.Lock
	fail  *failure
	gate  gate // of all that uses db

	gets, seeks, steps, applied, flushes atomic.Int64

	writeMu sync.Mutex // held by Apply, and while a memtable is ended

	mu        sync.Mutex
	pos       Position
	durable   Position
	count     uint64        // batches applied since the open
	unflushed held          // since the last flush began
	flushing  held          // in the flush that is under way
	since     time.Time     // when unflushed became more than nothing
	doneCount uint64        // batches that are durable
	done      chan struct{} // closed and replaced after each flush
	frozen    bool          // nothing is flushed any more

	kick      chan struct{} // a flush is wanted
	closing   chan struct{}
	closeOnce sync.Once
	ended     chan struct{} // closed when run has released everything
	closeErr  error         // set before ended is closed
}

// held is what would have to be replayed.
type held struct {
	bytes   int64
	records uint64
	groups  int
}

func (h held) plus(o held) held {
	return held{h.bytes + o.bytes, h.records + o.records, h.groups + o.groups}
}

// OpenPebble opens the index in opts.Dir, or makes an empty one if the
// directory is missing or empty. The index found is whole as of its Position;
// the caller replays the log from there.
//
// Errors: ErrForeignIndex, ErrInUse and *FormatError, with nothing written;
// ErrIndexFailed for an index that cannot be opened or is of an older format,
// which RemoveIndex clears away.
func OpenPebble(opts PebbleOptions) (Index, error) {
	if err := opts.fill(); err != nil {
		return nil, err
	}
	x := &pebbleIndex{
		opts:    opts,
		fail:    newFailure(),
		gate:    newGate(),
		done:    make(chan struct{}),
		kick:    make(chan struct{}, 1),
		closing: make(chan struct{}),
		ended:   make(chan struct{}),
	}
	fs := &deadlyFS{FS: opts.fs, fail: x.fail}
	lock, err := claimIndex(fs, opts.Dir, opts.Pool)
	if err != nil {
		return nil, err
	}
	x.lock = lock
	if err := x.open(fs); err != nil {
		lock.Close()
		return nil, err
	}
	go x.run()
	return x, nil
}

// open opens the database and reads how far it came. After an error nothing of
// it is left but the lock.
func (x *pebbleIndex) open(fs vfs.FS) error {
	x.cache = pebble.NewCache(x.opts.CacheBytes)
	db, err := openDB(x.opts.Dir, x.pebbleOptions(fs))
	if err == nil {
		x.db = db
		if err = x.loadPosition(); err == nil {
			err = x.fail.err() // writes may have been swallowed already
		}
		if err == nil {
			return nil
		}
		err = errors.Join(err, db.Close())
	}
	x.cache.Unref()
	var newer *FormatError
	if errors.As(err, &newer) {
		return err
	}
	x.fail.set(err)
	return x.fail.err()
}

// openDB opens a database that may be damaged in any way. Pebble checks what it
// reads, but some of it only after a checksum that a lucky flip survives.
func openDB(dir string, o *pebble.Options) (db *pebble.DB, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("pebble: open: %v", p)
		}
	}()
	return pebble.Open(dir, o)
}

func (x *pebbleIndex) pebbleOptions(fs vfs.FS) *pebble.Options {
	o := &pebble.Options{
		FS:                          fs,
		Lock:                        x.lock,
		Cache:                       x.cache,
		DisableWAL:                  true,
		FormatMajorVersion:          pebble.FormatValueSeparation,
		MemTableSize:                uint64(x.opts.MemTableBytes),
		MemTableStopWritesThreshold: 4,
		MaxOpenFiles:                x.opts.MaxOpenFiles,
		Logger:                      pebbleLogger{x.opts.Logger, x.fail},
		EventListener: &pebble.EventListener{
			BackgroundError: x.backgroundError,
			DataCorruption: func(i pebble.DataCorruptionInfo) {
				x.fail.set(fmt.Errorf("corrupt: %s: %w", i.Path, i.Details))
			},
		},
		CompactionConcurrencyRange: func() (int, int) { return 1, max(1, runtime.GOMAXPROCS(0)/2) },
	}
	o.Experimental.FileCacheShards = min(8, runtime.GOMAXPROCS(0))
	if x.opts.CacheBytes < 32<<20 {
		o.Experimental.FileCacheShards = 1 // an edge box: a goroutine each
	}
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	return o
}

func (x *pebbleIndex) loadPosition() error {
	value, err := lookup(x.db, positionKey, nil)
	if errors.Is(err, ErrNoEntry) {
		return nil // new, or never flushed
	}
	if err != nil {
		return err
	}
	if err := decodePosition(&x.pos, value); err != nil {
		return err
	}
	x.durable = x.pos
	format, err := lookup(x.db, formatKey, nil)
	if err != nil {
		return err
	}
	if len(format) != 1 {
		return fmt.Errorf("%w: format of %d bytes", ErrEntry, len(format))
	}
	switch {
	case format[0] > indexVersion:
		return &FormatError{What: "index", Have: uint64(format[0]), Want: indexVersion}
	case format[0] < indexVersion:
		return fmt.Errorf("%w: format %d under a marker of %d", ErrEntry, format[0], indexVersion)
	}
	return nil
}

// enter must be balanced by leave if it returns nil. It keeps the database open
// in between.
func (x *pebbleIndex) enter() error {
	if err := x.fail.err(); err != nil {
		return err
	}
	if x.gate.enter() {
		return nil
	}
	if err := x.fail.err(); err != nil { // which is what shut the gate
		return err
	}
	return ErrClosed
}

func (x *pebbleIndex) leave() { x.gate.leave() }

// Get implements Reader.
func (x *pebbleIndex) Get(key, dst []byte) ([]byte, error) {
	if err := x.enter(); err != nil {
		return nil, err
	}
	defer x.leave()
	return x.get(x.db, key, dst)
}

// get reads from the database or a snapshot of it, which the caller keeps open.
func (x *pebbleIndex) get(r pebble.Reader, key, dst []byte) ([]byte, error) {
	x.gets.Add(1)
	value, err := lookup(r, key, dst)
	if err != nil && !errors.Is(err, ErrNoEntry) {
		x.fail.set(err)
	}
	// Pebble may have gone on over something that it reported elsewhere.
	if failed := x.fail.err(); failed != nil {
		return nil, failed
	}
	return value, err
}

func lookup(r pebble.Reader, key, dst []byte) ([]byte, error) {
	value, closer, err := r.Get(key)
	if err != nil {
		if errors.Is(err, pebble.ErrNotFound) {
			return nil, ErrNoEntry
		}
		return nil, err
	}
	dst = append(dst[:0], value...)
	return dst, closer.Close()
}

// NewIter implements Reader.
func (x *pebbleIndex) NewIter(lower, upper []byte) (Iterator, error) {
	if err := x.enter(); err != nil {
		return nil, err
	}
	return x.iter(x.db, lower, upper)
}

// iter opens an iterator, whose end balances the enter before.
func (x *pebbleIndex) iter(r pebble.Reader, lower, upper []byte) (Iterator, error) {
	if upper != nil && bytes.Compare(lower, upper) > 0 {
		lower = upper // Pebble leaves open what it does with such bounds
	}
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		x.fail.set(err)
		x.leave()
		return nil, x.fail.err()
	}
	return &pebbleIter{x: x, it: it}, nil
}

// Position implements Index.
func (x *pebbleIndex) Position() Position {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.pos
}

// Durable implements Index.
func (x *pebbleIndex) Durable() Position {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.durable
}

// Metrics implements Index.
func (x *pebbleIndex) Metrics() IndexMetrics {
	m := IndexMetrics{
		Gets: x.gets.Load(), Seeks: x.seeks.Load(), Steps: x.steps.Load(),
		Applied: x.applied.Load(), Flushes: x.flushes.Load(),
	}
	if x.enter() == nil {
		m.Bytes = int64(x.db.Metrics().DiskSpaceUsage())
		x.leave()
	}
	return m
}

// backgroundError is called by Pebble, which then tries again at once; so once
// the index has failed it is slowed down until run has closed the database.
func (x *pebbleIndex) backgroundError(err error) {
	select {
	case <-x.closing: // what was under way was cancelled
	default:
		x.fail.set(err)
	}
	t := time.NewTimer(20 * time.Millisecond)
	defer t.Stop()
	select {
	case <-t.C:
	case <-x.gate.drained():
	}
}

// pebbleLogger passes Pebble's messages on. What Pebble would end the process
// for fails the index instead.
type pebbleLogger struct {
	log  *slog.Logger
	fail *failure
}

func (l pebbleLogger) Infof(format string, args ...any) {
	l.log.Debug("pebble: " + fmt.Sprintf(format, args...))
}

func (l pebbleLogger) Errorf(format string, args ...any) {
	l.log.Warn("pebble: " + fmt.Sprintf(format, args...))
}

func (l pebbleLogger) Fatalf(format string, args ...any) {
	l.fail.set(fmt.Errorf("pebble: "+format, args...))
}
