package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/disk/faultdisk"
	"github.com/cairnstore/cairn/disk/memdisk"
	"github.com/cairnstore/cairn/erasure"
	"github.com/cairnstore/cairn/internal/segment"
	"github.com/cairnstore/cairn/meta"
)

// mixed fills the store with objects of all kinds: empty, mirrored, packed into
// groups of one block and of several, striped in one row and in many, in several
// log and payload segments.
func (w *world) mixed(e *Engine) {
	w.t.Helper()
	w.learnNames(e)
	for i, size := range []int{0, 1, 100, 4 << 10, PackMax - 1, PackMax, PackMax + 1, 200_000, 700_000, 1<<20 + 1} {
		w.put(e, fmt.Sprintf("one/%d", i), size)
	}
	w.together(e, 24)
	for i := range 10 {
		w.put(e, fmt.Sprintf("two/%d", i), 20_000+i)
	}
	w.put(e, "last", 300_000)
}

// together puts n packed objects that one group carries.
func (w *world) together(e *Engine, n int) {
	w.t.Helper()
	hold, held := make(chan struct{}), make(chan struct{})
	var once sync.Once
	var rules []func()
	for _, f := range w.faults {
		rules = append(rules, f.Add(faultdisk.Rule{Ops: faultdisk.OpSync, Name: "s-*", Block: hold, Hook: func(faultdisk.Call) {
			once.Do(func() { close(held) })
		}}))
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	put := func(key string, size int) {
		o := newObject(uint64(size), size)
		wg.Go(func() {
			info, err := e.Bucket(testBucket).PutBytes(context.Background(), key, o.data, nil)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				w.t.Errorf("put %s: %v", key, err)
				return
			}
			o.version = info.VersionID
			w.model.did(&step{bucket: testBucket, key: key, object: o})
		})
	}
	put("group/first", 5000)
	<-held
	for i := range n {
		put(fmt.Sprintf("group/%d", i), 30_000+1000*i)
	}
	for deadline := time.Now().Add(10 * time.Second); len(e.queue) < n; runtime.Gosched() {
		require.True(w.t, time.Now().Before(deadline), "%d of %d puts are queued", len(e.queue), n)
	}
	close(hold)
	wg.Wait()
	for _, remove := range rules {
		remove()
	}
}

// learnNames remembers the names of the disks.
func (w *world) learnNames(e *Engine) {
	for _, d := range e.Status().Disks {
		if d.Name != "" {
			w.names[d.ID] = d.Name
		}
	}
}

// readable says by the layout whether an object can be read without the disks
// of the names gone.
func (w *world) readable(e *Engine, key string, gone map[string]bool) bool {
	w.t.Helper()
	b, ok := e.state.Bucket(testBucket)
	require.True(w.t, ok)
	v, err := meta.HeadOf(e.index, b.ID, key, nil)
	require.NoError(w.t, err)
	here := func(d *segment.Descriptor, shard int) bool { return !gone[w.names[d.Disks[shard].String()]] }
	if v.Packed {
		g, err := meta.GroupAt(e.index, v.Group, nil)
		require.NoError(w.t, err)
		d, err := e.descriptor(g.Segment)
		require.NoError(w.t, err)
		block, _, ok := g.Locate(int64(v.Offset), v.Size)
		require.True(w.t, ok)
		at := int64(v.Offset) - g.Blocks[block].Start
		n := 0
		for _, b := range g.Blocks {
			// A block that ends before is known to be zeros there.
			if here(d, int(b.Shard)) || b.Length <= at {
				n++
			}
		}
		return here(d, int(v.Shard)) || n >= g.Data
	}
	for _, x := range v.Extents {
		d, err := e.descriptor(x.Segment)
		require.NoError(w.t, err)
		k, m := d.Geometry.Data, d.Geometry.Parity
		for row := range erasure.RowOf(k, x.Length, x.Length-1) + 1 {
			n := erasure.RowAt(k, x.Length, row).Columns
			data, all := 0, 0
			for shard := range k + m {
				if shard >= n && shard < k || !here(d, shard) {
					continue
				}
				all++
				if shard < n {
					data++
				}
			}
			if data < n && all < n {
				return false
			}
		}
	}
	return true
}

// checkLost reads everything: what can be read is right, and the rest is an
// error that names it. It returns how many objects are lost.
func (w *world) checkLost(e *Engine, gone map[string]bool) (lost int) {
	w.t.Helper()
	b := e.Bucket(testBucket)
	for key, o := range w.model.buckets[testBucket] {
		err := checkObject(b, key, o)
		if w.readable(e, key, gone) {
			require.NoError(w.t, err, "%s without %v", key, gone)
			continue
		}
		lost++
		w.unrecoverable(err, key, o, gone)
		info, err := b.Head(context.Background(), key, nil)
		require.NoError(w.t, err)
		require.Equal(w.t, o.hash, info.Hash)
	}
	return lost
}

// unrecoverable requires that err says which object is lost, and names only
// disks that are gone.
func (w *world) unrecoverable(err error, key string, o *object, gone map[string]bool) {
	w.t.Helper()
	require.ErrorIs(w.t, err, ErrCorrupt, key)
	var u *UnrecoverableError
	require.ErrorAs(w.t, err, &u, key)
	require.Equal(w.t, []string{testBucket, key, o.version}, []string{u.Bucket, u.Key, u.VersionID})
	require.NotEmpty(w.t, u.Segment)
	require.NotEmpty(w.t, u.Disks)
	for _, id := range u.Disks {
		require.True(w.t, gone[w.names[id]], "%s: %s is not lost", key, w.names[id])
	}
}

// subsets returns all choices of 1 to m of n disks; if there are more than most,
// a random choice of them.
func (w *world) subsets(n, from, to, most int) [][]int {
	var all [][]int
	var choose func(chosen []int, next int)
	choose = func(chosen []int, next int) {
		if len(chosen) >= from && len(chosen) <= to {
			all = append(all, slices.Clone(chosen))
		}
		for i := next; i < n && len(chosen) < to; i++ {
			choose(append(chosen, i), i+1)
		}
	}
	choose(nil, 0)
	if raceEnabled {
		most = (most + 2) / 3
	}
	if len(all) > most && !*long {
		w.rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		all = all[:most]
	}
	return all
}

func (w *world) named(disks []int) map[string]bool {
	gone := map[string]bool{}
	for _, i := range disks {
		gone[w.mems[i].String()] = true
	}
	return gone
}

func (w *world) images() []*memdisk.Image {
	var images []*memdisk.Image
	for _, d := range w.mems {
		images = append(images, d.Image())
	}
	return images
}

var lossGeometries = []struct{ k, m int }{{1, 1}, {2, 1}, {2, 2}, {4, 2}, {8, 3}}

// TestLossOfUpToM: any m disks may go, while running or before an open with or
// without the index, and every byte is read.
func TestLossOfUpToM(t *testing.T) {
	for _, g := range lossGeometries {
		t.Run(fmt.Sprintf("%d+%d", g.k, g.m), func(t *testing.T) {
			w := newWorld(t, g.k, g.m, 40)
			e := w.open()
			w.mixed(e)
			require.Greater(t, w.widest(e), min(g.k, 3)-1, "no group of several blocks")
			require.Greater(t, e.log.Metrics().Segments, int64(1))
			all := w.subsets(g.k+g.m, 1, g.m, 22)
			for _, lost := range all {
				for _, i := range lost {
					w.faults[i].Lose()
				}
				require.NoError(t, w.model.check(e, false), "%v lost while running", lost)
				for _, i := range lost {
					w.faults[i].Return()
				}
			}
			require.Positive(t, e.Metrics().Reconstructed)
			require.Positive(t, e.Metrics().BadBlocks)
			w.expect(e)
			images := w.images()
			for _, lost := range all {
				w.putBack(images)
				e, err := w.tryOpen(context.Background(), lost...)
				require.NoError(t, err, "%v", lost)
				require.Equal(t, 2*len(lost) >= len(w.mems), e.Status().ReadOnly)
				require.NoError(t, w.model.check(e, false), "%v lost before the open", lost)
				require.NoError(t, e.Close())
			}
		})
	}
}

// widest returns the most data blocks of a group.
func (w *world) widest(e *Engine) int {
	most := 0
	b, _ := e.state.Bucket(testBucket)
	for key := range w.model.buckets[testBucket] {
		v, err := meta.HeadOf(e.index, b.ID, key, nil)
		require.NoError(w.t, err)
		if v.Packed {
			g, err := meta.GroupAt(e.index, v.Group, nil)
			require.NoError(w.t, err)
			most = max(most, g.Data)
		}
	}
	return most
}

// kept requires that nothing on the disks was removed or overwritten. Files that
// are filled ahead may have grown.
func (w *world) kept(before []map[string]string) {
	w.t.Helper()
	after := w.dump()
	for i := range before {
		for name, content := range before[i] {
			require.True(w.t, strings.HasPrefix(after[i][name], content), "%s on disk %d was changed", name, i)
		}
	}
}

// TestF03LossBeyondM: one disk too many. What needs it is an error that says so,
// the rest is read, nothing is deleted, and all is well when one is back.
func TestF03LossBeyondM(t *testing.T) {
	for _, g := range lossGeometries {
		t.Run(fmt.Sprintf("%d+%d", g.k, g.m), func(t *testing.T) {
			w := pebbleWorld(t, g.k, g.m, 41)
			e := w.open()
			w.mixed(e)
			before := w.dump()
			lostObjects := 0
			all := w.subsets(g.k+g.m, g.m+1, g.m+1, 10)
			for _, lost := range all {
				for _, i := range lost {
					w.faults[i].Lose()
				}
				n := w.checkLost(e, w.named(lost))
				lostObjects += n
				require.Less(t, n, len(w.model.buckets[testBucket]), "the empty object needs no disk")
				w.faults[lost[0]].Return()
				require.NoError(t, w.model.check(e, false), "%v lost and one back", lost)
				for _, i := range lost {
					w.faults[i].Return()
				}
			}
			require.Positive(t, lostObjects)
			w.kept(before)
			w.expect(e)
			before = w.dump() // without files that were made ahead
			images, saved := w.images(), filepath.Join(t.TempDir(), "saved")
			copyDir(t, w.opts.IndexDir, saved)
			for _, lost := range all[:min(len(all), 4)] {
				if len(lost) == len(w.mems) {
					continue // 1+1 without any disk
				}
				w.putBack(images)
				copyDir(t, saved, w.opts.IndexDir)
				e := w.open(lost...)
				w.learnNames(e)
				w.checkLost(e, w.named(lost))
				if s := e.Status(); s.ReadOnly {
					require.ErrorIs(t, s.Reason, ErrReadOnly)
				}
				require.NoError(t, e.Close())
				for i, files := range before {
					if !slices.Contains(lost, i) {
						now := dump(t, w.mems[i])
						for name := range files {
							require.Contains(t, now, name, "deleted")
						}
					}
				}
				e = w.open(lost[1:]...)
				require.NoError(t, w.model.check(e, e.Status().ReadOnly))
				require.NoError(t, e.Close())
				w.expect(w.open())
			}
		})
	}
}

// TestLossWhileWriting: disks fail one after another under a writer; after each,
// new objects survive what Put said, and old ones are read while no more than m
// are gone.
func TestLossWhileWriting(t *testing.T) {
	w := newWorld(t, 4, 2, 42)
	e := w.open()
	w.mixed(e)
	w.faults[1].Lose()
	require.Equal(t, 2, w.put(e, "after one", 1000))
	require.Equal(t, 2, w.put(e, "after one, striped", 500_000))
	require.NoError(t, w.model.check(e, false))
	w.faults[4].Lose()
	require.Equal(t, 2, w.put(e, "after two, striped", 500_000))
	require.Equal(t, 2, w.put(e, "after two", 1000))
	require.NoError(t, w.model.check(e, false))
	require.Equal(t, "2+2", e.Status().Geometry)
	require.EqualValues(t, 2, e.Metrics().DisksFailed)
	for _, lost := range [][]int{{0, 2}, {0, 3}, {2, 5}, {3, 5}} {
		for _, i := range lost {
			w.faults[i].Lose()
		}
		for _, key := range []string{"after two", "after two, striped"} {
			require.NoError(t, checkObject(e.Bucket(testBucket), key, w.model.buckets[testBucket][key]), "%s, %v", key, lost)
		}
		w.faults[lost[0]].Return()
		for _, key := range []string{"after one", "after one, striped"} { // since when d4 and one more are gone
			require.NoError(t, checkObject(e.Bucket(testBucket), key, w.model.buckets[testBucket][key]), "%s, %v", key, lost)
		}
		w.faults[lost[1]].Return()
	}
	w.expect(e)
	w.expect(w.open(1, 4))
	w.expect(w.open())
}

// TestF01DirectoryLost: a directory is removed, renamed or replaced while the
// store is open. It is found, writes go on, and what is put from then on
// survives as many further losses as Put says.
func TestF01DirectoryLost(t *testing.T) {
	for name, lose := range map[string]func(path string) error{
		"removed": os.RemoveAll,
		"renamed": func(path string) error { return os.Rename(path, path+".old") },
		"replaced": func(path string) error {
			return errors.Join(os.Rename(path, path+".old"), os.Mkdir(path, 0o777))
		},
		"emptied": func(path string) error {
			names, err := filepath.Glob(filepath.Join(path, "*"))
			for _, n := range names {
				err = errors.Join(err, os.Remove(n))
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			w := newWorld(t, 4, 2, 43)
			failed := make(chan DiskFailedInfo, 6)
			o := dirOptions(t, dir, 4, 2)
			o.CheckInterval = 5 * time.Millisecond
			o.Events.DiskFailed = func(i DiskFailedInfo) { failed <- i }
			e, err := Open(context.Background(), o)
			require.NoError(t, err)
			for i, size := range []int{0, 100, 50_000, 300_000} {
				w.put(e, fmt.Sprint("before", i), size)
			}
			require.NoError(t, lose(diskDir(dir, 2)))
			select {
			case i := <-failed:
				require.Equal(t, diskDir(dir, 2), i.Name)
			case <-time.After(20 * time.Second):
				t.Fatal("nobody noticed")
			}
			after := map[string]int{}
			for i, size := range []int{0, 100, 50_000, 300_000, 1 << 20} {
				key := fmt.Sprint("after", i)
				after[key] = w.put(e, key, size)
			}
			require.NoError(t, w.model.check(e, false))
			require.NoError(t, e.Close())
			for _, gone := range [][]int{{2, 0, 1}, {2, 4, 5}, {2, 3, 5}} {
				o := dirOptions(t, dir, 4, 2, gone...)
				saved := filepath.Join(t.TempDir(), "index")
				copyDir(t, o.IndexDir, saved)
				o.IndexDir = saved
				e, err := Open(context.Background(), o)
				require.NoError(t, err)
				for key, survives := range after {
					require.Equal(t, 2, survives)
					require.NoError(t, checkObject(e.Bucket(testBucket), key, w.model.buckets[testBucket][key]), "%s without %v", key, gone)
				}
				require.NoError(t, e.Close())
			}
		})
	}
}
