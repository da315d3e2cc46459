package payload

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/erasure"
	"github.com/cairnstore/cairn/internal/segment"
)

// maxAttempts bounds how often a segment is made, or a window written, anew
// because a disk failed.
const maxAttempts = 8

// Store writes and reads payload segments.
type Store struct {
	cfg      Config
	ctx      context.Context // ends with Close: for what no single caller waits for
	cancel   context.CancelFunc
	tokens   chan struct{} // one for each window in use
	stopping chan struct{} // closed by Stop
	stopOnce sync.Once

	wg      sync.WaitGroup // background work; added to under mu while not closed, or by work it counts
	metrics metrics

	codecs [erasure.MaxData + 1][erasure.MaxParity + 1]codecOnce

	mu      sync.Mutex // taken after open.mu, never before
	closed  bool
	shared  *lane         // of short streams
	lanes   []*lane       // the others, at most MaxSegments-1
	reports int           // OnDiskError calls under way
	quiet   chan struct{} // closed when reports is back at 0
}

type codecOnce struct {
	once  sync.Once
	codec *erasure.Codec
}

// New returns a Store that has no segment open yet. The error is [ErrConfig],
// with all problems.
func New(cfg Config) (*Store, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	s := &Store{cfg: cfg, tokens: make(chan struct{}, cfg.MaxWindows), stopping: make(chan struct{})}
	s.shared = &lane{s: s, kind: shared, limit: s.cfg.SegmentSize}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

// Stop lets nobody wait for a window any more: NewStream gives ErrClosed where it
// would wait. Streams that there are go on until Close.
func (s *Store) Stop() { s.stopOnce.Do(func() { close(s.stopping) }) }

// Close ends all writing: streams that are not finished get [ErrClosed], and
// segments of their own are removed. It waits for writes under way, leaves the
// files to the Set, and may be called twice. Reads go on as long as the Set does.
func (s *Store) Close() error {
	s.Stop()
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.wg.Wait()
	// No segment is made any more.
	s.mu.Lock()
	var ends []endings
	for _, l := range append(s.lanes, s.shared) {
		ends = append(ends, s.take(l))
	}
	s.lanes = nil
	s.mu.Unlock()
	for _, e := range ends {
		e.run()
	}
	return nil
}

// start counts background work in wg, unless the Store is closed.
func (s *Store) start() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.wg.Add(1)
	return true
}

func (s *Store) codec(g erasure.Geometry) *erasure.Codec {
	c := &s.codecs[g.Data][g.Parity]
	c.once.Do(func() {
		codec, err := erasure.NewCodec(g)
		if err != nil {
			panic("payload: " + err.Error()) // descriptors are validated
		}
		c.codec = codec
	})
	return c.codec
}

// create makes a segment for a lane, on other disks if some fail.
func (s *Store) create(l *lane) (*open, error) {
	var last error
	for range maxAttempts {
		s.awaitReports()
		d, err := s.cfg.NewSegment(s.ctx)
		if err != nil {
			if s.ctx.Err() != nil {
				err = ErrClosed
			}
			return nil, err
		}
		g, err := s.createFiles(l, d)
		if err == nil {
			return g, nil
		}
		last = err
		if s.ctx.Err() != nil {
			return nil, ErrClosed
		}
	}
	return nil, fmt.Errorf("payload: no segment could be made in %d attempts: %w", maxAttempts, last)
}

func (s *Store) awaitReports() {
	s.mu.Lock()
	quiet := s.quiet
	s.mu.Unlock()
	if quiet != nil {
		<-quiet
	}
}

// createFiles makes the shard files of d and their headers, durably.
func (s *Store) createFiles(l *lane, d *segment.Descriptor) (*open, error) {
	if d.Kind != segment.KindPayload || d.Geometry.Validate() != nil || len(d.Disks) != d.Geometry.Shards() {
		return nil, fmt.Errorf("%w: new segment %s is a %s segment of %s on %d disks", ErrConfig, d.ID, d.Kind, d.Geometry, len(d.Disks))
	}
	g := &open{
		s: s, lane: l, desc: d, codec: s.codec(d.Geometry), next: segment.HeaderSize, limit: erasure.AlignUp(l.limit),
		shards: make([]*shard, len(d.Disks)), reported: make([]bool, len(d.Disks)),
	}
	size := int64(segment.HeaderSize)
	if l.kind == shared {
		size = min(erasure.AlignUp(size+s.cfg.Prealloc), max(g.limit, size))
	}
	if l.hint > 0 {
		g.goal = size + erasure.ExtentSize(d.Geometry.Data, l.hint)
	}
	for i, id := range d.Disks {
		g.shards[i] = &shard{disk: id, key: s.cfg.Set.Key(d.ID, i), ready: size, reserve: l.kind != shared}
	}
	s.metrics.openSegments.Add(1)
	err := g.each(func(i int, f *shard) (err error) {
		if f.file, err = s.cfg.Set.Create(d, i, size); err != nil {
			return err
		}
		page := erasure.GetBuffer(segment.HeaderSize)
		defer page.Release()
		h := segment.Header{Pool: s.cfg.Pool, Shard: i, Descriptor: *d}
		h.Encode(page.B)
		if _, err := f.file.WriteAt(page.B, 0); err != nil {
			return err
		}
		s.metrics.written.Add(segment.HeaderSize)
		s.metrics.syncs.Add(1)
		return f.file.Sync()
	})
	if err != nil {
		s.discard(g)
		return nil, err
	}
	s.metrics.segments.Add(1)
	return g, nil
}

// discard removes a segment that nothing refers to and nobody writes to. What
// it held is not dead bytes: they are gone.
func (s *Store) discard(g *open) {
	if g.close() {
		s.metrics.openSegments.Add(-1)
	}
	s.cfg.Set.Forget(g.desc.ID)
	eachOf(len(g.shards), func(i int) {
		f := g.shards[i]
		if f.file == nil {
			return
		}
		_ = f.file.Close() // nothing of it counts
		f.mu.Lock()
		err := f.err
		f.mu.Unlock()
		// Else it is garbage, known by its epoch.
		if d, live := s.cfg.Set.Disk(f.disk); live && !errors.Is(err, disk.ErrLost) {
			_ = d.Remove(segment.FileName(g.desc.ID, i))
		}
	})
}
