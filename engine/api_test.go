package engine

import (
	"bytes"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

// requireError has err match sentinel and be an *Error with these fields.
func requireError(t testing.TB, err, sentinel error, op, bucket, key string, msg ...any) {
	t.Helper()
	require.ErrorIs(t, err, sentinel, msg...)
	var e *Error
	require.ErrorAs(t, err, &e, msg...)
	require.Equal(t, Error{Op: op, Bucket: bucket, Key: key, Err: e.Err}, *e, msg...)
	require.False(t, errors.As(e.Err, new(*Error)), "an Error in an Error: %v", err)
}

// calls makes each call once on a bucket and key, by the name that its errors
// give it.
func calls(t *testing.T, e *Engine, bucket, key string) map[string]error {
	b := e.Bucket(bucket)
	errs := map[string]error{}
	_, errs["put"] = b.PutBytes(t.Context(), key, []byte("x"), nil)
	_, errs["get"] = b.Get(t.Context(), key, nil)
	_, errs["head"] = b.Head(t.Context(), key, nil)
	_, errs["delete"] = b.Delete(t.Context(), key, nil)
	_, errs["list"] = b.ListPage(t.Context(), nil)
	for _, err := range b.List(t.Context(), nil) {
		require.Equal(t, errs["list"], err)
	}
	return errs
}

func TestAbsent(t *testing.T) {
	e := newRig(t, 2, 1).open()
	b := bucketOf(t, e, "bucket")
	for op, err := range calls(t, e, "no-such", "key") {
		key := "key"
		if op == "list" {
			key = ""
		}
		requireError(t, err, ErrNoBucket, op, "no-such", key)
	}
	requireError(t, e.DeleteBucket(t.Context(), "no-such"), ErrNoBucket, "delete bucket", "no-such", "")

	_, err := b.Get(t.Context(), "key", nil)
	requireError(t, err, ErrNotFound, "get", "bucket", "key")
	_, err = b.Head(t.Context(), "key", nil)
	requireError(t, err, ErrNotFound, "head", "bucket", "key")
	for range 2 {
		res, err := b.Delete(t.Context(), "key", nil)
		require.NoError(t, err)
		require.Equal(t, &DeleteResult{Key: "key"}, res)
	}
	_, err = b.PutBytes(t.Context(), "key", nil, nil)
	require.NoError(t, err)
	for _, existed := range []bool{true, false} {
		res, err := b.Delete(t.Context(), "key", nil)
		require.NoError(t, err)
		require.Equal(t, existed, res.Existed)
	}
	_, err = b.Get(t.Context(), "key", nil)
	require.ErrorIs(t, err, ErrNotFound)
}

func TestAfterClose(t *testing.T) {
	r := newRig(t, 2, 1)
	r.opts.plainIndex = false
	e := r.open()
	bucketOf(t, e, "bucket")
	require.NoError(t, e.Close())
	require.NoError(t, e.Close())
	for op, err := range calls(t, e, "bucket", "key") {
		key := "key"
		if op == "list" {
			key = ""
		}
		requireError(t, err, ErrClosed, op, "bucket", key)
	}
	requireError(t, e.CreateBucket(t.Context(), "other"), ErrClosed, "create bucket", "other", "")
	requireError(t, e.DeleteBucket(t.Context(), "bucket"), ErrClosed, "delete bucket", "bucket", "")
	_, err := e.Buckets(t.Context())
	requireError(t, err, ErrClosed, "list buckets", "", "")
	require.Equal(t, int64(1), e.Metrics().Groups, "counters stay")
	require.Len(t, e.Status().Disks, 3)
}

func TestOverwrite(t *testing.T) {
	r := newRig(t, 4, 2)
	e := r.open()
	b := bucketOf(t, e, "bucket")
	ids := map[string]bool{}
	sizes := []int{10, 0, 200_000, 10, 64 << 10, 64<<10 + 1, 0}
	for round := range 3 {
		for i, size := range sizes {
			p := content(uint64(10*round+i), size)
			info, err := b.PutBytes(t.Context(), "key", p, nil)
			require.NoError(t, err)
			require.False(t, ids[info.VersionID], "version %s again", info.VersionID)
			ids[info.VersionID] = true
			got, err := read(b, "key")
			require.NoError(t, err)
			require.True(t, bytes.Equal(p, got))
			infos, err := e.Buckets(t.Context())
			require.NoError(t, err)
			require.Equal(t, int64(1), infos[0].Objects)
			require.Equal(t, int64(size), infos[0].Bytes)
		}
		e = r.reopen(e)
		b = e.Bucket("bucket")
	}
}

// TestMaxObjectSize puts objects around the limit, packed and streamed.
func TestMaxObjectSize(t *testing.T) {
	for _, limit := range []int{1, 1000, 64 << 10, 64<<10 + 1, 700_000, 5 << 20} {
		r := newRig(t, 2, 1)
		r.opts.MaxObjectSize = int64(limit)
		e := r.open()
		b := bucketOf(t, e, "bucket")
		p := content(1, limit+100_000)
		for _, n := range []int{limit + 1, limit + 100_000} {
			_, err := b.PutBytes(t.Context(), "key", p[:n], nil)
			requireError(t, err, ErrTooLarge, "put", "bucket", "key")
			_, err = b.Head(t.Context(), "key", nil)
			require.ErrorIs(t, err, ErrNotFound)
		}
		for _, n := range []int{limit, limit - 1} {
			_, err := b.PutBytes(t.Context(), "key", p[:n], nil)
			require.NoError(t, err)
			got, err := read(b, "key")
			require.NoError(t, err)
			require.True(t, bytes.Equal(p[:n], got))
		}
	}
}
