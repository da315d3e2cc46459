package engine

import (
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/disk/faultdisk"
)

func TestMetadata(t *testing.T) {
	many := map[string]string{}
	for i := range 10_000 {
		many[fmt.Sprint(i)] = ""
	}
	cases := map[string]*PutOptions{
		"nil":                nil,
		"none":               {},
		"empty":              {Metadata: map[string]string{}},
		"type":               {Headers: Headers{ContentType: "application/x-tar; charset=\"utf-8\""}},
		"pair":               {Metadata: map[string]string{"owner": "ann"}},
		"many":               {Headers: Headers{ContentType: "x"}, Metadata: many},
		"hostile":            {Headers: Headers{ContentType: "a;\t\"é"}, Metadata: map[string]string{"\x00": "\x00", "a": "", "A": "\xff\xfe", " ": "\r\n", "é": "日本", "a=b;": "\""}},
		"as large as can be": {Headers: Headers{ContentType: strings.Repeat("t", 64<<10)}, Metadata: map[string]string{"k": strings.Repeat("v", 64<<10-1)}},
		"one large key":      {Metadata: map[string]string{strings.Repeat("k", 64<<10): ""}},
	}
	for _, plain := range []bool{true, false} {
		r := newRig(t, 4, 2)
		r.opts.plainIndex = plain
		e := r.open()
		b := bucketOf(t, e, "bucket")
		for _, size := range []int{0, 10, 100_000} {
			for name, opts := range cases {
				_, err := b.PutBytes(t.Context(), fmt.Sprint(name, size), content(1, size), opts)
				require.NoError(t, err, name)
			}
		}
		for range 2 {
			for _, size := range []int{0, 10, 100_000} {
				for name, opts := range cases {
					if opts == nil {
						opts = &PutOptions{}
					}
					info, err := b.Head(t.Context(), fmt.Sprint(name, size), nil)
					require.NoError(t, err, name)
					require.Equal(t, opts.ContentType, info.ContentType, name)
					require.True(t, maps.Equal(opts.Metadata, info.Metadata), name)
					_, err = read(b, fmt.Sprint(name, size))
					require.NoError(t, err, name)
				}
			}
			e = r.reopen(e)
			b = e.Bucket("bucket")
		}
	}
}

func TestMetadataRefused(t *testing.T) {
	b := bucketOf(t, newRig(t, 2, 1).open(), "bucket")
	for name, opts := range map[string]*PutOptions{
		"empty key":             {Metadata: map[string]string{"": "value"}},
		"value too large":       {Metadata: map[string]string{"k": strings.Repeat("v", 64<<10)}},
		"key too large":         {Metadata: map[string]string{strings.Repeat("k", 64<<10+1): ""}},
		"too large together":    {Metadata: map[string]string{"a": strings.Repeat("v", 40<<10), "b": strings.Repeat("v", 40<<10)}},
		"a gigantic value":      {Metadata: map[string]string{"a": strings.Repeat("v", 64<<20)}},
		"content type too long": {Headers: Headers{ContentType: strings.Repeat("t", 64<<10+1)}},
		"header injection":      {Headers: Headers{ContentType: "text/plain\r\nX: y"}},
		"header not UTF-8":      {Headers: Headers{Expires: "\xff"}},
		"ETag too long":         {ETag: strings.Repeat("e", 129)},
	} {
		for _, size := range []int{10, 100_000} {
			_, err := b.PutBytes(t.Context(), "key", content(1, size), opts)
			requireError(t, err, ErrMetadata, "put", "bucket", "key", name)
			_, err = b.Head(t.Context(), "key", nil)
			require.ErrorIs(t, err, ErrNotFound, name)
		}
	}
}

// TestMetadataOwned changes every map that went in or came out.
func TestMetadataOwned(t *testing.T) {
	b := bucketOf(t, newRig(t, 2, 1).open(), "bucket")
	given := map[string]string{"owner": "ann"}
	put, err := b.PutBytes(t.Context(), "key", []byte("x"), &PutOptions{Metadata: given})
	require.NoError(t, err)
	given["owner"] = "bob"
	require.Equal(t, map[string]string{"owner": "ann"}, put.Metadata, "Put's own copy")
	put.Metadata["owner"] = "eve"
	require.Equal(t, "bob", given["owner"])
	for range 2 {
		info, err := b.Head(t.Context(), "key", nil)
		require.NoError(t, err)
		require.Equal(t, map[string]string{"owner": "ann"}, info.Metadata)
		info.Metadata["owner"] = "eve"
		o := mustGet(t, b, "key", nil)
		require.Equal(t, map[string]string{"owner": "ann"}, o.Info().Metadata)
		o.Info().Metadata["owner"] = "eve"
	}
}

// TestLargeRecordsInOneGroup queues more bytes of metadata behind a commit than
// one group can carry.
func TestLargeRecordsInOneGroup(t *testing.T) {
	r := newRig(t, 2, 1)
	r.defaults()
	e := r.open()
	b := bucketOf(t, e, "bucket")
	opts := &PutOptions{Headers: Headers{ContentType: strings.Repeat("t", 64<<10)}, Metadata: map[string]string{"k": strings.Repeat("v", 64<<10-1)}}
	const n = 300 // 37 MiB
	errs := make([]error, n)
	release := r.holdSyncs()
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = b.PutBytes(t.Context(), "first", nil, nil) })
	<-release.begun
	for i := range n {
		wg.Go(func() { _, errs[i] = b.PutBytes(t.Context(), fmt.Sprint(i), []byte("x"), opts) })
	}
	waitQueued(t, e, n)
	release.now()
	wg.Wait()
	for i, err := range errs {
		require.NoError(t, err, i)
	}
	require.Len(t, keysOf(t, e.Bucket("bucket")), n+1)
}

// hold has the disks' Syncs wait.
type hold struct {
	begun chan int // the disk of each Sync as it begins
	gates []chan struct{}
	once  sync.Once
}

// holdSyncs blocks each Sync of each disk until it is released.
func (r *rig) holdSyncs() *hold {
	h := &hold{begun: make(chan int, 10_000)}
	for i, f := range r.faults {
		gate := make(chan struct{})
		h.gates = append(h.gates, gate)
		f.Add(faultdisk.Rule{Ops: faultdisk.OpSync, Block: gate, Hook: func(faultdisk.Call) { h.begun <- i }})
	}
	r.t.Cleanup(h.now)
	return h
}

// now lets all Syncs go on, then and later.
func (h *hold) now() {
	h.once.Do(func() {
		for _, g := range h.gates {
			close(g)
		}
	})
}

// waitQueued waits until n requests are in the committer's queue.
func waitQueued(t testing.TB, e *Engine, n int) {
	t.Helper()
	require.Eventually(t, func() bool { return len(e.queue) == n }, 20*time.Second, time.Millisecond, "requests queued")
}

// TestModified has the clock go back, also while the store is closed.
func TestModified(t *testing.T) {
	for _, plain := range []bool{true, false} {
		r := newRig(t, 2, 1)
		r.opts.plainIndex = plain
		now := time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.FixedZone("", 3600))
		var mu sync.Mutex
		r.opts.Clock = func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
		move := func(d time.Duration) { mu.Lock(); defer mu.Unlock(); now = now.Add(d) }
		e := r.open()
		b := bucketOf(t, e, "bucket")
		infos, err := e.Buckets(t.Context())
		require.NoError(t, err)
		require.Equal(t, now.UTC(), infos[0].Created)
		last := now.UTC()
		for _, step := range []time.Duration{0, time.Hour, -24 * time.Hour, time.Minute, -1, 48 * time.Hour, -1000 * time.Hour} {
			move(step)
			info, err := b.PutBytes(t.Context(), "key", nil, nil)
			require.NoError(t, err)
			want := now.UTC()
			if want.Before(last) {
				want = last
			}
			require.Equal(t, want, info.Modified, "after a step of %v", step)
			require.Equal(t, time.UTC, info.Modified.Location())
			last = want
			head, err := b.Head(t.Context(), "key", nil)
			require.NoError(t, err)
			require.Equal(t, want, head.Modified)
			if step < 0 {
				e = r.reopen(e)
				b = e.Bucket("bucket")
			}
		}
	}
}
