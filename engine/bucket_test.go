package engine

import (
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBuckets(t *testing.T) {
	for _, plain := range []bool{true, false} {
		r := newRig(t, 2, 1)
		r.opts.plainIndex = plain
		e := r.open()
		infos, err := e.Buckets(t.Context())
		require.NoError(t, err)
		require.Empty(t, infos)

		b := bucketOf(t, e, "bucket")
		requireError(t, e.CreateBucket(t.Context(), "bucket"), ErrBucketExists, "create bucket", "bucket", "")
		before, err := e.Buckets(t.Context())
		require.NoError(t, err)
		_, err = b.PutBytes(t.Context(), "old", []byte("old"), nil)
		require.NoError(t, err)
		requireError(t, e.CreateBucket(t.Context(), "bucket"), ErrBucketExists, "create bucket", "bucket", "")
		requireError(t, e.DeleteBucket(t.Context(), "bucket"), ErrBucketNotEmpty, "delete bucket", "bucket", "")
		_, err = b.Delete(t.Context(), "old", nil)
		require.NoError(t, err)
		require.NoError(t, e.DeleteBucket(t.Context(), "bucket"))
		requireError(t, e.DeleteBucket(t.Context(), "bucket"), ErrNoBucket, "delete bucket", "bucket", "")

		require.NoError(t, e.CreateBucket(t.Context(), "bucket"))
		again, err := e.Buckets(t.Context())
		require.NoError(t, err)
		require.True(t, again[0].Created.After(before[0].Created) || again[0].Created.Equal(before[0].Created))
		for range 2 {
			require.Empty(t, keysOf(t, e.Bucket("bucket")), "it is another bucket")
			_, err = e.Bucket("bucket").Head(t.Context(), "old", nil)
			require.ErrorIs(t, err, ErrNotFound)
			infos, err = e.Buckets(t.Context())
			require.NoError(t, err)
			require.Equal(t, again, infos)
			e = r.reopen(e)
		}
		require.Equal(t, "x", e.Bucket("x").Name())
	}
}

// TestBucketUsage counts what is in the buckets after random operations, and
// after a replay of them.
func TestBucketUsage(t *testing.T) {
	for _, plain := range []bool{true, false} {
		r := newRig(t, 4, 2)
		r.opts.plainIndex = plain
		e := r.open()
		rng := rand.New(rand.NewPCG(1, 2))
		model := map[string]map[string]int64{}
		for i := range 1500 {
			name := fmt.Sprintf("bucket%d", rng.IntN(4))
			key := fmt.Sprint(rng.IntN(12))
			objects, exists := model[name]
			switch op := rng.IntN(20); {
			case op == 0:
				err := e.CreateBucket(t.Context(), name)
				if exists {
					require.ErrorIs(t, err, ErrBucketExists)
				} else {
					require.NoError(t, err)
					model[name] = map[string]int64{}
				}
			case op == 1:
				err := e.DeleteBucket(t.Context(), name)
				switch {
				case !exists:
					require.ErrorIs(t, err, ErrNoBucket)
				case len(objects) > 0:
					require.ErrorIs(t, err, ErrBucketNotEmpty)
				default:
					require.NoError(t, err)
					delete(model, name)
				}
			case op < 11:
				size := rng.IntN(300)
				if op == 2 {
					size = 64<<10 + rng.IntN(100_000)
				}
				_, err := e.Bucket(name).PutBytes(t.Context(), key, make([]byte, size), nil)
				if exists {
					require.NoError(t, err)
					objects[key] = int64(size)
				} else {
					require.ErrorIs(t, err, ErrNoBucket)
				}
			default:
				res, err := e.Bucket(name).Delete(t.Context(), key, nil)
				if exists {
					require.NoError(t, err)
					_, had := objects[key]
					require.Equal(t, had, res.Existed)
					delete(objects, key)
				} else {
					require.ErrorIs(t, err, ErrNoBucket)
				}
			}
			if i%300 == 299 {
				e = r.reopen(e)
			}
			if i%10 == 9 {
				requireUsage(t, e, model)
			}
		}
	}
}

func requireUsage(t *testing.T, e *Engine, model map[string]map[string]int64) {
	t.Helper()
	infos, err := e.Buckets(t.Context())
	require.NoError(t, err)
	require.Len(t, infos, len(model))
	for i, name := range slices.Sorted(maps.Keys(model)) {
		want := BucketInfo{Name: name, Created: infos[i].Created, Objects: int64(len(model[name]))}
		for _, size := range model[name] {
			want.Bytes += size
		}
		require.Equal(t, want, infos[i])
	}
}

// TestDeleteBucketRace has puts, packed and streamed, race with the deletion of
// their bucket: either it goes and none of them is acknowledged, or it stays.
func TestDeleteBucketRace(t *testing.T) {
	for _, plain := range []bool{true, false} {
		r := newRig(t, 2, 1)
		r.opts.plainIndex = plain
		e := r.open()
		small, large := content(1, 10), content(2, 70_000)
		won := map[bool]int{}
		for round := range 150 {
			b := bucketOf(t, e, "bucket")
			puts := make([]error, 1+round%3)
			var deleted error
			var wg sync.WaitGroup
			start := make(chan struct{})
			for i := range puts {
				wg.Go(func() {
					<-start
					p := small
					if (round/3)%2 == 1 {
						p = large
					}
					_, puts[i] = b.PutBytes(t.Context(), fmt.Sprint(i), p, nil)
				})
			}
			wg.Go(func() {
				<-start
				for range rand.IntN(150) {
					_, _ = b.Head(t.Context(), "0", nil) // a little later
				}
				deleted = e.DeleteBucket(t.Context(), "bucket")
			})
			close(start)
			wg.Wait()
			for _, err := range puts {
				if deleted == nil {
					require.ErrorIs(t, err, ErrNoBucket)
				} else {
					require.NoError(t, err)
				}
			}
			won[deleted == nil]++
			if deleted != nil {
				require.ErrorIs(t, deleted, ErrBucketNotEmpty)
				require.Len(t, keysOf(t, b), len(puts))
				require.NoError(t, deleteAll(t, e, "bucket"))
			}
		}
		t.Logf("deletion won and lost: %v", won)
	}
}

// TestBucketMadeAgainDuringPut deletes and makes a bucket while a body is still
// being read: the object belonged to the old one.
func TestBucketMadeAgainDuringPut(t *testing.T) {
	e := newRig(t, 2, 1).open()
	for _, size := range []int{10, 500_000} {
		b := bucketOf(t, e, "bucket")
		p := content(1, size)
		pipe, body := io.Pipe()
		done := make(chan error, 1)
		go func() {
			_, err := b.Put(t.Context(), "key", pipe, nil)
			done <- err
		}()
		_, err := body.Write(p[:size/2]) // returns when it was read
		require.NoError(t, err)
		require.NoError(t, e.DeleteBucket(t.Context(), "bucket"))
		require.NoError(t, e.CreateBucket(t.Context(), "bucket"))
		_, err = body.Write(p[size/2:])
		require.NoError(t, err)
		require.NoError(t, body.Close())
		requireError(t, <-done, ErrNoBucket, "put", "bucket", "key")
		require.Empty(t, keysOf(t, b))
		require.NoError(t, e.DeleteBucket(t.Context(), "bucket"))
	}
}
