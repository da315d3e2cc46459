package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestSettingsNothingLost has goroutines add a document each, again and again,
// beside puts: none is lost.
func TestSettingsNothingLost(t *testing.T) {
	w := pebbleWorld(t, 2, 1, 81)
	w.opts.MaxQueue = 20 // of callers there are more
	e := w.open()
	b := bucketOf(t, e, "bucket")
	const workers, each = 16, 4
	calls := 0
	var mu sync.Mutex
	var wg sync.WaitGroup
	for worker := range workers {
		wg.Go(func() {
			for i := range each {
				name := fmt.Sprintf("%d-%d", worker, i)
				err := b.UpdateSettings(context.Background(), func(s *BucketSettings) error {
					mu.Lock()
					calls++
					mu.Unlock()
					if _, twice := s.Documents[name]; twice {
						t.Errorf("%s is there before it is added", name)
					}
					s.Documents[name] = []byte(name)
					s.Tags[fmt.Sprint(worker)] = name
					return nil
				})
				if err != nil {
					t.Error(err)
				}
				if _, err := b.PutBytes(context.Background(), name, nil, nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	require.GreaterOrEqual(t, calls, workers*each)
	check := func() {
		t.Helper()
		s, err := e.Bucket("bucket").Settings(t.Context())
		require.NoError(t, err)
		require.Len(t, s.Documents, workers*each)
		require.Len(t, s.Tags, workers)
		for name, d := range s.Documents {
			require.Equal(t, name, string(d))
		}
		for worker, name := range s.Tags {
			require.Equal(t, worker+fmt.Sprintf("-%d", each-1), name)
		}
		s.Documents["0-0"][0] = 'x' // a copy
		clear(s.Documents)
	}
	check()
	check()
	w.restart()
	_ = e.Close()
	e = w.open(1)
	check()
	require.NoError(t, e.Close())
	require.NoError(t, os.RemoveAll(w.opts.IndexDir))
	e = w.open()
	check()
}

func TestSettingsLimits(t *testing.T) {
	e := newRig(t, 2, 1).open()
	b := bucketOf(t, e, "bucket")
	set := func(fn func(s *BucketSettings)) error {
		return b.UpdateSettings(t.Context(), func(s *BucketSettings) error { fn(s); return nil })
	}
	full := func(s *BucketSettings) {
		*s = BucketSettings{Tags: map[string]string{}, Documents: map[string][]byte{}}
		for i := range 50 {
			s.Tags[fmt.Sprint(i)] = strings.Repeat("é", 256)
		}
		for i := range 64 {
			s.Documents[strings.Repeat("n", 126)+fmt.Sprintf("%02d", i)] = bytes.Repeat([]byte{byte(i)}, 15<<10)
		}
	}
	require.NoError(t, set(full))
	want := new(BucketSettings)
	full(want)
	got, err := b.Settings(t.Context())
	require.NoError(t, err)
	require.Equal(t, want, got)
	groups := e.Metrics().Groups
	for name, c := range map[string]struct {
		want error
		fn   func(s *BucketSettings)
	}{
		"51 tags":      {ErrTags, func(s *BucketSettings) { s.Tags["one more"] = "" }},
		"no tag key":   {ErrTags, func(s *BucketSettings) { s.Tags = map[string]string{"": ""} }},
		"long tag":     {ErrTags, func(s *BucketSettings) { s.Tags["0"] = strings.Repeat("v", 257) }},
		"65 documents": {ErrSettings, func(s *BucketSettings) { s.Documents["one more"] = nil }},
		"no name":      {ErrSettings, func(s *BucketSettings) { s.Documents = map[string][]byte{"": nil} }},
		"long name":    {ErrSettings, func(s *BucketSettings) { s.Documents = map[string][]byte{strings.Repeat("n", 129): nil} }},
		"too large":    {ErrSettings, func(s *BucketSettings) { s.Documents = map[string][]byte{"n": make([]byte, 1<<20)} }},
		"many times":   {ErrSettings, func(s *BucketSettings) { s.Documents = map[string][]byte{"n": make([]byte, 1<<27)} }},
	} {
		requireError(t, set(c.fn), c.want, "update bucket settings", "bucket", "", name)
	}
	require.Equal(t, groups, e.Metrics().Groups, "nothing was committed")
	got, err = b.Settings(t.Context())
	require.NoError(t, err)
	require.Equal(t, want, got)
	require.NoError(t, set(func(s *BucketSettings) { *s = BucketSettings{} }), "nil maps are empty ones")
	got, err = b.Settings(t.Context())
	require.NoError(t, err)
	require.Empty(t, got.Tags)
	require.Empty(t, got.Documents)
	got.Tags["a"], got.Documents["b"] = "", nil // can be written to

	_, err = e.Bucket("nowhere").Settings(t.Context())
	requireError(t, err, ErrNoBucket, "bucket settings", "nowhere", "")
	err = e.Bucket("nowhere").UpdateSettings(t.Context(), func(*BucketSettings) error { panic("called") })
	requireError(t, err, ErrNoBucket, "update bucket settings", "nowhere", "")
}

// TestSettingsChange has the caller's function fail, panic, use the engine and
// end the context.
func TestSettingsChange(t *testing.T) {
	r := newRig(t, 2, 1)
	r.opts.MaxQueue = 1
	e := r.open()
	b := bucketOf(t, e, "bucket")
	add := func(s *BucketSettings) { s.Documents["d"] = append(s.Documents["d"], 'x') }
	refused := errors.New("not like that")
	err := b.UpdateSettings(t.Context(), func(s *BucketSettings) error { add(s); return refused })
	require.ErrorIs(t, err, refused)
	require.PanicsWithValue(t, "boom", func() {
		_ = b.UpdateSettings(t.Context(), func(s *BucketSettings) error { add(s); panic("boom") })
	})
	ctx, cancel := context.WithCancel(t.Context())
	err = b.UpdateSettings(ctx, func(s *BucketSettings) error { add(s); cancel(); return nil })
	if err != nil {
		require.ErrorIs(t, err, context.Canceled)
		s, err := b.Settings(t.Context())
		require.NoError(t, err)
		require.Empty(t, s.Documents)
	}
	require.Empty(t, e.slots)
	within(t, 20*time.Second, "a change that uses the engine", func() {
		err := b.UpdateSettings(context.Background(), func(s *BucketSettings) error {
			if len(s.Documents["d"]) < 2 { // the outer one is then called again
				if err := b.UpdateSettings(context.Background(), func(s *BucketSettings) error {
					s.Documents["d"] = []byte("inner")
					return nil
				}); err != nil {
					return err
				}
			}
			if _, err := b.PutBytes(context.Background(), "key", nil, nil); err != nil {
				return err
			}
			add(s)
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	s, err := b.Settings(t.Context())
	require.NoError(t, err)
	require.Equal(t, "innerx", string(s.Documents["d"]))
	require.Empty(t, e.slots)
	within(t, 20*time.Second, "closing", func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	err = b.UpdateSettings(t.Context(), func(*BucketSettings) error { return nil })
	requireError(t, err, ErrClosed, "update bucket settings", "bucket", "")
}

// TestSettingsOfANewBucket: what was deleted leaves nothing to its successor,
// also while both change.
func TestSettingsOfANewBucket(t *testing.T) {
	r := newRig(t, 2, 1)
	e := r.open()
	b := e.Bucket("bucket")
	for i := range 10 {
		bucketOf(t, e, "bucket")
		s, err := b.Settings(t.Context())
		require.NoError(t, err)
		require.Empty(t, s.Documents)
		require.Empty(t, s.Tags)
		life := fmt.Sprint(i)
		deleted := make(chan error, 1)
		err = b.UpdateSettings(t.Context(), func(s *BucketSettings) error {
			for k := range s.Documents {
				if k != life {
					t.Errorf("life %s inherits %s", life, k)
				}
			}
			s.Documents[life] = nil
			if len(deleted) == 0 && i%2 == 1 { // it goes, and comes back, while this one looks
				deleted <- errors.Join(e.DeleteBucket(t.Context(), "bucket"), e.CreateBucket(t.Context(), "bucket"))
			}
			return nil
		})
		want := 1
		if i%2 == 1 {
			require.NoError(t, <-deleted)
			requireError(t, err, ErrNoBucket, "update bucket settings", "bucket", "")
			want = 0
		} else {
			require.NoError(t, err)
		}
		if i%3 == 0 {
			e = r.reopen(e)
			b = e.Bucket("bucket")
		}
		s, err = b.Settings(t.Context())
		require.NoError(t, err)
		require.Len(t, s.Documents, want)
		require.NoError(t, e.DeleteBucket(t.Context(), "bucket"))
	}
}
