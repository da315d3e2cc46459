package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTags(t *testing.T) {
	for _, plain := range []bool{true, false} {
		r := newRig(t, 2, 1)
		r.opts.plainIndex, r.opts.PayloadSegmentSize = plain, 1<<20
		if !plain {
			r.opts.IndexDir = filepath.Join(t.TempDir(), "index")
		}
		now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		r.opts.Clock = func() time.Time { return now }
		e := r.open()
		b := bucketOf(t, e, "bucket")
		sizes := map[string]int{"empty": 0, "packed": 3000, "striped": 300 << 10}
		made := map[string]*ObjectInfo{}
		extents := 0
		for key, size := range sizes {
			opts := &PutOptions{Metadata: map[string]string{"owner": "ann"}, Headers: Headers{ContentType: "text/plain"}, ETag: "tag", Tags: map[string]string{"first": "1"}}
			info, err := b.PutBytes(t.Context(), key, content(9, size), opts)
			require.NoError(t, err)
			info.Survives = 0
			made[key] = info
			extents += len(mustGet(t, b, key, nil).version.Extents)
		}
		require.Positive(t, extents)
		now = now.Add(time.Hour)
		// check compares everything but the tags with what the put made.
		check := func(want map[string]string) {
			t.Helper()
			for key, size := range sizes {
				info, err := b.Head(t.Context(), key, nil)
				require.NoError(t, err)
				require.Equal(t, want, info.Tags)
				tags, err := b.Tags(t.Context(), key)
				require.NoError(t, err)
				require.Equal(t, want, tags)
				o := mustGet(t, b, key, nil)
				require.Equal(t, info, o.Info())
				info.Tags = map[string]string{"first": "1"}
				require.Equal(t, made[key], info, "only tags change")
				got, err := read(b, key)
				require.NoError(t, err)
				require.Equal(t, content(9, size), got)
			}
			n := 0
			for o, err := range b.List(t.Context(), nil) {
				require.NoError(t, err)
				require.Nil(t, o.Tags)
				require.Equal(t, made[o.Key].VersionID, o.VersionID)
				n++
			}
			require.Equal(t, len(sizes), n)
		}
		check(map[string]string{"first": "1"})
		for _, want := range []map[string]string{
			{"a": "", "é": strings.Repeat("語", 256), strings.Repeat("語", 128): "x"},
			{"0": "", "1": "", "2": "", "3": "", "4": "", "5": "", "6": "", "7": "", "8": "", "9": "9"},
			nil,
			{"\x00": "\x00"},
		} {
			for key := range sizes {
				require.NoError(t, b.PutTags(t.Context(), key, want, nil))
			}
			for _, reopen := range []func(){
				func() {},
				func() { e = r.reopen(e) },
				func() {
					require.NoError(t, e.Close())
					if !plain {
						require.NoError(t, os.RemoveAll(r.opts.IndexDir))
					}
					e = r.open(1)
				},
				func() { e = r.reopen(e) },
			} {
				reopen()
				b = e.Bucket("bucket")
				check(want)
			}
		}
		for key := range sizes {
			require.NoError(t, b.DeleteTags(t.Context(), key, nil))
			require.NoError(t, b.DeleteTags(t.Context(), key, nil), "without any")
		}
		check(nil)
		require.NoError(t, b.PutTags(t.Context(), "packed", map[string]string{"a": "b"}, nil))
		_, err := b.PutBytes(t.Context(), "packed", nil, nil)
		require.NoError(t, err)
		tags, err := b.Tags(t.Context(), "packed")
		require.NoError(t, err)
		require.Nil(t, tags, "a new version has its own")
	}
}

func TestTagsRefused(t *testing.T) {
	e := newRig(t, 2, 1).open()
	b := bucketOf(t, e, "bucket")
	info, err := b.PutBytes(t.Context(), "key", []byte("abc"), &PutOptions{Tags: map[string]string{"keep": "me"}})
	require.NoError(t, err)
	eleven := map[string]string{}
	for i := range 11 {
		eleven[fmt.Sprint(i)] = ""
	}
	groups := e.Metrics().Groups
	for _, bad := range []map[string]string{
		eleven, {"": "v"}, {"k": "\xff"}, {"\xff": "v"}, {strings.Repeat("é", 129): "v"}, {"k": strings.Repeat("é", 257)},
		{strings.Repeat("k", 1<<20): "v"}, {"k": strings.Repeat("v", 1<<20)},
	} {
		requireError(t, b.PutTags(t.Context(), "key", bad, nil), ErrTags, "put tags", "bucket", "key")
		_, err := b.PutBytes(t.Context(), "key", nil, &PutOptions{Tags: bad})
		requireError(t, err, ErrTags, "put", "bucket", "key")
	}
	good := map[string]string{"a": "b"}
	requireError(t, b.PutTags(t.Context(), "", good, nil), ErrKey, "put tags", "bucket", "")
	requireError(t, e.Bucket("nowhere").PutTags(t.Context(), "key", good, nil), ErrNoBucket, "put tags", "nowhere", "key")
	requireError(t, b.PutTags(t.Context(), "key", good, &TagOptions{If: &Conditions{IfVersion: "x"}}), ErrVersionID, "put tags", "bucket", "key")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, b.PutTags(ctx, "key", good, nil), context.Canceled)
	require.Equal(t, groups, e.Metrics().Groups, "nothing was committed")

	requireError(t, b.PutTags(t.Context(), "absent", good, nil), ErrNotFound, "put tags", "bucket", "absent")
	requireError(t, b.DeleteTags(t.Context(), "absent", nil), ErrNotFound, "put tags", "bucket", "absent")
	_, err = b.Tags(t.Context(), "absent")
	require.ErrorIs(t, err, ErrNotFound)

	size, other := info.Size, info.Size+1
	for _, no := range []*Conditions{
		{IfMatch: "other"}, {IfNoneMatch: "*"}, {IfNoneMatch: info.ETag}, {IfSize: &other}, {IfModified: info.Modified.Add(time.Hour)},
		{IfVersion: info.VersionID, IfMatch: "other"},
	} {
		requireError(t, b.PutTags(t.Context(), "key", good, &TagOptions{If: no}), ErrPrecondition, "put tags", "bucket", "key")
		requireError(t, b.DeleteTags(t.Context(), "key", &TagOptions{If: no}), ErrPrecondition, "put tags", "bucket", "key")
	}
	err = b.PutTags(t.Context(), "absent", good, &TagOptions{If: &Conditions{IfMatch: "*"}})
	require.ErrorIs(t, err, ErrPrecondition)
	require.ErrorIs(t, err, ErrNotFound)
	tags, err := b.Tags(t.Context(), "key")
	require.NoError(t, err)
	require.Equal(t, map[string]string{"keep": "me"}, tags)
	for i, yes := range []*Conditions{
		{IfMatch: "*"}, {IfMatch: info.ETag}, {IfNoneMatch: "other"}, {IfSize: &size}, {IfModified: info.Modified}, {IfVersion: info.VersionID},
	} {
		want := map[string]string{"n": fmt.Sprint(i)}
		require.NoError(t, b.PutTags(t.Context(), "key", want, &TagOptions{If: yes}))
		tags, err := b.Tags(t.Context(), "key")
		require.NoError(t, err)
		require.Equal(t, want, tags)
	}
	require.Empty(t, e.slots, "slots are given back")
}

// TestTagsInOneGroup queues puts, deletes and tags of one key behind a commit.
// Each meets what the one before it left.
func TestTagsInOneGroup(t *testing.T) {
	r := newRig(t, 2, 1)
	e := r.open()
	b := bucketOf(t, e, "bucket")
	old, err := b.PutBytes(t.Context(), "key", []byte("old"), nil)
	require.NoError(t, err)
	h := r.holdSyncs()
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = b.PutBytes(context.Background(), "first", nil, nil) })
	<-h.begun
	queued := 0
	errs := map[string]error{}
	var mu sync.Mutex
	next := func(name string, fn func() error) {
		wg.Go(func() {
			err := fn()
			mu.Lock()
			defer mu.Unlock()
			errs[name] = err
		})
		queued++
		waitQueued(t, e, queued)
	}
	tag := func(name, key string, cond *Conditions) {
		next(name, func() error {
			return b.PutTags(context.Background(), key, map[string]string{"by": name}, &TagOptions{If: cond})
		})
	}
	put := func(name, key string) {
		next(name, func() error {
			_, err := b.PutBytes(context.Background(), key, []byte(name), &PutOptions{Tags: map[string]string{"by": name}})
			return err
		})
	}
	remove := func(name, key string) {
		next(name, func() error { _, err := b.Delete(context.Background(), key, nil); return err })
	}
	tag("tags of old", "key", &Conditions{IfVersion: old.VersionID})
	put("put", "key")
	tag("too late", "key", &Conditions{IfVersion: old.VersionID})
	tag("tags of new", "key", nil)
	tag("none yet", "other", nil)
	put("put other", "other")
	tag("tags of other", "other", &Conditions{IfMatch: "*"})
	remove("delete other", "other")
	tag("gone", "other", nil)
	put("put other again", "other")
	h.now()
	wg.Wait()
	for name, want := range map[string]error{
		"tags of old": nil, "put": nil, "too late": ErrPrecondition, "tags of new": nil, "none yet": ErrNotFound, "put other": nil,
		"tags of other": nil, "delete other": nil, "gone": ErrNotFound, "put other again": nil,
	} {
		if want == nil {
			require.NoError(t, errs[name], name)
		} else {
			require.ErrorIs(t, errs[name], want, name)
		}
	}
	for range 2 {
		for key, want := range map[string][2]string{"key": {"put", "tags of new"}, "other": {"put other again", "put other again"}} {
			got, err := read(b, key)
			require.NoError(t, err)
			require.Equal(t, want[0], string(got))
			tags, err := b.Tags(t.Context(), key)
			require.NoError(t, err)
			require.Equal(t, map[string]string{"by": want[1]}, tags)
		}
		e = r.reopen(e)
		b = e.Bucket("bucket")
	}
}

// TestTagsRace sets tags that name a version while others put and delete the
// key: tags are never on another version.
func TestTagsRace(t *testing.T) {
	n := 40
	if raceEnabled {
		n = 20
	}
	for _, plain := range []bool{true, false} {
		r := newRig(t, 2, 1)
		r.opts.plainIndex = plain
		e := r.open()
		b := bucketOf(t, e, "bucket")
		ctx := context.Background()
		_, err := b.PutBytes(ctx, "key", nil, nil)
		require.NoError(t, err)
		var tagged, overtaken int
		var writing atomic.Int32
		writing.Store(2)
		var mu sync.Mutex
		check := func(info *ObjectInfo) {
			if v := info.Tags["for"]; v != "" && v != info.VersionID {
				t.Errorf("tags for %s on %s", v, info.VersionID)
			}
			if p := info.Tags["put"]; p != "" && p != info.Metadata["put"] {
				t.Errorf("tags of put %s on that of %s", p, info.Metadata["put"])
			}
		}
		var wg sync.WaitGroup
		for worker := range 8 {
			wg.Go(func() {
				if worker < 2 {
					defer writing.Add(-1)
				}
				// Puts go on until tags were both in time and too late.
				more := func(i int) bool {
					if worker >= 2 {
						return writing.Load() > 0
					}
					mu.Lock()
					defer mu.Unlock()
					return i < n || tagged == 0 || overtaken == 0
				}
				for i := 0; !t.Failed() && more(i); i++ {
					var err error
					switch worker {
					case 0, 1:
						id := fmt.Sprint(worker, "/", i)
						size := 100
						if i%8 == 0 {
							size = 70 << 10
						}
						_, err = b.PutBytes(ctx, "key", content(1, size), &PutOptions{Metadata: map[string]string{"put": id}, Tags: map[string]string{"put": id}})
					case 2:
						if i%2 == 0 {
							_, err = b.Delete(ctx, "key", nil)
						} else {
							err = b.DeleteTags(ctx, "key", nil)
						}
					default:
						var info *ObjectInfo
						if info, err = b.Head(ctx, "key", nil); err != nil {
							break
						}
						check(info)
						err = b.PutTags(ctx, "key", map[string]string{"for": info.VersionID}, &TagOptions{If: &Conditions{IfVersion: info.VersionID}})
						mu.Lock()
						if err == nil {
							tagged++
						} else if errors.Is(err, ErrPrecondition) {
							overtaken++
							err = nil
						}
						mu.Unlock()
					}
					if err != nil && !errors.Is(err, ErrNotFound) {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		require.Positive(t, tagged)
		require.Positive(t, overtaken)
		for range 2 {
			info, err := b.Head(ctx, "key", nil)
			if err == nil {
				check(info)
			}
			e = r.reopen(e)
			b = e.Bucket("bucket")
		}
	}
}
