package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/meta"
)

// act is one mutation of every kind that there is.
type act struct {
	name string
	run  func(ctx context.Context, e *Engine) error
}

// acts are a history in which each mutation changes what the store shows.
func acts() []act {
	var all []act
	add := func(name string, run func(ctx context.Context, e *Engine) error) { all = append(all, act{name, run}) }
	create := func(bucket string) {
		add("create "+bucket, func(ctx context.Context, e *Engine) error { return e.CreateBucket(ctx, bucket) })
	}
	put := func(key string, size int, opts *PutOptions) {
		seed := uint64(len(all))
		add("put "+key, func(ctx context.Context, e *Engine) error {
			_, err := e.Bucket("one").PutBytes(ctx, key, content(seed, size), opts)
			return err
		})
	}
	tags := func(key, value string) {
		add("tags of "+key, func(ctx context.Context, e *Engine) error {
			return e.Bucket("one").PutTags(ctx, key, map[string]string{"tag": value, "é": ""}, nil)
		})
	}
	settings := func(bucket, name string) {
		add("settings of "+bucket, func(ctx context.Context, e *Engine) error {
			return e.Bucket(bucket).UpdateSettings(ctx, func(s *BucketSettings) error {
				s.Documents[name] = []byte("document " + name)
				s.Tags["last"] = name
				return nil
			})
		})
	}
	prefix := func(p string) {
		add(fmt.Sprintf("delete prefix %q", p), func(ctx context.Context, e *Engine) error {
			_, err := e.Bucket("one").DeletePrefix(ctx, p)
			return err
		})
	}
	create("one")
	create("two")
	settings("one", "a")
	for i := range 4 {
		put(fmt.Sprintf("p/%d", i), 100*i, nil)
	}
	put("p/large", 70<<10, &PutOptions{Tags: map[string]string{"size": "large"}})
	put("p", 10, nil)
	tags("p/large", "1")
	tags("p", "1")
	prefix("p/")
	put("p/1", 5, &PutOptions{Tags: map[string]string{"by": "put"}, Metadata: map[string]string{"m": "1"}})
	tags("p/1", "2")
	settings("one", "b")
	settings("two", "c")
	add("no tags of p", func(ctx context.Context, e *Engine) error { return e.Bucket("one").DeleteTags(ctx, "p", nil) })
	add("delete many", func(ctx context.Context, e *Engine) error {
		res, err := e.Bucket("one").DeleteMany(ctx, []DeleteItem{{Key: "p"}})
		if err == nil {
			err = res[0].Err
		}
		return err
	})
	put("q", 3000, nil)
	prefix("")
	add("delete bucket", func(ctx context.Context, e *Engine) error { return e.DeleteBucket(ctx, "one") })
	create("one")
	put("p/9", 77, nil)
	put("r", 78, nil)
	prefix("p")
	return all
}

// described is all that a store shows, but for what differs from run to run.
func described(e *Engine) (map[string]string, error) {
	ctx := context.Background()
	all := map[string]string{}
	buckets, err := e.Buckets(ctx)
	if err != nil {
		return nil, err
	}
	for _, info := range buckets {
		b := e.Bucket(info.Name)
		s, err := b.Settings(ctx)
		if err != nil {
			return nil, err
		}
		all[info.Name] = fmt.Sprint(info.Objects, info.Bytes, s.Tags, s.Documents)
		for o, err := range b.List(ctx, nil) {
			if err != nil {
				return nil, err
			}
			head, err := b.Head(ctx, o.Key, nil)
			if err != nil {
				return nil, err
			}
			p, err := read(b, o.Key)
			if err != nil {
				return nil, err
			}
			all[info.Name+"/"+o.Key] = fmt.Sprint(len(p), o.Hash, head.Size, head.Tags, head.Metadata)
		}
	}
	return all, nil
}

// expected are what the store shows before each act, and after the last one.
func expected(t *testing.T) (all []map[string]string) {
	r := newRig(t, 1, 0)
	e := r.open()
	shown, err := described(e)
	require.NoError(t, err)
	all = append(all, shown)
	for _, a := range acts() {
		require.NoError(t, a.run(t.Context(), e), a.name)
		shown, err := described(e)
		require.NoError(t, err)
		require.NotEqual(t, all[len(all)-1], shown, "%s changes nothing", a.name)
		all = append(all, shown)
	}
	return all
}

// TestCrashAnyMutation cuts the power at disk operations of a history of every
// kind of mutation, with large transactions of several batches. What comes up is
// the state before or after the one in flight, whichever m disks are absent, and
// the history goes on from there to the same end.
func TestCrashAnyMutation(t *testing.T) {
	history, want := acts(), expected(t)
	for _, c := range []struct {
		k, m          int
		onDisk        bool
		first, stride int64
	}{{1, 0, false, 1, 1}, {2, 1, false, 3, 3}, {4, 2, false, 7, 23}, {2, 1, true, 11, 29}} {
		t.Run(fmt.Sprintf("%d+%d index on disk %v", c.k, c.m, c.onDisk), func(t *testing.T) {
			stride := c.stride
			switch {
			case *long:
				stride = 1
			case raceEnabled:
				stride *= 9
			}
			for cut, over := c.first, false; !over; cut += stride {
				w := newWorld(t, c.k, c.m, uint64(cut))
				w.opts.chunk = 2
				if c.onDisk {
					w.keepIndex(t.TempDir())
				}
				var err error
				over, err = crashActs(w, history, want, cut)
				require.NoError(t, err, "cut at operation %d", cut)
			}
		})
	}
}

// crashActs runs the history until the power goes at operation cut.
func crashActs(w *world, history []act, want []map[string]string, cut int64) (over bool, err error) {
	ctx := context.Background()
	w.machine.CutAt(cut)
	done := 0
	e, err := w.enter()
	absent := w.some(w.opts.Geometry.Parity)
	if err != nil {
		absent = nil // nothing was promised yet
	}
	for err == nil && done < len(history) {
		if err = history[done].run(ctx, e); err == nil {
			done++
		}
	}
	if err != nil && !isPower(err) {
		return false, err
	}
	over = err == nil
	if e != nil {
		_ = e.Close() // with the power off or on
	}
	w.restart()
	if e, err = w.enter(absent...); err != nil {
		return over, fmt.Errorf("after the crash: %w", err)
	}
	shown, err := described(e)
	if err != nil {
		return over, errors.Join(err, e.Close())
	}
	at := slices.IndexFunc(want, func(s map[string]string) bool { return reflect.DeepEqual(s, shown) })
	if at < done || at > done+1 {
		_ = e.Close()
		return over, fmt.Errorf("%d done and %d shown: %v", done, at, shown)
	}
	if e.Status().ReadOnly {
		return over, e.Close()
	}
	for ; at < len(history); at++ {
		if err := history[at].run(ctx, e); err != nil {
			return over, errors.Join(fmt.Errorf("going on with %s: %w", history[at].name, err), e.Close())
		}
	}
	_ = e.Close()
	if w.rand.IntN(2) == 0 {
		w.restart()
	}
	if e, err = w.enter(w.some(w.opts.Geometry.Parity)...); err != nil {
		return over, fmt.Errorf("at the end: %w", err)
	}
	defer e.Close()
	if shown, err = described(e); err == nil && !reflect.DeepEqual(shown, want[len(history)]) {
		err = fmt.Errorf("at the end there is %v", shown)
	}
	return over, err
}

// TestCrashBetweenBatches opens the store with the index as a crash between any
// two batches of a prefix delete leaves it, and with none: the delete happened,
// what the index had of it is kept, and the look-ups go on.
func TestCrashBetweenBatches(t *testing.T) {
	const n = 9
	w := pebbleWorld(t, 2, 1, 71)
	w.opts.chunk = 2
	dir := t.TempDir()
	e := w.open()
	b := bucketOf(t, e, "bucket")
	keys := prefixKeys(n)
	putKeys(t, b, keys)
	putKeys(t, b, []string{"o", "q"})
	_, err := b.PutBytes(t.Context(), "p/large", content(1, 100<<10), nil)
	require.NoError(t, err)
	require.NoError(t, e.Close())
	before := w.images()
	copyDir(t, w.opts.IndexDir, filepath.Join(dir, "before"))
	const batches = 5
	for i := range batches + 1 {
		w.putBack(before)
		copyDir(t, filepath.Join(dir, "before"), w.opts.IndexDir)
		e := w.open()
		index := e.index
		e.index = &watchedIndex{Index: index, after: func(n int) {
			if n > batches {
				t.Errorf("batch %d", n)
			}
			if n == i {
				if err := index.Freeze(); err != nil { // this is what will be found
					t.Error(err)
				}
			}
		}}
		_, err := e.Bucket("bucket").DeletePrefix(t.Context(), "p/")
		require.NoError(t, err)
		w.restart()
		_ = e.Close()
		images, after := w.images(), filepath.Join(dir, fmt.Sprint(i))
		if i == 0 {
			require.NoError(t, os.RemoveAll(w.opts.IndexDir))
		}
		copyDir(t, w.opts.IndexDir, after)
		for _, absent := range [][]int{nil, {1}} {
			w.putBack(images)
			copyDir(t, after, w.opts.IndexDir)
			e := w.open(absent...)
			b := e.Bucket("bucket")
			if i > 0 {
				require.Zero(t, e.Metrics().IndexRebuilds, "batch %d", i)
			}
			require.Equal(t, i < batches, e.Metrics().Replayed > 0)
			_, pending, err := meta.Pending(e.index)
			require.NoError(t, err)
			require.False(t, pending)
			check := func(want ...string) {
				t.Helper()
				require.ElementsMatch(t, want, keysOf(t, b))
				infos, err := e.Buckets(t.Context())
				require.NoError(t, err)
				require.EqualValues(t, len(want), infos[0].Objects)
				v, err := viewOf(b, keys)
				require.NoError(t, err)
				require.Equal(t, len(want)-2, v.heads)
			}
			check("o", "q")
			_, err = b.PutBytes(t.Context(), keys[4], []byte(keys[4]), &PutOptions{If: &Conditions{IfNoneMatch: "*"}})
			require.NoError(t, err)
			check("o", "q", keys[4])
			require.NoError(t, e.Close())
		}
	}
}
