package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestDeleteMany: each item has its own outcome, in order.
func TestDeleteMany(t *testing.T) {
	bothIndexes(t, 2, 1, func(t *testing.T, r *rig) {
		e := r.open()
		b := bucketOf(t, e, "bucket")
		infos := map[string]*ObjectInfo{}
		for _, key := range []string{"a", "b", "c", "d", "e", "keep"} {
			size := 100
			if key == "b" {
				size = 70 << 10
			}
			var err error
			infos[key], err = b.PutBytes(t.Context(), key, content(1, size), nil)
			require.NoError(t, err)
		}
		items := []DeleteItem{
			{Key: "a"}, {Key: ""}, {Key: "absent"}, {Key: "b", If: &Conditions{IfVersion: infos["b"].VersionID}}, {Key: "\xff"},
			{Key: "c", If: &Conditions{IfMatch: "other"}}, {Key: "a"}, {Key: "c"}, {Key: "d", If: &Conditions{IfVersion: "x"}},
			{Key: "absent", If: &Conditions{IfMatch: "*"}}, {Key: "e", If: &Conditions{IfNoneMatch: "other"}}, {Key: "e", If: &Conditions{IfMatch: "*"}},
		}
		res, err := b.DeleteMany(t.Context(), items)
		require.NoError(t, err)
		require.Len(t, res, len(items))
		for i, want := range []struct {
			existed bool
			err     error
		}{
			{true, nil}, {false, ErrKey}, {false, nil}, {true, nil}, {false, ErrKey}, {false, ErrPrecondition}, {false, nil}, {true, nil}, {false, ErrVersionID},
			{false, ErrPrecondition}, {true, nil}, {false, ErrPrecondition},
		} {
			got, key := res[i], items[i].Key
			if want.err != nil {
				requireError(t, got.Err, want.err, "delete", "bucket", key, i)
				got.Err = nil
			}
			expect := DeleteResult{Key: key, Existed: want.existed}
			if want.existed {
				expect.VersionID = infos[key].VersionID
			}
			require.Equal(t, expect, got, i)
		}
		require.ErrorIs(t, res[9].Err, ErrNotFound)
		require.ErrorIs(t, res[11].Err, ErrNotFound, "the item before took it")
		for range 2 {
			require.ElementsMatch(t, []string{"d", "keep"}, keysOf(t, b))
			require.Empty(t, e.slots)
			e = r.reopen(e)
			b = e.Bucket("bucket")
		}
		res, err = b.DeleteMany(t.Context(), nil)
		require.NoError(t, err)
		require.Empty(t, res)
		_, err = e.Bucket("nowhere").DeleteMany(t.Context(), items)
		requireError(t, err, ErrNoBucket, "delete", "nowhere", "")
	})
}

func itemsOf(n int, key func(i int) string) (items []DeleteItem) {
	for i := range n {
		items = append(items, DeleteItem{Key: key(i)})
	}
	return items
}

// TestDeleteManyShares counts: a thousand deletes are a few groups.
func TestDeleteManyShares(t *testing.T) {
	r := newRig(t, 4, 2).defaults()
	e := r.open()
	b := bucketOf(t, e, "bucket")
	key := func(i int) string { return fmt.Sprint(i) }
	manyKeys(t, b, 1000, key)
	before := e.Metrics()
	res, err := b.DeleteMany(t.Context(), itemsOf(1000, key))
	require.NoError(t, err)
	for i, r := range res {
		require.NoError(t, r.Err)
		require.True(t, r.Existed)
		require.Equal(t, key(i), r.Key)
	}
	after := e.Metrics()
	t.Logf("%d groups, %d syncs", after.Groups-before.Groups, after.Syncs-before.Syncs)
	require.Less(t, after.Groups-before.Groups, int64(100))
	require.Less(t, after.Syncs-before.Syncs, int64(400))
	require.EqualValues(t, 1000, after.Deletes-before.Deletes)
	require.Empty(t, keysOf(t, b))
}

// TestDeleteManyBeyondTheQueue has more items than mutations may be under way,
// alone and beside others, waiting and not.
func TestDeleteManyBeyondTheQueue(t *testing.T) {
	for _, queue := range []int{1, 2, 10} {
		for _, busy := range []bool{false, true} {
			r := newRig(t, 2, 1)
			r.opts.MaxQueue, r.opts.FailWhenBusy = queue, busy
			e := r.open()
			b := bucketOf(t, e, "bucket")
			key := func(i int) string { return fmt.Sprintf("%03d", i) }
			for i := range 100 {
				_, err := b.PutBytes(t.Context(), key(i), nil, nil)
				require.NoError(t, err)
			}
			within(t, time.Minute, "DeleteMany", func() {
				res, err := b.DeleteMany(context.Background(), itemsOf(50, key))
				if err != nil {
					t.Error(err)
				}
				for _, r := range res {
					if r.Err != nil || !r.Existed {
						t.Errorf("queue %d, FailWhenBusy %v: %+v", queue, busy, r)
					}
				}
				if busy {
					return
				}
				var wg sync.WaitGroup
				for part := range 5 {
					wg.Go(func() {
						res, err := b.DeleteMany(context.Background(), itemsOf(10, func(i int) string { return key(50 + 10*part + i) }))
						if err != nil || slices.ContainsFunc(res, func(r DeleteResult) bool { return r.Err != nil || !r.Existed }) {
							t.Errorf("%+v, %v", res, err)
						}
					})
				}
				wg.Wait()
			})
			require.Empty(t, e.slots)
			if busy {
				require.Len(t, keysOf(t, b), 50)
			} else {
				require.Empty(t, keysOf(t, b))
			}
		}
	}
}

// TestDeleteManyBusy: with the queue full of others' mutations items are refused,
// and they alone.
func TestDeleteManyBusy(t *testing.T) {
	r := newRig(t, 2, 1)
	r.opts.MaxQueue, r.opts.FailWhenBusy = 2, true
	e := r.open()
	b := bucketOf(t, e, "bucket")
	_, err := b.PutBytes(t.Context(), "key", nil, nil)
	require.NoError(t, err)
	h := r.holdSyncs()
	var pending []*Pending
	for i := range 2 {
		p, err := b.PutAsync(t.Context(), fmt.Sprint(i), nil, nil)
		require.NoError(t, err)
		pending = append(pending, p)
	}
	res, err := b.DeleteMany(t.Context(), []DeleteItem{{Key: "key"}, {Key: ""}, {Key: "0"}})
	require.NoError(t, err)
	requireError(t, res[0].Err, ErrBusy, "delete", "bucket", "key")
	requireError(t, res[1].Err, ErrKey, "delete", "bucket", "")
	requireError(t, res[2].Err, ErrBusy, "delete", "bucket", "0")
	h.now()
	for _, p := range pending {
		_, err := p.Wait(t.Context())
		require.NoError(t, err)
	}
	require.Empty(t, e.slots)
	require.Len(t, keysOf(t, b), 3)
}

// TestDeleteManyCancelled ends the context while items are under way and others
// wait to be sent: the results are the truth.
func TestDeleteManyCancelled(t *testing.T) {
	for _, queue := range []int{4, 64} {
		r := newRig(t, 2, 1)
		r.opts.MaxQueue = queue
		e := r.open()
		b := bucketOf(t, e, "bucket")
		key := func(i int) string { return fmt.Sprintf("%02d", i) }
		for i := range 20 {
			_, err := b.PutBytes(t.Context(), key(i), nil, nil)
			require.NoError(t, err)
		}
		h := r.holdSyncs()
		ctx, cancel := context.WithCancel(context.Background())
		var res []DeleteResult
		var err error
		done := make(chan struct{})
		go func() {
			defer close(done)
			res, err = b.DeleteMany(ctx, itemsOf(20, key))
		}()
		<-h.begun // the first of them
		cancel()
		h.now()
		within(t, time.Minute, "a cancelled DeleteMany", func() { <-done })
		if err != nil {
			require.ErrorIs(t, err, context.Canceled)
		}
		require.Len(t, res, 20)
		var left []string
		for i, r := range res {
			require.Equal(t, key(i), r.Key)
			if r.Err != nil {
				require.ErrorIs(t, r.Err, context.Canceled)
				require.Error(t, err)
				left = append(left, r.Key)
			} else {
				require.True(t, r.Existed)
			}
		}
		require.NoError(t, res[0].Err, "it was on its way")
		for range 2 {
			require.Equal(t, strings.Join(left, " "), strings.Join(keysOf(t, b), " "))
			require.Eventually(t, func() bool { return len(e.slots) == 0 }, time.Minute, time.Millisecond)
			e = r.reopen(e)
			b = e.Bucket("bucket")
		}
	}
}
