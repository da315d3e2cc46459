package payload

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/erasure"
	"github.com/cairnstore/cairn/internal/segment"
)

// open is a payload segment that is being written.
type open struct {
	s      *Store
	lane   *lane
	desc   *segment.Descriptor
	codec  *erasure.Codec
	shards []*shard
	limit  int64        // bytes of a shard file; one extent may go beyond
	goal   int64        // where the object will end, if that is known; else 0
	kept   atomic.Bool  // a window that lies here became durable
	dead   atomic.Int64 // bytes of all shards given up here, of an own lane

	mu       sync.Mutex
	next     int64 // where the next extent goes
	users    int   // windows placed here and not yet durable
	retired  bool  // no more extents
	failed   error // a shard is dead; nil: none
	filling  bool  // zero-fill ahead is under way
	reported []bool
	closed   bool

	syncing bool
	round   *round // the next sync, that waiters join
}

// alloc gives an extent of length object bytes its place. The caller releases
// the segment when the extent is durable or given up. It answers false when the
// segment is full or failed; then it is retired.
func (g *open) alloc(length int64) (off int64, ok bool) {
	size := erasure.ExtentSize(g.desc.Geometry.Data, length)
	g.mu.Lock()
	defer g.mu.Unlock()
	full := g.next+size > g.limit && g.next > segment.HeaderSize
	if g.retired || g.failed != nil || full {
		g.retired = true
		return 0, false
	}
	off = g.next
	g.next += size
	g.users++
	g.fillAhead()
	return off, true
}

// ahead returns up to where a shard file grows when an extent that ends at end
// is written. Little is reserved in a short file: of a segment that one stream
// owns the rest stays unused.
func (g *open) ahead(end int64) int64 {
	n := g.s.cfg.Prealloc
	if g.lane.kind == own {
		n = min(n, end/8)
	}
	size := max(end, min(end+n, g.limit))
	if end <= g.goal {
		size = min(size, g.goal)
	}
	return size
}

// fillAhead keeps Prealloc bytes of zeros before the next extent, in the
// background. Space is reserved by those who write: it is no work. mu is held.
func (g *open) fillAhead() {
	ahead := g.s.cfg.Prealloc
	need := min(g.next+ahead/2, g.limit)
	if g.filling || g.lane.kind != shared {
		return
	}
	short := false
	for _, f := range g.shards {
		f.mu.Lock()
		short = short || f.err == nil && f.ready < need
		f.mu.Unlock()
	}
	if !short || !g.s.start() {
		return
	}
	g.filling = true
	size := max(need, min(g.next+ahead+ahead/2, g.limit))
	go func() {
		defer g.s.wg.Done()
		_ = g.each(func(_ int, f *shard) error { return f.extend(need, size, false) }) // seals the segment
		g.mu.Lock()
		g.filling = false
		g.mu.Unlock()
		g.closeIfDone()
	}()
}

// each runs fn for all shards at once and fails those that it returns an error
// for. It returns the first of the errors.
func (g *open) each(fn func(i int, f *shard) error) error {
	errs := make([]error, len(g.shards))
	eachOf(len(g.shards), func(i int) { errs[i] = fn(i, g.shards[i]) })
	return g.failAll(errs)
}

// failAll fails the shards that have an error and returns the first.
func (g *open) failAll(errs []error) error {
	var first error
	for i, err := range errs {
		if err != nil {
			g.fail(i, err)
			if first == nil {
				first = err
			}
		}
	}
	return first
}

// eachOf runs fn for 0 to n-1 at once, the last in this goroutine.
func eachOf(n int, fn func(i int)) {
	if n == 0 {
		return
	}
	var wg sync.WaitGroup
	for i := range n - 1 {
		wg.Go(func() { fn(i) })
	}
	fn(n - 1)
	wg.Wait()
}

// fail declares a shard dead, seals the segment and reports the disk.
func (g *open) fail(i int, err error) {
	f := g.shards[i]
	f.mu.Lock()
	if f.err == nil {
		f.err = err
	}
	f.mu.Unlock()
	g.mu.Lock()
	if g.failed == nil {
		g.failed = err
	}
	g.retired = true
	report := !g.reported[i]
	g.reported[i] = true
	g.mu.Unlock()
	if report {
		g.s.report(g.desc, f.disk, err)
	}
}

// err returns why the segment was sealed, or nil.
func (g *open) err() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.failed
}

// release gives up a claim that alloc made.
func (g *open) release() {
	g.mu.Lock()
	g.users--
	g.mu.Unlock()
	g.closeIfDone()
}

// retire ends allocation.
func (g *open) retire() {
	g.mu.Lock()
	g.retired = true
	g.mu.Unlock()
	g.closeIfDone()
}

// closeIfDone gives the files back to the readers' cache when nothing more is
// to be written.
func (g *open) closeIfDone() {
	g.mu.Lock()
	done := g.retired && g.users == 0 && !g.filling && !g.closed
	g.closed = g.closed || done
	g.mu.Unlock()
	if !done {
		return
	}
	g.s.metrics.openSegments.Add(-1)
	for _, f := range g.shards {
		_ = f.file.Close() // what counts was synced before
	}
}

// close ends allocation and reports whether it is the first end of the segment.
func (g *open) close() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	first := !g.closed
	g.retired, g.closed = true, true
	return first
}

// report tells the owner of the pool about a failed disk, and has new segments
// wait for the answer.
func (s *Store) report(d *segment.Descriptor, id disk.ID, err error) {
	s.cfg.Logger.Warn("payload segment sealed", "segment", d.ID.String(), "disk", id.String(), "error", err)
	if errors.Is(err, disk.ErrBusy) {
		return // nothing is wrong with the disk
	}
	if had, live := s.cfg.Set.Disk(id); had != nil && !live {
		return // known
	}
	s.mu.Lock()
	if s.reports == 0 {
		s.quiet = make(chan struct{})
	}
	s.reports++
	s.mu.Unlock()
	s.cfg.OnDiskError(id, err)
	s.mu.Lock()
	s.reports--
	if s.reports == 0 {
		close(s.quiet)
	}
	s.mu.Unlock()
}
