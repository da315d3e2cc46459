package engine

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/disk/faultdisk"
	"github.com/cairnstore/cairn/erasure"
)

// counts returns what all disks counted together.
func (r *rig) counts() (c faultdisk.Counts) {
	for _, f := range r.faults {
		c = c.Add(f.Counts())
	}
	return c
}

// during returns what the disks counted while fn ran. Zero-fill and health
// checks go on in the background and are left out.
func (r *rig) during(fn func()) faultdisk.Counts {
	before := r.counts()
	fn()
	c := r.counts().Sub(before)
	c.Extends, c.Checks = 0, 0
	return c
}

// counted returns a 4+2 pool with segments of the default sizes, its index on
// Pebble in a directory, and a bucket.
func counted(t *testing.T) (*rig, *Engine, *Bucket) {
	r := newRig(t, 4, 2).defaults()
	r.opts.plainIndex = false
	r.opts.IndexDir = filepath.Join(t.TempDir(), "index")
	e := r.open()
	return r, e, bucketOf(t, e, "bucket")
}

// dirState returns sizes and times of all files below dir.
func dirState(t *testing.T, dir string) map[string]string {
	state := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil {
			state[path] = fmt.Sprint(info.Size(), info.ModTime().UnixNano())
		}
		return err
	}))
	return state
}

func TestCountLonePut(t *testing.T) {
	r, e, b := counted(t)
	p := content(1, 4<<10)
	for i := range 50 {
		index, metrics := dirState(t, r.opts.IndexDir), e.Metrics()
		c := r.during(func() {
			_, err := b.PutBytes(t.Context(), fmt.Sprint(i), p, nil)
			require.NoError(t, err)
		})
		require.LessOrEqual(t, c.WriteBytes, int64(3*(8<<10)), "a page of header and records, and one of payload, three times")
		c.WriteBytes = 0
		require.Equal(t, faultdisk.Counts{Syncs: 3, Writes: 3}, c)
		require.Equal(t, index, dirState(t, r.opts.IndexDir), "the index's files are not touched")
		after := e.Metrics()
		require.Equal(t, metrics.IndexFlushes, after.IndexFlushes)
		require.Equal(t, metrics.Syncs+3, after.Syncs)
		require.Equal(t, metrics.Groups+1, after.Groups)
	}
	c := r.during(func() {
		_, err := b.Delete(t.Context(), "0", nil)
		require.NoError(t, err)
	})
	c.WriteBytes = 0
	require.Equal(t, faultdisk.Counts{Syncs: 3, Writes: 3}, c, "a delete")
}

// TestCountLonePutIsOneRound blocks the Syncs of a put: all three begin before
// one has ended, and the put waits for the last of them.
func TestCountLonePutIsOneRound(t *testing.T) {
	r, _, b := counted(t)
	h := r.holdSyncs()
	var released atomic.Bool
	done := make(chan error, 1)
	go func() {
		_, err := b.PutBytes(t.Context(), "key", content(1, 4<<10), nil)
		if !released.Load() {
			err = errors.New("it returned before its last Sync did")
		}
		done <- err
	}()
	disks := map[int]bool{}
	for range 3 {
		select {
		case i := <-h.begun:
			disks[i] = true
		case <-time.After(20 * time.Second):
			require.Fail(t, "a Sync waits for another", "%d began", len(disks))
		}
	}
	require.Len(t, disks, 3, "each on a disk of its own")
	last := -1
	for i := range disks {
		if last < 0 {
			last = i
			continue
		}
		close(h.gates[i])
		h.gates[i] = make(chan struct{})
	}
	for range 100 {
		select {
		case err := <-done:
			require.NoError(t, err)
			require.Fail(t, "it did not wait")
		case <-time.After(100 * time.Microsecond):
		}
	}
	released.Store(true)
	h.now()
	require.NoError(t, <-done)
	require.Empty(t, h.begun, "no fourth Sync")
}

func TestCountGroupOf64(t *testing.T) {
	r, e, b := counted(t)
	p := content(1, 4<<10)
	h := r.holdSyncs()
	var wg sync.WaitGroup
	put := func(key string) {
		wg.Go(func() {
			if _, err := b.PutBytes(t.Context(), key, p, nil); err != nil {
				t.Error(err)
			}
		})
	}
	before := e.Metrics()
	put("first")
	for range 3 {
		<-h.begun
	}
	for i := range 64 {
		put(fmt.Sprint(i))
	}
	waitQueued(t, e, 64)
	c := r.during(func() {
		h.now()
		wg.Wait()
	})
	after := e.Metrics()
	require.Equal(t, int64(2), after.Groups-before.Groups, "64 puts in one group")
	require.Equal(t, int64(65), after.Puts-before.Puts)
	require.LessOrEqual(t, c.Syncs, int64(6))
	require.Equal(t, c.Syncs, c.Writes)
	require.Less(t, c.WriteBytes, int64(64*4<<10)*2, "1.5 times the payload, headers and records")
	c.Syncs, c.Writes, c.WriteBytes = 0, 0, 0
	require.Zero(t, c)
	for i := range 64 {
		got, err := read(b, fmt.Sprint(i))
		require.NoError(t, err)
		require.True(t, bytes.Equal(p, got))
	}
}

func TestCountGet(t *testing.T) {
	r, e, b := counted(t)
	for i := range 20 {
		_, err := b.PutBytes(t.Context(), fmt.Sprint(i), content(uint64(i), 4<<10), nil)
		require.NoError(t, err)
	}
	for round := range 3 {
		for i := range 20 {
			m := e.Metrics()
			c := r.during(func() {
				_, err := read(b, fmt.Sprint(i))
				require.NoError(t, err)
			})
			if round == 2 {
				c.Opens = 0 // the first read after an open
			}
			require.Equal(t, faultdisk.Counts{Reads: 1, ReadBytes: 4 << 10}, c)
			requireLookups(t, m, e, 1)

			m = e.Metrics()
			require.Zero(t, r.during(func() {
				_, err := b.Head(t.Context(), fmt.Sprint(i), nil)
				require.NoError(t, err)
			}), "a head")
			requireLookups(t, m, e, 1)

			m = e.Metrics()
			require.Zero(t, r.during(func() {
				_, err := b.Get(t.Context(), "absent", nil)
				require.ErrorIs(t, err, ErrNotFound)
			}), "a get of nothing")
			requireLookups(t, m, e, 1)
		}
		if round == 1 {
			e = r.reopen(e)
			b = e.Bucket("bucket")
		}
	}
}

func requireLookups(t *testing.T, before Metrics, e *Engine, n int64) {
	t.Helper()
	after := e.Metrics()
	require.Equal(t, n, after.IndexGets-before.IndexGets, "lookups")
	require.Equal(t, before.IndexSteps, after.IndexSteps, "steps")
}

// requireThreeFrames reads 64 KiB from off in both ways and counts.
func requireThreeFrames(t *testing.T, r *rig, b *Bucket, o *Object, want []byte, off int64) {
	t.Helper()
	buf := make([]byte, 64<<10)
	direct := r.during(func() {
		_, err := o.ReadAt(buf, off)
		require.NoError(t, err)
	})
	if want != nil {
		require.True(t, bytes.Equal(want[off:off+64<<10], buf), "at %d", off)
	}
	ranged := r.during(func() {
		o, err := b.Get(t.Context(), o.Info().Key, &GetOptions{Offset: off, Length: 64 << 10})
		require.NoError(t, err)
		got, err := io.ReadAll(o)
		require.NoError(t, err)
		require.True(t, bytes.Equal(buf, got), "at %d", off)
		require.NoError(t, o.Close())
	})
	for _, c := range []faultdisk.Counts{direct, ranged} {
		c.Opens = 0
		require.LessOrEqual(t, c.Reads, int64(3), "at %d", off)
		require.LessOrEqual(t, c.ReadBytes, int64(3*erasure.FrameSize), "at %d", off)
		c.Reads, c.ReadBytes = 0, 0
		require.Zero(t, c)
	}
}

func TestCountRange(t *testing.T) {
	sizes := []int{256 << 10, 300_000, 1 << 20, 4<<20 + 12_345, 17_000_001}
	if raceEnabled {
		sizes = sizes[:3]
	}
	for _, size := range sizes {
		r := newRig(t, 4, 2) // small segments: several extents
		e := r.open()
		b := bucketOf(t, e, "bucket")
		p := content(1, size)
		_, err := b.PutBytes(t.Context(), "key", p, nil)
		require.NoError(t, err)
		o := mustGet(t, b, "key", nil)
		last := int64(size) - 64<<10
		offs := map[int64]bool{0: true, last: true}
		start := int64(0)
		for _, x := range o.version.Extents {
			for row := range erasure.NumRows(4, x.Length) {
				w := erasure.RowAt(4, x.Length, row)
				for c := range w.Columns {
					at := start + w.Data + int64(c)*int64(w.Column)
					for _, off := range []int64{at - 1, at, at + 1, at - 64<<10, at + int64(w.Column) - 64<<10 + 1} {
						offs[min(max(off, 0), last)] = true
					}
				}
			}
			start += x.Length
		}
		require.Equal(t, int64(size), start)
		rng := rand.New(rand.NewPCG(1, 2))
		for range 100 {
			offs[rng.Int64N(last+1)] = true
		}
		for off := range offs {
			requireThreeFrames(t, r, b, o, p, off)
		}
		require.NoError(t, e.Close())
	}
}

// TestCountRangeLayout does for objects around 1 GiB, and every number of data
// shards, what TestCountRange does by reading: where the last rows begin and
// end is all that their length changes.
func TestCountRangeLayout(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for k := 1; k <= erasure.MaxData; k++ {
		for range 200 {
			length := 1<<30 - rng.Int64N(2*erasure.RowBytes(k)) + rng.Int64N(3)
			var ends []int64 // of frames, in the object
			for row := erasure.NumRows(k, length) - 3; row < erasure.NumRows(k, length); row++ {
				w := erasure.RowAt(k, length, row)
				for c := range w.Columns {
					ends = append(ends, w.Data+int64(c)*int64(w.Column)+int64(w.ColumnLen(c)))
				}
			}
			require.Equal(t, length, ends[len(ends)-1])
			for i := range len(ends) - 3 {
				// Four frames are touched by a range that holds two in the middle
				// and a byte on either side.
				require.Greater(t, ends[i+2]-ends[i]+2, int64(64<<10), "k %d, length %d, frame %d", k, length, i)
			}
		}
	}
}

// TestBigCountRange reads 64 KiB anywhere in a real 1 GiB object.
func TestBigCountRange(t *testing.T) {
	if !*long {
		t.Log("in full with -long only")
		return
	}
	r := newRig(t, 4, 2).defaults()
	b := bucketOf(t, r.open(), "bucket")
	const size = 1 << 30
	_, err := b.Put(t.Context(), "key", io.LimitReader(&endless{}, size), nil)
	require.NoError(t, err)
	o := mustGet(t, b, "key", nil)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range int64(20_000) {
		off := rng.Int64N(size - 64<<10 + 1)
		if i < 2000 {
			off = size - 64<<10 - i*997 // the last rows
		}
		requireThreeFrames(t, r, b, o, nil, off)
	}
}

// endless yields bytes that never repeat within a stripe, at no cost.
type endless struct{ n uint64 }

func (r *endless) Read(p []byte) (int, error) {
	for i := range p {
		r.n++
		p[i] = byte(r.n * 0x9E3779B97F4A7C15 >> 56)
	}
	return len(p), nil
}
