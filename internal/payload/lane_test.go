package payload

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/disk/faultdisk"
	"github.com/cairnstore/cairn/disk/memdisk"
	"github.com/cairnstore/cairn/erasure"
	"github.com/cairnstore/cairn/internal/segment"
)

// roomy has segments in which nothing rolls.
func roomy(c *Config) { c.SegmentSize = 64 << 20 }

// onlyKnown returns an error if a disk that may be written holds a file of a
// segment that o has no bytes in.
func (p *pool) onlyKnown(o *object) error {
	for i, d := range p.disks {
		entries, err := d.Unwrap().List()
		if err != nil {
			return err
		}
		for _, e := range entries {
			id, _, ok := segment.ParseFileName(e.Name)
			if _, live := p.set.Disk(p.ids[i]); live && (!ok || o.descs[id] == nil) {
				return fmt.Errorf("%s on %s is nobody's", e.Name, d)
			}
		}
	}
	return nil
}

// A lone stream's windows become one extent, behind each other in a segment that
// others lease later.
func TestExtentsMerge(t *testing.T) {
	leaks(t)
	p := memPool(geometries[3], 6)
	s := p.open(t, roomy)
	a, b := mustPut(t, s, content(1, 9<<20)), mustPut(t, s, content(2, 9<<20))
	require.Len(t, a.extents, 1)
	require.Len(t, b.extents, 1)
	require.Equal(t, a.extents[0].Segment, b.extents[0].Segment)
	require.NoError(t, a.check(s, newRand(t)))
	require.NoError(t, b.check(s, newRand(t)))
	short := mustPut(t, s, content(3, 500_000))
	require.NotEqual(t, a.extents[0].Segment, short.extents[0].Segment)
}

// streams writes to n streams at once, piece by piece in turn, and ends them.
func streams(t *testing.T, s *Store, n, size int, hint int64) []*object {
	var open []*Stream
	objects := make([]*object, n)
	for i := range n {
		st, err := s.NewStream(context.Background(), StreamOptions{SizeHint: hint})
		require.NoError(t, err)
		open = append(open, st)
		objects[i] = &object{data: content(uint64(i), size), descs: map[erasure.SegmentID]*segment.Descriptor{}}
	}
	for off := 0; off < size; off += 300_000 {
		for i, st := range open {
			_, err := st.Write(objects[i].data[off:min(off+300_000, size)])
			require.NoError(t, err)
		}
	}
	for i, st := range open {
		extents, descs, err := st.Finish()
		require.NoError(t, err)
		objects[i].extents = extents
		for _, d := range descs {
			objects[i].descs[d.ID] = d
		}
		require.NoError(t, objects[i].check(s, newRand(t)))
	}
	return objects
}

// Each of several long streams leases a segment; one more than there are shares.
func TestLeases(t *testing.T) {
	leaks(t)
	p := memPool(geometries[3], 6)
	s := p.open(t, roomy)
	used := map[erasure.SegmentID]int{}
	for _, o := range streams(t, s, 3, 8<<20, 0) {
		require.Len(t, o.extents, 1)
		used[o.extents[0].Segment]++
	}
	require.Len(t, used, 3)
	many := streams(t, s, 6, 5<<20, 0)
	for _, o := range many {
		for _, e := range o.extents {
			used[e.Segment]++
		}
	}
	require.Len(t, used, 3)
	mustPut(t, s, content(9, 300_000))
	require.EqualValues(t, 4, s.Metrics().Segments)
	require.EqualValues(t, 4, s.Metrics().OpenSegments)
}

// With one segment in all, long streams share it with short ones.
func TestOneSegment(t *testing.T) {
	leaks(t)
	p := memPool(geometries[3], 6)
	s := p.open(t, roomy, func(c *Config) { c.MaxSegments, c.OwnSegment = 1, 2<<20 })
	streams(t, s, 3, 4<<20, 4<<20)
	require.EqualValues(t, 1, s.Metrics().Segments)
}

// A huge object has a segment to itself from the start if it says so, and else
// from OwnSegment bytes on.
func TestOwnSegment(t *testing.T) {
	leaks(t)
	p := memPool(geometries[3], 6)
	s := p.open(t, roomy, func(c *Config) { c.OwnSegment = 4 << 20; c.OwnSegmentSize = 1 << 40 })
	r := newRand(t)
	size := 70 << 20 // more than SegmentSize x k would not fit elsewhere
	if raceEnabled {
		size = 20 << 20
	}
	hinted, err := putHinted(s, content(1, size), 1<<20, int64(size))
	require.NoError(t, err)
	require.Len(t, hinted.extents, 1)
	require.EqualValues(t, 1, s.Metrics().Segments)
	d := hinted.descs[hinted.extents[0].Segment]
	for shard := range d.Disks {
		dk, name := p.shardFile(d, shard)
		f, err := dk.Unwrap().Open(name)
		require.NoError(t, err)
		n, err := f.Size()
		require.NoError(t, err)
		require.LessOrEqual(t, n, segment.HeaderSize+erasure.ExtentSize(4, int64(size)), "nothing is reserved in vain")
		require.NoError(t, f.Close())
	}
	grown, err := put(s, content(2, size), 1<<20)
	require.NoError(t, err)
	require.LessOrEqual(t, len(grown.extents), 3)
	last := grown.extents[len(grown.extents)-1]
	require.Greater(t, last.Length, int64(size/2))
	for _, o := range []*object{hinted, grown, mustPut(t, s, content(3, 3<<20)), mustPut(t, s, content(4, 1000))} {
		require.NoError(t, o.check(s, r))
		for _, e := range o.extents {
			require.True(t, o == hinted || e.Segment != hinted.extents[0].Segment)
			require.True(t, o == grown || e.Segment != last.Segment)
		}
	}
	require.Zero(t, s.Metrics().DeadBytes)
}

// An own segment of which nothing is kept is unlinked: after Abort, a failure,
// Discard and Close. Several, if it rolled.
func TestOwnSegmentGoes(t *testing.T) {
	leaks(t)
	own := func(c *Config) { c.OwnSegment, c.OwnSegmentSize = 2<<20, 700<<10 }
	begin := func(s *Store) *Stream {
		st, err := s.NewStream(context.Background(), StreamOptions{SizeHint: 8 << 20})
		require.NoError(t, err)
		_, err = st.Write(content(1, 8<<20))
		require.NoError(t, err)
		return st
	}
	for _, tc := range []struct {
		name string
		end  func(t *testing.T, p *pool, s *Store, st *Stream)
	}{
		{"abort", func(_ *testing.T, _ *pool, _ *Store, st *Stream) { st.Abort() }},
		{"discard", func(t *testing.T, _ *pool, _ *Store, st *Stream) {
			_, _, err := st.Finish()
			require.NoError(t, err)
			st.Discard()
			st.Discard()
			st.Abort()
		}},
		{"close", func(t *testing.T, _ *pool, s *Store, st *Stream) {
			require.NoError(t, s.Close())
			_, _, err := st.Finish()
			require.ErrorIs(t, err, ErrClosed)
		}},
		{"failure", func(t *testing.T, p *pool, _ *Store, st *Stream) {
			p.mu.Lock()
			p.newError = errNoQuorum
			p.mu.Unlock()
			p.disks[1].Add(faultdisk.Rule{Ops: faultdisk.OpSync | faultdisk.OpWrite, Err: errIO})
			_, _, err := st.Finish()
			require.ErrorIs(t, err, errNoQuorum)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := memPool(geometries[3], 6)
			s := p.open(t, own)
			st := begin(s)
			require.Greater(t, s.Metrics().Segments, int64(1))
			tc.end(t, p, s, st)
			require.NoError(t, p.onlyKnown(&object{}))
			require.Zero(t, s.Metrics().DeadBytes)
			require.Zero(t, s.Metrics().OpenSegments)
		})
	}
	// Finished and not discarded, it stays.
	p := memPool(geometries[3], 6)
	s := p.open(t, own)
	o, err := putHinted(s, content(1, 8<<20), 1<<20, 8<<20)
	require.NoError(t, err)
	require.Greater(t, len(o.extents), 2)
	require.NoError(t, p.onlyKnown(o))
	require.Zero(t, s.Metrics().OpenSegments, "nobody else writes there")
	require.NoError(t, o.check(s, newRand(t)))
}

// A stream that is to have its own segment takes the place of an idle one.
func TestOwnSegmentTakesIdlePlace(t *testing.T) {
	leaks(t)
	p := memPool(geometries[3], 6)
	s := p.open(t, roomy, func(c *Config) { c.OwnSegment, c.MaxSegments = 4<<20, 3 })
	streams(t, s, 2, 3<<20, 0) // two leases, returned
	require.EqualValues(t, 3, s.Metrics().OpenSegments)
	objects := streams(t, s, 3, 6<<20, 6<<20)
	require.Len(t, objects[0].extents, 1)
	require.Len(t, objects[1].extents, 1)
	require.LessOrEqual(t, s.Metrics().OpenSegments, int64(1), "the third shared the third")
}

func TestNoWait(t *testing.T) {
	leaks(t)
	p := memPool(geometries[3], 6)
	s := p.open(t, func(c *Config) { c.MaxWindows = 1 })
	st, err := s.NewStream(t.Context(), StreamOptions{NoWait: true})
	require.NoError(t, err)
	_, err = s.NewStream(t.Context(), StreamOptions{NoWait: true})
	require.ErrorIs(t, err, disk.ErrBusy)
	st.Abort()
	st, err = s.NewStream(t.Context(), StreamOptions{NoWait: true})
	require.NoError(t, err)
	st.Abort()
}

// A disk with room for what is written, not for what would be reserved ahead,
// takes it.
func TestReserveOnFullDisk(t *testing.T) {
	leaks(t)
	p := memPool(geometries[3], 6)
	s := p.open(t, roomy, func(c *Config) { c.Prealloc = 8 << 20 })
	for _, d := range p.disks {
		d.Unwrap().(*memdisk.Disk).SetCapacity(2 << 20)
	}
	o, err := putHinted(s, content(1, 3<<20), 100_000, 3<<20)
	require.NoError(t, err)
	require.Empty(t, p.dropped)
	require.NoError(t, o.check(s, newRand(t)))
}

// Long and short streams come and go, some aborted, with few segments between
// them.
func TestLanesUnderLoad(t *testing.T) {
	leaks(t)
	p := memPool(geometries[3], 7)
	s := p.open(t, func(c *Config) {
		c.MaxSegments, c.OwnSegment, c.OwnSegmentSize, c.MaxWindows = 3, 3<<20, 1<<20, 6
	})
	r := newRand(t)
	rounds := 6
	if raceEnabled {
		rounds = 4
	}
	seeds := make([]uint64, 8)
	for i := range seeds {
		seeds[i] = r.Uint64()
	}
	var wg sync.WaitGroup
	objects := make([][]*object, len(seeds))
	for g, seed := range seeds {
		wg.Go(func() {
			for i := range rounds {
				n := int(seed>>(i*3)&7+1) << 17 << (g % 4)
				hint := int64(n) * int64(i%2)
				o, err := putHinted(s, content(seed+uint64(i), n), 77_777, hint)
				if err != nil {
					t.Error(err)
					return
				}
				if i%4 == 3 {
					st, err := s.NewStream(context.Background(), StreamOptions{SizeHint: hint})
					if err == nil {
						_, err = st.Write(o.data)
						st.Abort()
					}
					if err != nil {
						t.Error(err)
					}
				}
				objects[g] = append(objects[g], o)
			}
		})
	}
	wg.Wait()
	require.False(t, t.Failed())
	taken := map[erasure.SegmentID]map[int64]bool{}
	for _, list := range objects {
		for _, o := range list {
			require.NoError(t, o.check(s, r))
			for _, e := range o.extents {
				if taken[e.Segment] == nil {
					taken[e.Segment] = map[int64]bool{}
				}
				for at := e.Offset; at < e.Offset+erasure.ExtentSize(o.descs[e.Segment].Geometry.Data, e.Length); at += erasure.Align {
					require.False(t, taken[e.Segment][at], "two extents have a place")
					taken[e.Segment][at] = true
				}
			}
		}
	}
}
