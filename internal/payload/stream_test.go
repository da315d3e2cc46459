package payload

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/disk/filedisk"
	"github.com/cairnstore/cairn/erasure"
	"github.com/cairnstore/cairn/internal/segment"
)

var geometries = []erasure.Geometry{{Data: 1}, {Data: 1, Parity: 1}, {Data: 2, Parity: 1}, {Data: 4, Parity: 2}, {Data: 8, Parity: 3}}

// sizes lists lengths around every boundary of the layout for k, up to two
// windows and more.
func sizes(k int) []int {
	row, window := int(erasure.RowBytes(k)), 1<<20
	window = max(2, window/row) * row
	var all []int
	for _, b := range []int{erasure.Align - erasure.TrailerSize, erasure.FrameData, row, 2 * row, window / 2, window - row, window, 2*window - row} {
		all = append(all, b-1, b, b+1)
	}
	return append(all, 1, 1<<19, 1<<19+1, window+row/2, 3*window+777)
}

func TestRoundTrip(t *testing.T) {
	leaks(t)
	for _, g := range geometries {
		t.Run(g.String(), func(t *testing.T) {
			r := newRand(t)
			p := memPool(g, g.Shards()+1)
			s := p.open(t)
			var objects []*object
			rounds := 3
			for i, n := range sizes(g.Data) {
				if raceEnabled && r.IntN(3) > 0 {
					rounds = 1
					continue
				}
				o, err := put(s, content(uint64(i), n), 1+r.IntN(300_000))
				require.NoError(t, err)
				if err := o.check(s, r); err != nil {
					t.Fatalf("%d bytes: %v", n, err)
				}
				objects = append(objects, o)
			}
			require.Zero(t, s.Metrics().RowsReconstructed)
			require.Zero(t, s.Metrics().DeadBytes)
			// Any m disks lost.
			for range rounds {
				lost := r.Perm(len(p.disks))[:g.Parity]
				for _, i := range lost {
					p.disks[i].Lose()
				}
				for _, o := range objects {
					if err := o.check(s, r); err != nil {
						t.Fatalf("%d bytes, disks %v lost: %v", len(o.data), lost, err)
					}
				}
				for _, i := range lost {
					p.disks[i].Return()
				}
			}
			if !raceEnabled {
				require.Equal(t, g.Parity > 0, s.Metrics().RowsReconstructed > 0)
			}
		})
	}
}

func TestEmptyObject(t *testing.T) {
	leaks(t)
	p := memPool(geometries[3], 6)
	s := p.open(t)
	o, err := put(s, nil, 1)
	require.NoError(t, err)
	require.Empty(t, o.extents)
	require.Zero(t, p.counts().Creates)
}

func TestMergeRules(t *testing.T) {
	g := geometries[3]
	d := &segment.Descriptor{ID: erasure.SegmentID{Epoch: 1, Counter: 1}, Geometry: g}
	row := erasure.RowBytes(g.Data)
	seg := &open{desc: d, lane: &lane{}}
	at := func(off, n int64) placed {
		return placed{seg: seg, extent: erasure.Extent{Segment: d.ID, Offset: off, Length: n}}
	}
	for _, tc := range []struct {
		name   string
		places []placed
		want   int
	}{
		{"whole rows, then whole rows", []placed{at(4096, 2*row), at(4096+2*erasure.FrameSize, row)}, 1},
		{"whole rows, then more than a row", []placed{at(4096, 2*row), at(4096+2*erasure.FrameSize, row+1)}, 1},
		{"whole rows, then less than a row", []placed{at(4096, 2*row), at(4096+2*erasure.FrameSize, row-1)}, 2},
		{"not whole rows", []placed{at(4096, 2*row-1), at(4096+2*erasure.FrameSize, row)}, 2},
		{"a gap", []placed{at(4096, 2*row), at(8192+2*erasure.FrameSize, row)}, 2},
	} {
		var l layout
		for range tc.places {
			l.add()
		}
		for i := range tc.places { // in whichever order they become durable
			i = (i + 1) % len(tc.places)
			l.set(i, tc.places[i])
		}
		extents, descs := l.extents()
		require.Len(t, extents, tc.want, tc.name)
		require.Len(t, descs, 1, tc.name)
	}
}

func TestManyStreams(t *testing.T) {
	leaks(t)
	p := memPool(geometries[3], 7)
	s := p.open(t, func(c *Config) { c.MaxWindows = 5 })
	r := newRand(t)
	objects := make([]*object, 32)
	lengths := make([]int, len(objects))
	for i := range lengths {
		lengths[i] = 1 + r.IntN(64<<10<<r.IntN(6))
	}
	var wg sync.WaitGroup
	for i := range objects {
		wg.Go(func() {
			o, err := put(s, content(uint64(i), lengths[i]), 33_333)
			if err != nil {
				t.Error(err)
				return
			}
			objects[i] = o
		})
	}
	wg.Wait()
	require.False(t, t.Failed())
	// No two extents overlap.
	type span struct{ from, to int64 }
	taken := map[erasure.SegmentID][]span{}
	for _, o := range objects {
		require.NoError(t, o.check(s, r))
		for _, e := range o.extents {
			n := span{e.Offset, e.Offset + erasure.ExtentSize(o.descs[e.Segment].Geometry.Data, e.Length)}
			require.GreaterOrEqual(t, n.from, int64(segment.HeaderSize))
			for _, had := range taken[e.Segment] {
				require.True(t, n.to <= had.from || had.to <= n.from, "extents overlap")
			}
			taken[e.Segment] = append(taken[e.Segment], n)
		}
	}
}

// Sixteen streams that end together share syncs.
func TestSyncIsShared(t *testing.T) {
	leaks(t)
	p := memPool(geometries[3], 6)
	s := p.open(t, func(c *Config) { c.MaxWindows = 32; c.SegmentSize = 64 << 20; c.Prealloc = 32 << 20 })
	mustPut(t, s, content(0, 1000)) // opens the segment
	before, written := s.Metrics().Syncs, s.Metrics().BytesWritten
	block := make(chan struct{})
	entered := make(chan struct{}, 6)
	remove := p.disks[0].Add(syncRule(block, entered))
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			if _, err := put(s, content(uint64(i), 300_000), 50_000); err != nil {
				t.Error(err)
			}
		})
	}
	<-entered                                               // the first round is held up while the others write
	for s.Metrics().BytesWritten < written+16*300_000*3/2 { // with parity
		runtime.Gosched()
	}
	close(block)
	wg.Wait()
	remove()
	// One round at least, each of six; far from sixteen.
	syncs := s.Metrics().Syncs - before
	require.GreaterOrEqual(t, syncs, int64(6))
	require.LessOrEqual(t, syncs, int64(5*6))
}

func TestSmallObjectCost(t *testing.T) {
	leaks(t)
	p := memPool(geometries[3], 6)
	s := p.open(t, func(c *Config) { c.SegmentSize = 64 << 20; c.Prealloc = 16 << 20 })
	mustPut(t, s, content(0, 1000))
	before := p.counts()
	mustPut(t, s, content(1, 200_000))
	c := p.counts().Sub(before)
	require.EqualValues(t, 6, c.Writes)
	require.EqualValues(t, 6, c.Syncs)
	require.Zero(t, c.Creates+c.Reads+c.Removes+c.Lists)
	before = p.counts()
	mustPut(t, s, content(2, 2000)) // one column
	c = p.counts().Sub(before)
	require.EqualValues(t, 3, c.Writes)
	require.EqualValues(t, 3, c.Syncs)
}

func TestAbort(t *testing.T) {
	leaks(t)
	p := memPool(geometries[3], 6)
	s := p.open(t, func(c *Config) { c.MaxWindows = 4 })
	for _, n := range []int{0, 10, 600_000, 8 << 20} {
		st, err := s.NewStream(context.Background(), StreamOptions{})
		require.NoError(t, err)
		_, err = st.Write(content(1, n))
		require.NoError(t, err)
		st.Abort()
		st.Abort()
		_, err = st.Write([]byte{1})
		require.ErrorIs(t, err, ErrStreamEnded)
		_, _, err = st.Finish()
		require.ErrorIs(t, err, ErrStreamEnded)
		require.Zero(t, s.Metrics().Windows)
	}
	require.Positive(t, s.Metrics().DeadBytes)
	require.NoError(t, mustPut(t, s, content(3, 3<<20)).check(s, newRand(t)))
}

func TestContext(t *testing.T) {
	leaks(t)
	p := memPool(geometries[3], 6)
	s := p.open(t, func(c *Config) { c.MaxWindows = 1 })
	ctx, cancel := context.WithCancel(context.Background())
	st, err := s.NewStream(ctx, StreamOptions{})
	require.NoError(t, err)
	waiting, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() {
		_, err := s.NewStream(waiting, StreamOptions{})
		done <- err
	}()
	stop()
	require.ErrorIs(t, <-done, context.Canceled)
	_, err = st.Write(content(1, 3<<20)) // with one window only
	require.NoError(t, err)
	cancel()
	_, err = st.Write([]byte{1})
	require.ErrorIs(t, err, context.Canceled)
	_, _, err = st.Finish()
	require.ErrorIs(t, err, context.Canceled)
	_, err = s.NewStream(ctx, StreamOptions{})
	require.ErrorIs(t, err, context.Canceled)
	o := mustPut(t, s, content(2, 1<<20))
	e := o.extents[0]
	require.ErrorIs(t, s.ReadAt(ctx, o.descs[e.Segment], e, make([]byte, 10), 0), context.Canceled)
	_, err = s.Copy(ctx, &bytes.Buffer{}, o.descs[e.Segment], e, 0, e.Length)
	require.ErrorIs(t, err, context.Canceled)
}

func TestClose(t *testing.T) {
	leaks(t)
	p := memPool(geometries[3], 6)
	s := p.open(t)
	st, err := s.NewStream(context.Background(), StreamOptions{})
	require.NoError(t, err)
	_, err = st.Write(content(1, 5<<20))
	require.NoError(t, err)
	require.NoError(t, s.Close())
	require.NoError(t, s.Close())
	_, _, err = st.Finish()
	require.ErrorIs(t, err, ErrClosed)
	_, err = s.NewStream(context.Background(), StreamOptions{})
	require.ErrorIs(t, err, ErrClosed)
}

func TestBadConfig(t *testing.T) {
	_, err := New(Config{SegmentSize: -1, WindowBytes: 1 << 40})
	require.ErrorIs(t, err, ErrConfig)
	require.ErrorContains(t, err, "SegmentSize")
	require.ErrorContains(t, err, "WindowBytes")
	require.ErrorContains(t, err, "NewSegment")
}

// A large object passes through in bounded memory.
func TestMemoryBound(t *testing.T) {
	leaks(t)
	size := 256 << 20
	if raceEnabled {
		size = 64 << 20
	}
	g := geometries[3]
	var disks []disk.Disk
	for range g.Shards() {
		d, err := filedisk.Open(t.TempDir(), nil)
		require.NoError(t, err)
		defer d.Close()
		disks = append(disks, d)
	}
	p := newPool(g, disks...)
	s := p.open(t, func(c *Config) { c.SegmentSize, c.Prealloc, c.WindowBytes, c.SyncBytes = 0, 0, 0, 0 })
	st, err := s.NewStream(context.Background(), StreamOptions{})
	require.NoError(t, err)
	piece := content(1, 1<<20)
	// What is live: how much garbage comes on top depends on what else is.
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	_ = heap() // the second collection empties the pools
	base := heap()
	peak := base
	for i := range size / len(piece) {
		_, err := st.Write(piece)
		require.NoError(t, err)
		if i%7 == 0 {
			peak = max(peak, heap())
		}
	}
	extents, descs, err := st.Finish()
	require.NoError(t, err)
	require.Less(t, peak-base, int64(36<<20))
	w := &comparer{want: piece, peak: func() { peak = max(peak, heap()) }}
	for _, e := range extents {
		for _, d := range descs {
			if d.ID == e.Segment {
				_, err := s.Copy(context.Background(), w, d, e, 0, e.Length)
				require.NoError(t, err)
			}
		}
	}
	require.EqualValues(t, size, w.n)
	require.Less(t, peak-base, int64(36<<20))
}

// comparer is a writer that compares with want, over and over.
type comparer struct {
	want   []byte
	n      int64
	writes int
	peak   func() // looks at the heap
}

func (c *comparer) Write(p []byte) (int, error) {
	if c.writes++; c.writes%100 == 0 {
		c.peak()
	}
	for done := 0; done < len(p); {
		at := int(c.n % int64(len(c.want)))
		n := min(len(p)-done, len(c.want)-at)
		if !bytes.Equal(p[done:done+n], c.want[at:at+n]) {
			return done, fmt.Errorf("wrong bytes at %d", c.n)
		}
		done += n
		c.n += int64(n)
	}
	return len(p), nil
}

// A segment that the log has none for is the stream's error.
func TestNoSegment(t *testing.T) {
	leaks(t)
	p := memPool(geometries[3], 6)
	p.newError = errNoQuorum
	s := p.open(t)
	_, err := put(s, content(1, 3<<20), 1<<20)
	require.ErrorIs(t, err, errNoQuorum)
	p.newError = nil
	_, err = put(s, content(1, 3<<20), 1<<20)
	require.NoError(t, err)
	require.False(t, errors.Is(err, errNoQuorum))
}
