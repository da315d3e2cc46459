package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/meta"
)

// watchedIndex calls after with the number of each batch when that is visible.
type watchedIndex struct {
	meta.Index
	n     int
	after func(n int)
}

func (x *watchedIndex) Apply(b *meta.Batch, pos meta.Position) error {
	err := x.Index.Apply(b, pos)
	x.n++
	x.after(x.n)
	return err
}

// hostileKeys are neighbours in every way that a prefix could get wrong.
var hostileKeys = []string{
	"a", "a/", "a/b", "a/b/c", "a/\x00", "a0", "a.", "A", "b", "aa", "\x00", "\x00\x00", "\x01", "é", "è", "日本", "日",
	"\U0010ffff", "\U0010ffff\U0010ffff", "\U0010fffe", "..", "/", "//", strings.Repeat("z", meta.MaxKey), strings.Repeat("z", meta.MaxKey-1),
}

// bothIndexes runs fn with the index in memory and with the one on Pebble.
func bothIndexes(t *testing.T, k, m int, fn func(t *testing.T, r *rig)) {
	for _, plain := range []bool{true, false} {
		t.Run(fmt.Sprintf("plain=%v", plain), func(t *testing.T) {
			r := newRig(t, k, m)
			r.opts.plainIndex = plain
			r.opts.chunk = 3
			fn(t, r)
		})
	}
}

// TestPrefixKeys deletes by prefix and compares what is left with the obvious.
func TestPrefixKeys(t *testing.T) {
	prefixes := []string{"", "a", "a/", "a/b", "a/b/c", "a/b/c/d", "none", "\x00", "é", "日", "\U0010ffff", "/", strings.Repeat("z", meta.MaxKey)}
	bothIndexes(t, 2, 1, func(t *testing.T, r *rig) {
		e := r.open()
		want := map[string]map[string]int64{}
		for i := range prefixes {
			name := fmt.Sprintf("bucket-%02d", i)
			b := bucketOf(t, e, name)
			want[name] = map[string]int64{}
			for j, key := range hostileKeys {
				size := int64(j * j)
				if j == 2 {
					size = 70 << 10 // striped
				}
				_, err := b.PutBytes(t.Context(), key, content(1, int(size)), nil)
				require.NoError(t, err)
				want[name][key] = size
			}
		}
		for i, prefix := range prefixes {
			name := fmt.Sprintf("bucket-%02d", i)
			var removed DeletePrefixResult
			for key, size := range want[name] {
				if strings.HasPrefix(key, prefix) {
					removed.Objects++
					removed.Bytes += size
					delete(want[name], key)
				}
			}
			deletes := e.Metrics().Deletes
			res, err := e.Bucket(name).DeletePrefix(t.Context(), prefix)
			require.NoError(t, err)
			require.Equal(t, &removed, res, "%.20q", prefix)
			require.Equal(t, removed.Objects, e.Metrics().Deletes-deletes)
			again, err := e.Bucket(name).DeletePrefix(t.Context(), prefix)
			require.NoError(t, err)
			require.Zero(t, *again)
		}
		for range 2 {
			infos, err := e.Buckets(t.Context())
			require.NoError(t, err)
			require.Len(t, infos, len(prefixes))
			for _, info := range infos {
				b := e.Bucket(info.Name)
				require.Equal(t, slices.Sorted(maps.Keys(want[info.Name])), slices.Sorted(slices.Values(keysOf(t, b))), info.Name)
				var bytes int64
				for key, size := range want[info.Name] {
					bytes += size
					got, err := read(b, key)
					require.NoError(t, err)
					require.Len(t, got, int(size))
				}
				require.Equal(t, int64(len(want[info.Name])), info.Objects)
				require.Equal(t, bytes, info.Bytes)
			}
			e = r.reopen(e)
		}
		require.NoError(t, e.DeleteBucket(t.Context(), "bucket-00"), "it is empty")
	})
}

func TestPrefixRefused(t *testing.T) {
	r := newRig(t, 2, 1)
	r.opts.MaxTransactionKeys = 5
	e := r.open()
	b := bucketOf(t, e, "bucket")
	for _, bad := range []string{"\xff", "a\xc3", strings.Repeat("z", meta.MaxKey+1)} {
		res, err := b.DeletePrefix(t.Context(), bad)
		requireError(t, err, ErrKey, "delete prefix", "bucket", bad)
		require.Nil(t, res)
	}
	_, err := e.Bucket("nowhere").DeletePrefix(t.Context(), "a")
	requireError(t, err, ErrNoBucket, "delete prefix", "nowhere", "a")
	manyKeys(t, b, 6, func(i int) string { return fmt.Sprintf("six/%d", i) })
	manyKeys(t, b, 5, func(i int) string { return fmt.Sprintf("five/%d", i) })
	groups := e.Metrics().Groups
	for _, prefix := range []string{"", "s", "six/"} {
		_, err = b.DeletePrefix(t.Context(), prefix)
		requireError(t, err, ErrTooManyKeys, "delete prefix", "bucket", prefix)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = b.DeletePrefix(ctx, "five/")
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, groups, e.Metrics().Groups, "nothing was committed")
	require.Len(t, keysOf(t, b), 11)
	res, err := b.DeletePrefix(t.Context(), "five/")
	require.NoError(t, err)
	require.EqualValues(t, 5, res.Objects, "as many as are allowed")
	require.Len(t, keysOf(t, b), 6)
	require.Empty(t, e.slots, "slots are given back")
}

// prefixView is all that the readers show of some keys.
type prefixView struct {
	heads, gets, listed, paged, headMany, getMany int
}

// viewOf reads the keys in every way. The error is of what cannot be.
func viewOf(b *Bucket, keys []string) (v prefixView, err error) {
	ctx := context.Background()
	note := func(n *int, key, got string, err error) error {
		switch {
		case errors.Is(err, ErrNotFound):
			return nil
		case err != nil:
			return err
		case got != key:
			return fmt.Errorf("%q shows %q", key, got)
		}
		*n++
		return nil
	}
	for _, key := range keys {
		info, err := b.Head(ctx, key, nil)
		if err == nil {
			key = info.Key
		}
		if err := note(&v.heads, key, key, err); err != nil {
			return v, err
		}
		p, err := read(b, key)
		if err := note(&v.gets, key, string(p), err); err != nil {
			return v, err
		}
	}
	for _, err := range b.List(ctx, &ListOptions{Prefix: "p/"}) {
		if err != nil {
			return v, err
		}
		v.listed++
	}
	page, err := b.ListPage(ctx, &ListPageOptions{ListOptions: ListOptions{Prefix: "p/"}})
	if err != nil {
		return v, err
	}
	v.paged = len(page.Objects)
	i := 0
	for info, err := range b.HeadMany(ctx, slices.Values(keys)) {
		got := ""
		if err == nil {
			got = info.Key
		}
		if err := note(&v.headMany, keys[i], got, err); err != nil {
			return v, err
		}
		i++
	}
	for o, err := range b.GetMany(ctx, slices.Values(keys), nil) {
		got := ""
		if err == nil {
			got = o.Info().Key
		}
		if err := note(&v.getMany, got, got, err); err != nil {
			return v, err
		}
	}
	return v, nil
}

func prefixKeys(n int) (keys []string) {
	for i := range n {
		keys = append(keys, fmt.Sprintf("p/%02d", i))
	}
	return keys
}

// putKeys puts each key with itself as content.
func putKeys(t testing.TB, b *Bucket, keys []string) {
	t.Helper()
	pending := make([]*Pending, len(keys))
	for i, key := range keys {
		var err error
		pending[i], err = b.PutAsync(t.Context(), key, []byte(key), nil)
		require.NoError(t, err)
	}
	for _, p := range pending {
		_, err := p.Wait(t.Context())
		require.NoError(t, err)
	}
}

// TestPrefixHidden looks at a prefix delete between its batches: every reader
// shows all keys until it has returned, and mutations queue behind it.
func TestPrefixHidden(t *testing.T) {
	const n = 20
	keys := prefixKeys(n)
	all := prefixView{n, n, n, n, n, n}
	bothIndexes(t, 2, 1, func(t *testing.T, r *rig) {
		e := r.open()
		b := bucketOf(t, e, "bucket")
		putKeys(t, b, keys)
		large := content(1, 300<<10)
		_, err := b.PutBytes(t.Context(), "pl", large, nil)
		require.NoError(t, err)
		old, err := b.Head(t.Context(), keys[0], nil)
		require.NoError(t, err)

		var object *Object
		var put *Pending
		var wg sync.WaitGroup
		var deleteErr, tagsErr, onlyErr error
		var batches atomic.Int64
		e.index = &watchedIndex{Index: e.index, after: func(i int) {
			batches.Store(int64(i))
			if i > (n+1)/3 {
				return // the last one, and what comes after
			}
			v, err := viewOf(b, keys)
			if err != nil || v != all {
				t.Errorf("after batch %d: %+v, %v", i, v, err)
			}
			if i != 2 {
				return
			}
			// These looked while all was there.
			object, err = b.Get(context.Background(), "pl", nil)
			if err != nil {
				t.Error(err)
			}
			put, err = b.PutAsync(context.Background(), keys[1], []byte("new"), nil)
			if err != nil {
				t.Error(err)
			}
			wg.Go(func() {
				_, deleteErr = b.Delete(context.Background(), keys[0], &DeleteOptions{If: &Conditions{IfVersion: old.VersionID}})
			})
			wg.Go(func() { tagsErr = b.PutTags(context.Background(), keys[2], map[string]string{"a": "b"}, nil) })
			wg.Go(func() {
				_, onlyErr = b.PutBytes(context.Background(), keys[3], []byte("new"), &PutOptions{If: &Conditions{IfNoneMatch: "*"}})
			})
		}}
		res, err := b.DeletePrefix(t.Context(), "p")
		require.NoError(t, err)
		require.GreaterOrEqual(t, batches.Load(), int64((n+1)/3))
		require.Equal(t, &DeletePrefixResult{Objects: n + 1, Bytes: 4*n + 300<<10}, res)
		_, err = put.Wait(t.Context())
		require.NoError(t, err)
		wg.Wait()
		require.ErrorIs(t, deleteErr, ErrPrecondition)
		require.ErrorIs(t, deleteErr, ErrNotFound)
		require.ErrorIs(t, tagsErr, ErrNotFound)
		require.NoError(t, onlyErr, "the key was free")
		got := make([]byte, len(large))
		_, err = object.ReadAt(got, 0)
		require.NoError(t, err)
		require.Equal(t, large, got, "an object opened before")
		require.NoError(t, object.Close())
		for range 2 {
			require.ElementsMatch(t, []string{keys[1], keys[3]}, keysOf(t, b))
			infos, err := e.Buckets(t.Context())
			require.NoError(t, err)
			require.Equal(t, BucketInfo{Name: "bucket", Created: infos[0].Created, Objects: 2, Bytes: 6}, infos[0])
			e = r.reopen(e)
			b = e.Bucket("bucket")
		}
	})
}

// TestPrefixMonotonic has readers beside prefix deletes of many batches: each of
// them sees all keys or none, and none for ever once it saw none.
func TestPrefixMonotonic(t *testing.T) {
	const n = 25
	rounds := 10
	if raceEnabled {
		rounds = 3
	}
	keys := prefixKeys(n)
	bothIndexes(t, 2, 1, func(t *testing.T, r *rig) {
		b := bucketOf(t, r.open(), "bucket")
		for round := range rounds {
			putKeys(t, b, keys)
			begun := make(chan struct{}, 6)
			var wg sync.WaitGroup
			for reader := range 6 {
				wg.Go(func() {
					gone := false
					count := func(n int, err error) {
						if err != nil {
							t.Error(err)
						}
						if n > 0 && gone {
							t.Errorf("round %d: %d keys after none", round, n)
						}
						gone = gone || n == 0
					}
					for i := 0; !gone && !t.Failed(); i++ {
						switch reader % 3 {
						case 0:
							page, err := b.ListPage(context.Background(), &ListPageOptions{ListOptions: ListOptions{Prefix: "p"}})
							if err == nil && len(page.Objects) != n && len(page.Objects) != 0 {
								err = fmt.Errorf("a page of %d", len(page.Objects))
							}
							if err != nil {
								t.Error(err)
								return
							}
							count(len(page.Objects), nil)
						case 1: // from the last to the first: what goes first is looked at last
							_, err := b.Head(context.Background(), keys[n-1-i%n], nil)
							if errors.Is(err, ErrNotFound) {
								count(0, nil)
							} else {
								count(1, err)
							}
						default:
							_, err := read(b, keys[i%n])
							if errors.Is(err, ErrNotFound) {
								count(0, nil)
							} else {
								count(1, err)
							}
						}
						if i == 0 {
							begun <- struct{}{}
						}
					}
					v, err := viewOf(b, keys)
					if err != nil || v != (prefixView{}) {
						t.Errorf("round %d: after none there was %+v, %v", round, v, err)
					}
				})
			}
			for range 6 {
				<-begun
			}
			res, err := b.DeletePrefix(t.Context(), "p/")
			require.NoError(t, err)
			require.EqualValues(t, n, res.Objects)
			v, err := viewOf(b, keys)
			require.NoError(t, err)
			require.Zero(t, v)
			wg.Wait()
		}
	})
}

// slowIndex has the next Get wait in the middle.
type slowIndex struct {
	watchedIndex
	before func()
}

func (x *slowIndex) Get(key, dst []byte) ([]byte, error) {
	if f := x.before; f != nil {
		x.before = nil
		f()
	}
	return x.watchedIndex.Get(key, dst)
}

// TestPrefixOvertakesReader: a reader chooses what to look at, and before it
// looks a prefix delete makes its first batches. It looks again.
func TestPrefixOvertakesReader(t *testing.T) {
	bothIndexes(t, 2, 1, func(t *testing.T, r *rig) {
		const n = 10
		keys := prefixKeys(n)
		e := r.open()
		b := bucketOf(t, e, "bucket")
		for _, reader := range []string{"list", "head"} {
			putKeys(t, b, keys)
			inside, gate := make(chan struct{}), make(chan struct{})
			release := sync.OnceFunc(func() { close(gate) })
			t.Cleanup(release) // before the store closes
			inner := e.index
			index := &slowIndex{watchedIndex: watchedIndex{Index: inner, after: func(i int) {
				if i == 2 {
					close(inside)
					<-gate
				}
			}}}
			e.index = index
			done := make(chan error, 1)
			overtake := func() {
				go func() {
					_, err := b.DeletePrefix(context.Background(), "p/")
					done <- err
				}()
				<-inside
			}
			if reader == "list" {
				calls := 0
				err := e.read(func(r meta.Reader) error {
					if calls++; calls == 1 {
						overtake()
					}
					found, err := meta.CountPrefix(r, 1, "p/", 100)
					if err == nil && calls > 1 {
						require.EqualValues(t, n, found)
					}
					return err
				})
				require.NoError(t, err)
				require.Equal(t, 2, calls)
			} else {
				index.before = overtake
				_, err := b.Head(t.Context(), keys[0], nil)
				require.NoError(t, err)
			}
			release()
			require.NoError(t, <-done)
			require.Empty(t, keysOf(t, b))
			e.index = inner
		}
	})
}
