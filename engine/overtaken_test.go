package engine

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestConditionOvertaken stalls a conditional call after its look at the key
// while others commit: so little that the committer remembers it, or so much
// that it has forgotten. The call is decided by what is there then. looks is how
// many looks that takes: the committer makes the last one itself, in the end.
func TestConditionOvertaken(t *testing.T) {
	for _, way := range []struct {
		name     string
		forgets  bool
		every    int // cases that are run
		overtake func(b *Bucket)
	}{
		{"one group", false, 1, func(b *Bucket) { must(b.PutBytes(t.Context(), "other", nil, nil)) }},
		{"many groups", true, 5, func(b *Bucket) {
			for range recentGroups + 2 {
				must(b.PutBytes(t.Context(), "other", nil, nil))
			}
		}},
		{"many keys", true, 29, func(b *Bucket) {
			var all []*Pending
			for i := range recentKeys + 3000 {
				all = append(all, must(b.PutAsync(t.Context(), fmt.Sprint("other/", i), nil, nil)))
			}
			for _, p := range all {
				must(p.Wait(t.Context()))
			}
		}},
		{"a prefix", true, 1, func(b *Bucket) { must(b.DeletePrefix(t.Context(), "other")) }},
	} {
		for _, plain := range []bool{true, false} {
			r := newRig(t, 2, 1).defaults()
			r.opts.plainIndex = plain
			e := r.open()
			s := stall(e)
			b := bucketOf(t, e, "bucket")
			n := 0
			for _, call := range condCalls {
				async := call.name == "async put" || call.name == "delete many"
				for _, was := range []bool{false, true} {
					for _, change := range []string{"", "put", "delete"} {
						for stalls := 1; stalls <= 2; stalls++ {
							if n++; n%way.every != 0 && !*long || async && stalls > 1 {
								continue
							}
							if raceEnabled && n%5 != 0 && (n != 58 || way.every == 1) {
								continue
							}
							key := fmt.Sprint(n)
							what := fmt.Sprintf("%s overtaken by %s, plain=%v was=%v then=%s stalls=%d", call.name, way.name, plain, was, change, stalls)
							c, now := &Conditions{IfNoneMatch: "*"}, (*ObjectInfo)(nil)
							if was {
								now = must(b.PutBytes(t.Context(), key, []byte("old"), nil))
								c = []*Conditions{{IfVersion: now.VersionID}, {IfMatch: now.ETag}, {IfMatch: "*"}}[n%3]
							}
							looks := 0
							var stalled func()
							stalled = func() {
								if looks++; looks <= stalls {
									switch {
									case looks > 1:
									case change == "put":
										now = must(b.PutBytes(t.Context(), key, []byte("new"), nil))
									case change == "delete":
										must(b.Delete(t.Context(), key, nil))
										now = nil
									}
									way.overtake(b)
								}
								s.onLook(key, stalled)
							}
							if call.size > PackMax {
								s.onLook(key, func() { s.onLook(key, stalled) }) // the early look
							} else {
								s.onLook(key, stalled)
							}
							err := call.run(t.Context(), b, key, content(1, max(call.size, 0)), c)
							s.onLook(key, nil)
							if way.forgets {
								require.Equal(t, stalls+1, looks, what)
							} else {
								require.Equal(t, 1, looks, what)
							}
							if holds(c, now) {
								require.NoError(t, err, what)
							} else {
								requireError(t, err, ErrPrecondition, call.op, "bucket", key, what)
								require.Equal(t, now == nil, errors.Is(err, ErrNotFound), what)
							}
							v := look(t, b, key)
							switch {
							case err != nil:
								require.Equal(t, now == nil, v == nil, what)
								require.True(t, now == nil || now.VersionID == v.info.VersionID, what)
							case call.size < 0:
								require.Nil(t, v, what)
							default:
								require.EqualValues(t, call.size, v.info.Size, what)
							}
						}
					}
				}
			}
			idle(t, e)
		}
	}
}

// TestUnconditionalOvertaken: what a delete says it deleted, and the counters of
// the bucket, are right also when the key changes while it is looked up: a
// mutation without conditions is looked up in its place in the order.
func TestUnconditionalOvertaken(t *testing.T) {
	e := newRig(t, 2, 1).defaults().open()
	s := stall(e)
	b := bucketOf(t, e, "bucket")
	for n := range 12 {
		for i := range 4 {
			key := fmt.Sprint(n, "/", i)
			was := must(b.PutBytes(t.Context(), key, content(1, 10), nil))
			var now *ObjectInfo
			overtake := func() {
				now = must(b.PutBytes(t.Context(), key, content(2, 1000*n), nil))
				if n%2 > 0 {
					must(b.DeletePrefix(t.Context(), "other"))
				}
			}
			var later sync.WaitGroup
			s.onBefore(key, func() { later.Go(overtake) })
			switch i {
			case 0:
				res := must(b.Delete(t.Context(), key, nil))
				require.Equal(t, DeleteResult{Key: key, Existed: true, VersionID: was.VersionID}, *res)
			case 1:
				res := must(b.DeleteMany(t.Context(), []DeleteItem{{Key: key}}))
				require.Equal(t, []DeleteResult{{Key: key, Existed: true, VersionID: was.VersionID}}, res)
			case 2:
				must(b.PutBytes(t.Context(), key, content(3, 100), nil))
			case 3:
				s.onBefore(key, nil)
				s.onLook(key, overtake) // the caller's look
				require.NoError(t, b.PutTags(t.Context(), key, map[string]string{"a": "b"}, nil))
			}
			later.Wait()
			v := look(t, b, key)
			require.Equal(t, now.VersionID, v.info.VersionID)
			require.EqualValues(t, 1000*n, v.info.Size)
		}
	}
	var objects, size int64
	for o, err := range b.List(t.Context(), nil) {
		require.NoError(t, err)
		objects, size = objects+1, size+o.Size
	}
	info := must(e.Buckets(t.Context()))[0]
	require.Equal(t, objects, info.Objects)
	require.Equal(t, size, info.Bytes)
}
