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
	cfg    Config
	ctx    context.Context // ends with Close: for what no single caller waits for
	cancel context.CancelFunc
	tokens chan struct{} // one for each window in use

	wg      sync.WaitGroup // background work; added to under mu while not closed, or by work it counts
	metrics metrics

	codecs [erasure.MaxData + 1][erasure.MaxParity + 1]codecOnce

	mu      sync.Mutex // taken after open.mu, never before
	closed  bool
	cur     *open         // nil: none yet, or it is retired
	spare   *open         // made ahead
	making  *making       // nil: none is being made
	reports int           // OnDiskError calls under way
	quiet   chan struct{} // closed when reports is back at 0
}

type codecOnce struct {
	once  sync.Once
	codec *erasure.Codec
}

// making is a segment that is being made.
type making struct {
	done chan struct{}
	err  error
}

// New returns a Store that has no segment open yet. The error is [ErrConfig],
// with all problems.
func New(cfg Config) (*Store, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	s := &Store{cfg: cfg, tokens: make(chan struct{}, cfg.MaxWindows)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

// Close ends all writing: streams that are not finished get [ErrClosed]. It
// waits for writes under way, leaves the files to the Set, and may be called
// twice. Reads go on as long as the Set does.
func (s *Store) Close() error {
	s.mu.Lock()
	s.closed = true
	cur, spare := s.cur, s.spare
	s.cur, s.spare = nil, nil
	s.mu.Unlock()
	s.cancel()
	s.wg.Wait()
	// What a maker left while we waited.
	s.mu.Lock()
	late := s.spare
	s.spare = nil
	s.mu.Unlock()
	if cur != nil {
		cur.retire()
	}
	for _, g := range []*open{spare, late} {
		if g != nil {
			s.discard(g)
		}
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

// current returns the open segment, making one if there is none.
func (s *Store) current(ctx context.Context) (*open, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			return nil, ErrClosed
		}
		if s.cur == nil {
			s.cur, s.spare = s.spare, nil
			if s.cur != nil && !s.alive(s.cur.desc) {
				stale := s.cur
				s.cur = nil
				s.wg.Go(func() { s.discard(stale) })
			}
		}
		if g := s.cur; g != nil {
			s.mu.Unlock()
			return g, nil
		}
		m := s.make()
		s.mu.Unlock()
		select {
		case <-m.done:
			if m.err != nil {
				return nil, m.err
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// alloc gives an extent of length bytes its place in the open segment, or in
// the next if that is full. The caller releases the segment.
func (s *Store) alloc(ctx context.Context, length int64) (*open, int64, error) {
	for {
		g, err := s.current(ctx)
		if err != nil {
			return nil, 0, err
		}
		if off, ok := g.alloc(length); ok {
			if off > s.cfg.SegmentSize/2 {
				s.prepare()
			}
			return g, off, nil
		}
		s.mu.Lock()
		if s.cur == g {
			s.cur = nil
		}
		s.mu.Unlock()
		g.closeIfDone()
	}
}

// alive reports whether all disks of d may be written.
func (s *Store) alive(d *segment.Descriptor) bool {
	for _, id := range d.Disks {
		if _, live := s.cfg.Set.Disk(id); !live {
			return false
		}
	}
	return true
}

// prepare makes the next segment ahead of need.
func (s *Store) prepare() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.spare == nil && s.making == nil && !s.closed {
		s.make()
	}
}

// make has a segment made in the background and left in spare, or returns the
// one that is being made. mu is held and the Store not closed.
func (s *Store) make() *making {
	if s.making != nil {
		return s.making
	}
	m := &making{done: make(chan struct{})}
	s.making = m
	s.wg.Go(func() {
		g, err := s.create()
		s.mu.Lock()
		s.making, s.spare, m.err = nil, g, err
		s.mu.Unlock()
		close(m.done)
	})
	return m
}

// create makes a segment, on other disks if some fail.
func (s *Store) create() (*open, error) {
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
		g, err := s.createFiles(d)
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
func (s *Store) createFiles(d *segment.Descriptor) (*open, error) {
	if d.Kind != segment.KindPayload || d.Geometry.Validate() != nil || len(d.Disks) != d.Geometry.Shards() {
		return nil, fmt.Errorf("%w: new segment %s is a %s segment of %s on %d disks", ErrConfig, d.ID, d.Kind, d.Geometry, len(d.Disks))
	}
	g := &open{
		s: s, desc: d, codec: s.codec(d.Geometry), next: segment.HeaderSize,
		shards: make([]*shard, len(d.Disks)), reported: make([]bool, len(d.Disks)),
	}
	size := min(erasure.AlignUp(segment.HeaderSize+s.cfg.Prealloc), erasure.AlignUp(max(s.cfg.SegmentSize, segment.HeaderSize)))
	for i, id := range d.Disks {
		g.shards[i] = &shard{disk: id, key: s.cfg.Set.Key(d.ID, i), ready: size}
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

// discard removes a segment that nothing was written to.
func (s *Store) discard(g *open) {
	s.metrics.openSegments.Add(-1)
	s.cfg.Set.Forget(g.desc.ID)
	eachOf(len(g.shards), func(i int) {
		f := g.shards[i]
		if f.file == nil {
			return
		}
		_ = f.file.Close()
		// Else it is garbage, known by its epoch.
		if d, live := s.cfg.Set.Disk(f.disk); live && !errors.Is(f.err, disk.ErrLost) {
			_ = d.Remove(segment.FileName(g.desc.ID, i))
		}
	})
}
