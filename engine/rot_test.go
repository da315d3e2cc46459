package engine

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/disk/memdisk"
	"github.com/cairnstore/cairn/erasure"
	"github.com/cairnstore/cairn/internal/segment"
	"github.com/cairnstore/cairn/meta"
)

// place is a range of bytes in a shard file.
type place struct {
	disk     string
	file     string
	from, to int64
}

// rot flips a bit somewhere in a place. Done twice it is undone.
func (w *world) rot(p place, at int64) {
	w.t.Helper()
	i := slices.IndexFunc(w.mems, func(d *memdisk.Disk) bool { return d.String() == p.disk })
	require.NoError(w.t, w.mems[i].Corrupt(p.file, p.from+at%(p.to-p.from), 1<<(at%8)), "%+v", p)
}

// stripes are the units of which up to m places may rot: for each kind of place
// the stripes of the whole store, and for each stripe a place in every shard.
func (w *world) stripes(e *Engine) map[string][][]place {
	all := map[string][][]place{}
	in := func(d *segment.Descriptor, shard int, from, to int64) place {
		return place{w.names[d.Disks[shard].String()], segment.FileName(d.ID, shard), from, to}
	}
	seen := map[string]bool{}
	shards := func(kind string, d *segment.Descriptor, from, to int64) {
		name := kind + d.ID.String()
		if seen[name] {
			return
		}
		seen[name] = true
		var s []place
		for shard := range d.Disks {
			s = append(s, in(d, shard, from, to))
		}
		all[kind] = append(all[kind], s)
	}
	b, _ := e.state.Bucket(testBucket)
	for _, key := range slices.Sorted(maps.Keys(w.model.buckets[testBucket])) {
		v, err := meta.HeadOf(e.index, b.ID, key, nil)
		require.NoError(w.t, err)
		if v.Packed {
			g, err := meta.GroupAt(e.index, v.Group, nil)
			require.NoError(w.t, err)
			d, err := e.descriptor(g.Segment)
			require.NoError(w.t, err)
			shards("header page", d, 0, segment.HeaderSize)
			shards("opening group", d, segment.HeaderSize, segment.HeaderSize+100)
			if seen[fmt.Sprint("group", v.Group)] {
				continue
			}
			seen[fmt.Sprint("group", v.Group)] = true
			var heads, records, blocks []place
			for i, b := range g.Blocks {
				// A header has at least 200 bytes; the records end where the block begins.
				heads = append(heads, in(d, int(b.Shard), b.Part, b.Part+200))
				if i <= g.Parity {
					records = append(records, in(d, int(b.Shard), b.Offset-30, b.Offset))
				}
				blocks = append(blocks, in(d, int(b.Shard), b.Offset, b.Offset+b.Length))
			}
			all["group header"] = append(all["group header"], heads)
			all["records"] = append(all["records"], records)
			all["packed payload"] = append(all["packed payload"], blocks)
			continue
		}
		for _, x := range v.Extents {
			d, err := e.descriptor(x.Segment)
			require.NoError(w.t, err)
			shards("payload header page", d, 0, segment.HeaderSize)
			k, m := d.Geometry.Data, d.Geometry.Parity
			for row := range erasure.RowOf(k, x.Length, x.Length-1) + 1 {
				at := erasure.RowAt(k, x.Length, row)
				var frames, trailers []place
				for shard := range k + m {
					if shard >= at.Columns && shard < k {
						continue
					}
					n := int64(at.ColumnLen(0))
					if shard < at.Columns {
						n = int64(at.ColumnLen(shard))
					}
					from := x.Offset + at.Offset
					end := from + int64(erasure.FrameLen(int(n)))
					frames = append(frames, in(d, shard, from, from+n))
					trailers = append(trailers, in(d, shard, end-40, end))
				}
				all["frame"] = append(all["frame"], frames)
				all["frame trailer"] = append(all["frame trailer"], trailers)
			}
		}
	}
	return all
}

// TestF07Rot flips bits in every kind of place, in up to m shards of a stripe,
// under a running store and before an open without an index: every byte is read.
func TestF07Rot(t *testing.T) {
	trials := 3
	if raceEnabled {
		trials = 1
	}
	for _, g := range lossGeometries {
		t.Run(fmt.Sprintf("%d+%d", g.k, g.m), func(t *testing.T) {
			w := newWorld(t, g.k, g.m, 44)
			var events []BadBlockInfo
			var mu sync.Mutex
			w.opts.Events.BadBlock = func(i BadBlockInfo) {
				mu.Lock()
				defer mu.Unlock()
				events = append(events, i)
			}
			e := w.open()
			w.mixed(e)
			stripes := w.stripes(e)
			images := w.images()
			require.Len(t, stripes, 8)
			w.expect(e)
			for _, kind := range slices.Sorted(maps.Keys(stripes)) {
				list := stripes[kind]
				for trial := range trials {
					w.putBack(images)
					e := w.open()
					flipped := map[place]bool{}
					for _, s := range list {
						n := g.m
						if kind == "records" || trial > 0 {
							n = min(n, len(s)-1)
						}
						for _, i := range w.rand.Perm(len(s))[:n] {
							w.rot(s[i], w.rand.Int64N(1<<40))
							flipped[s[i]] = true
						}
					}
					events = nil
					require.NoError(t, w.model.check(e, false), "%s rotten while running", kind)
					if kind == "frame" || kind == "frame trailer" || kind == "packed payload" {
						require.NotEmpty(t, events, kind)
						require.Len(t, events, int(e.Metrics().BadBlocks))
						for _, b := range events {
							require.True(t, slices.ContainsFunc(slices.Collect(maps.Keys(flipped)), func(p place) bool {
								return p.disk == w.names[b.Disk] && p.from <= b.Offset+(1<<16) && b.Offset < p.to
							}), "%s: nothing is rotten there: %+v", kind, b)
						}
					}
					require.NoError(t, e.Close())
					e, err := w.tryOpen(context.Background())
					require.NoError(t, err, "%s rotten", kind)
					require.False(t, e.Status().ReadOnly, "%s rotten: %v", kind, e.Status().Reason)
					require.NoError(t, w.model.check(e, false), "%s rotten before the open", kind)
					require.NoError(t, e.Close())
				}
			}
		})
	}
}

// TestF08RotBeyondM: one rotten place too many is an error that names the
// object, never wrong bytes, and ranges beside it are read.
func TestF08RotBeyondM(t *testing.T) {
	for _, g := range append(lossGeometries, struct{ k, m int }{1, 0}) {
		t.Run(fmt.Sprintf("%d+%d", g.k, g.m), func(t *testing.T) {
			w := newWorld(t, g.k, g.m, 45)
			e := w.open()
			w.mixed(e)
			all := map[string]bool{}
			for _, name := range w.names {
				all[name] = true
			}
			stripes := w.stripes(e)
			for _, kind := range []string{"packed payload", "frame", "frame trailer"} {
				type flip struct {
					p  place
					at int64
				}
				var flips []flip
				for _, s := range stripes[kind] {
					for _, i := range w.rand.Perm(len(s))[:g.m+1] {
						flips = append(flips, flip{s[i], w.rand.Int64N(1 << 40)})
					}
				}
				for _, f := range flips {
					w.rot(f.p, f.at)
				}
				lost := 0
				for key, o := range w.model.buckets[testBucket] {
					err := checkObject(e.Bucket(testBucket), key, o)
					if err != nil {
						lost++
						w.unrecoverable(err, key, o, all)
					}
				}
				require.Positive(t, lost, kind)
				for _, f := range flips {
					w.rot(f.p, f.at)
				}
				require.NoError(t, w.model.check(e, false), "%s in order again", kind)
			}
			// One row of many.
			o := w.model.buckets[testBucket]["one/9"]
			b, _ := e.state.Bucket(testBucket)
			v, err := meta.HeadOf(e.index, b.ID, "one/9", nil)
			require.NoError(t, err)
			x := v.Extents[0]
			d, err := e.descriptor(x.Segment)
			require.NoError(t, err)
			at := erasure.RowAt(g.k, x.Length, 0)
			for shard := range g.m + 1 {
				w.rot(place{w.names[d.Disks[shard].String()], segment.FileName(d.ID, shard), x.Offset + at.Offset, x.Offset + at.Offset + 1000}, 77)
			}
			w.unrecoverable(checkObject(e.Bucket(testBucket), "one/9", o), "one/9", o, all)
			object, err := e.Bucket(testBucket).Get(context.Background(), "one/9", nil)
			require.NoError(t, err)
			defer object.Close()
			end := int64(at.Data + at.Length)
			rest := make([]byte, x.Length-end)
			_, err = object.ReadAt(rest, end)
			require.NoError(t, err)
			require.True(t, bytes.Equal(o.data[end:x.Length], rest))
		})
	}
}

// TestF08RottenTail: no copy of the last group but one is left, and nothing but
// the header of the group after it, on a disk that it is not on, tells that it
// was acknowledged. The log does not end there: it is missing.
func TestF08RottenTail(t *testing.T) {
	w := newWorld(t, 2, 2, 47)
	e := w.open()
	w.learnNames(e)
	for _, key := range []string{"x", "y", "z"} {
		w.put(e, key, 1000)
	}
	b, _ := e.state.Bucket(testBucket)
	v, err := meta.HeadOf(e.index, b.ID, "y", nil)
	require.NoError(t, err)
	g, err := meta.GroupAt(e.index, v.Group, nil)
	require.NoError(t, err)
	d, err := e.descriptor(g.Segment)
	require.NoError(t, err)
	images := w.images() // before a Close could tell in the labels
	require.NoError(t, e.Close())
	w.putBack(images)
	for _, b := range g.Blocks {
		w.rot(place{w.names[d.Disks[b.Shard].String()], segment.FileName(d.ID, int(b.Shard)), b.Part, b.Part + 200}, 50)
	}
	before := w.dump()
	e = w.open()
	refused(t, e, ErrLogMissing)
	require.NoError(t, checkObject(e.Bucket(testBucket), "x", w.model.buckets[testBucket]["x"]))
	require.NoError(t, e.Close())
	w.same(before)
}

// TestF09Labels: of the four copies of every label one is enough, and a disk of
// which none is left is not joined but does no harm.
func TestF09Labels(t *testing.T) {
	w := newWorld(t, 4, 2, 46)
	e := w.open()
	w.fill(e, 40)
	w.expect(e)
	images := w.images()
	for keep := range 4 {
		w.putBack(images)
		for i := range w.mems {
			w.rotLabels(i, (keep+i)%4)
		}
		e, err := w.tryOpen(context.Background())
		// The copy that is left may be of the generation before.
		require.NoError(t, err)
		require.NoError(t, w.model.check(e, e.Status().ReadOnly))
		require.NoError(t, e.Close())
	}
	w.putBack(images)
	w.rotLabels(1, -1)
	w.rotLabels(3, -1)
	before := []map[string]string{dump(t, w.mems[1]), dump(t, w.mems[3])}
	e = w.open()
	require.False(t, e.Status().ReadOnly)
	require.NoError(t, w.model.check(e, false))
	w.fill(e, 10)
	w.expect(e)
	require.True(t, mapsEqual(before[0], dump(t, w.mems[1])), "written to")
	require.True(t, mapsEqual(before[1], dump(t, w.mems[3])), "written to")
}

// rotLabels flips a bit in the copies of a disk's label, but for one.
func (w *world) rotLabels(i, keep int) {
	for copy := range 4 {
		if copy == keep {
			continue
		}
		name := []string{"label-a", "label-b"}[copy/2]
		entries, err := w.mems[i].List()
		require.NoError(w.t, err)
		for _, e := range entries {
			if e.Name == name {
				require.NoError(w.t, w.mems[i].Corrupt(name, int64(copy%2)*e.Size/2+w.rand.Int64N(100), 4))
			}
		}
	}
}
