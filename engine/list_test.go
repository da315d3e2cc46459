package engine

import (
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// listed is what a listing says of an entry.
type listed struct {
	key    string
	prefix bool
	size   int64
}

// listModel is the obvious listing: every key is looked at.
func listModel(objects map[string]int64, q ListOptions) (all []listed) {
	seen := map[string]bool{}
	for key, size := range objects {
		if !strings.HasPrefix(key, q.Prefix) || q.StartAfter != "" && key <= q.StartAfter {
			continue
		}
		if q.Delimiter != "" {
			if before, _, found := strings.Cut(key[len(q.Prefix):], q.Delimiter); found {
				common := q.Prefix + before + q.Delimiter
				if !seen[common] && common != q.StartAfter {
					seen[common] = true
					all = append(all, listed{key: common, prefix: true})
				}
				continue
			}
		}
		all = append(all, listed{key: key, size: size})
	}
	slices.SortFunc(all, func(a, b listed) int { return cmp.Compare(a.key, b.key) })
	return all
}

func listedOf(o *ObjectInfo) listed { return listed{o.Key, o.IsPrefix, o.Size} }

// pages lists page by page and checks each page's length and its cost.
func pages(t require.TestingT, e *Engine, b *Bucket, q ListPageOptions) (all []listed) {
	want := int64(q.Limit)
	if want <= 0 || want > MaxListLimit {
		want = MaxListLimit
	}
	for {
		before := e.Metrics()
		page, err := b.ListPage(context.Background(), &q)
		require.NoError(t, err)
		after := e.Metrics()
		n := int64(len(page.Objects))
		require.LessOrEqual(t, after.IndexSteps-before.IndexSteps, n+1, "entries visited for %d", n)
		require.Equal(t, before.IndexGets, after.IndexGets)
		require.Equal(t, before.Lists+1, after.Lists)
		require.LessOrEqual(t, n, want)
		for _, o := range page.Objects {
			all = append(all, listedOf(o))
		}
		if page.Token == "" {
			return all
		}
		require.Equal(t, want, n, "a page that is not the last is full")
		q.Token = page.Token
	}
}

// TestListModel compares listings of random keys with the obvious.
func TestListModel(t *testing.T) {
	for _, plain := range []bool{true, false} {
		r := newRig(t, 2, 1)
		r.opts.plainIndex = plain
		e := r.open()
		// Neighbours, whose keys no listing of the bucket may show.
		for _, name := range []string{"before", "bucket", "later"} {
			b := bucketOf(t, e, name)
			for _, key := range []string{"a", "zzz", "\U0010ffff"} {
				_, err := b.PutBytes(t.Context(), key, nil, nil)
				require.NoError(t, err)
			}
		}
		b := e.Bucket("bucket")
		objects := map[string]int64{"a": 0, "zzz": 0, "\U0010ffff": 0}
		part := rapid.SampledFrom([]string{"a", "b", "/", "//", "\x00", "é", "\U0010ffff", "ab", "-"})
		text := rapid.Custom(func(t *rapid.T) string { return strings.Join(rapid.SliceOfN(part, 0, 4).Draw(t, "parts"), "") })
		delimiter := rapid.OneOf(rapid.SampledFrom([]string{"", "/", "/", "//", "a", "é", "\xa9", "\xc3", "\xff", "\x00", "ab"}), text)
		odd := rapid.OneOf(text, rapid.SampledFrom([]string{"\xff", "\xc3", "\xff\xff", "a\xff", strings.Repeat("\xff", 2000)}))
		check := func(rt *rapid.T) {
			for range rapid.IntRange(0, 6).Draw(rt, "changes") {
				key := text.Draw(rt, "key")
				if key == "" {
					continue
				}
				if rapid.IntRange(0, 2).Draw(rt, "change") == 0 {
					_, err := b.Delete(t.Context(), key, nil)
					require.NoError(rt, err)
					delete(objects, key)
					continue
				}
				size := rapid.IntRange(0, 100).Draw(rt, "size")
				_, err := b.PutBytes(t.Context(), key, make([]byte, size), nil)
				require.NoError(rt, err)
				objects[key] = int64(size)
			}
			q := ListPageOptions{
				ListOptions: ListOptions{Prefix: odd.Draw(rt, "prefix"), Delimiter: delimiter.Draw(rt, "delimiter"), StartAfter: odd.Draw(rt, "after")},
				Limit:       rapid.SampledFrom([]int{1, 2, 3, 7, 0, -1, 1000, 1001}).Draw(rt, "limit"),
			}
			want := listModel(objects, q.ListOptions)
			require.Equal(rt, want, pages(rt, e, b, q), "%+v", q)
			var all []listed
			for o, err := range b.List(t.Context(), &q.ListOptions) {
				require.NoError(rt, err)
				all = append(all, listedOf(o))
			}
			require.Equal(rt, want, all)
		}
		for round := range 10 {
			if raceEnabled && round > 1 {
				break
			}
			rapid.Check(t, check)
		}
	}
}

// manyKeys puts empty objects at the keys from many goroutines.
func manyKeys(t testing.TB, b *Bucket, n int, key func(i int) string) {
	t.Helper()
	var wg sync.WaitGroup
	const workers = 512
	for w := range workers {
		wg.Go(func() {
			for i := w; i < n; i += workers {
				if _, err := b.PutBytes(t.Context(), key(i), nil, nil); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// TestListPageCost has 100,000 keys below prefixes that a listing skips.
func TestListPageCost(t *testing.T) {
	r := newRig(t, 4, 2).defaults()
	r.opts.plainIndex = false
	e := r.open()
	b := bucketOf(t, e, "bucket")
	n := 100_000
	if raceEnabled {
		n = 5000
	}
	manyKeys(t, b, n, func(i int) string { return fmt.Sprintf("%03d/%05d", i%50, i) })
	manyKeys(t, b, 2500, func(i int) string { return fmt.Sprintf("%03d-%05d", i%50, i) })
	for round := range 2 {
		for _, q := range []ListPageOptions{{}, {Limit: 1}, {Limit: 10}, {ListOptions: ListOptions{StartAfter: "025/5"}}} {
			q.Delimiter = "/"
			all := pages(t, e, b, q)
			prefixes := 0
			for _, l := range all {
				if l.prefix {
					prefixes++
				}
			}
			if q.StartAfter == "" {
				require.Equal(t, 50, prefixes)
				require.Equal(t, 2550, len(all))
			}
		}
		require.Len(t, pages(t, e, b, ListPageOptions{ListOptions: ListOptions{Prefix: "01", Delimiter: "/"}}), 10+500)
		require.Len(t, pages(t, e, b, ListPageOptions{ListOptions: ListOptions{Prefix: "010/"}}), n/50)
		require.Empty(t, pages(t, e, b, ListPageOptions{ListOptions: ListOptions{Prefix: "1"}}))
		if round == 0 {
			e = r.reopen(e)
			b = e.Bucket("bucket")
		}
	}
	page, err := b.ListPage(t.Context(), nil)
	require.NoError(t, err)
	require.Len(t, page.Objects, MaxListLimit)
	infos, err := e.Buckets(t.Context())
	require.NoError(t, err)
	require.Equal(t, int64(n+2500), infos[0].Objects)
}

func TestListTokens(t *testing.T) {
	e := newRig(t, 2, 1).open()
	b := bucketOf(t, e, "bucket")
	manyKeys(t, b, 30, func(i int) string { return fmt.Sprintf("%02d", i) })
	q := ListPageOptions{Limit: 10}
	first, err := b.ListPage(t.Context(), &q)
	require.NoError(t, err)
	require.NotEmpty(t, first.Token)
	q.Token = first.Token
	second, err := b.ListPage(t.Context(), &q)
	require.NoError(t, err)
	again, err := b.ListPage(t.Context(), &q)
	require.NoError(t, err)
	require.Equal(t, second, again, "a token may be used twice")

	// What changed before the token does not move it, what changed behind it shows.
	for _, key := range []string{"05", "10", "11"} {
		_, err = b.Delete(t.Context(), key, nil)
		require.NoError(t, err)
	}
	_, err = b.PutBytes(t.Context(), "055", nil, nil)
	require.NoError(t, err)
	_, err = b.PutBytes(t.Context(), "125", nil, nil)
	require.NoError(t, err)
	page, err := b.ListPage(t.Context(), &q)
	require.NoError(t, err)
	var got []string
	for _, o := range page.Objects {
		got = append(got, o.Key)
	}
	require.Equal(t, []string{"12", "125", "13", "14", "15", "16", "17", "18", "19", "20"}, got)

	// A token is not tied to the page's size.
	q.Limit = 1
	one, err := b.ListPage(t.Context(), &q)
	require.NoError(t, err)
	require.Equal(t, page.Objects[:1], one.Objects)

	for _, bad := range []string{"!", "a", "====", "\x00", "日本", strings.Repeat("!", 1<<20)} {
		_, err := b.ListPage(t.Context(), &ListPageOptions{Token: bad})
		requireError(t, err, ErrToken, "list", "bucket", "", "%.20q", bad)
		require.Less(t, len(err.Error()), 1000, "the message stays readable")
	}
	for _, strange := range []string{"\xff\xff", "\x00", strings.Repeat("x", 1<<16)} {
		_, err := b.ListPage(t.Context(), &ListPageOptions{Token: base64.RawURLEncoding.EncodeToString([]byte(strange))})
		if err != nil {
			require.ErrorIs(t, err, ErrToken)
		}
	}
}

// TestListStops leaves a listing early and begins it anew.
func TestListStops(t *testing.T) {
	e := newRig(t, 2, 1).open()
	b := bucketOf(t, e, "bucket")
	manyKeys(t, b, 2500, func(i int) string { return fmt.Sprintf("%04d", i) })
	seq := b.List(t.Context(), nil)
	for _, stop := range []int{1, 999, 1000, 1001, 2500} {
		n := 0
		before := e.Metrics().Lists
		for o, err := range seq {
			require.NoError(t, err)
			require.Equal(t, fmt.Sprintf("%04d", n), o.Key)
			if n++; n == stop {
				break
			}
		}
		require.Equal(t, int64((stop+999)/1000), e.Metrics().Lists-before, "pages are read as they are needed")
	}
	n := 0
	for o, err := range seq {
		if n++; n == 1000 {
			require.NoError(t, deleteAll(t, e, "bucket"))
		}
		if err != nil {
			require.Nil(t, o)
			require.ErrorIs(t, err, ErrNoBucket)
			n = -1
		} else {
			require.Positive(t, n, "nothing comes after the error")
		}
	}
	require.Equal(t, -1, n)
}

// deleteAll empties a bucket and deletes it.
func deleteAll(t testing.TB, e *Engine, name string) error {
	b := e.Bucket(name)
	for _, key := range keysOf(t, b) {
		if _, err := b.Delete(t.Context(), key, nil); err != nil {
			return err
		}
	}
	return e.DeleteBucket(t.Context(), name)
}

// TestListWhileWriting lists while keys come, go and are overwritten: what stays
// is listed exactly once.
func TestListWhileWriting(t *testing.T) {
	for _, plain := range []bool{true, false} {
		r := newRig(t, 2, 1)
		r.opts.plainIndex = plain
		e := r.open()
		b := bucketOf(t, e, "bucket")
		const n = 1500
		manyKeys(t, b, n, func(i int) string { return fmt.Sprintf("%05d", 10*i) })
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for w := range 4 {
			wg.Go(func() {
				for i := w; ; i += 7 {
					select {
					case <-stop:
						return
					default:
					}
					key := fmt.Sprintf("%05d", (i*13)%(10*n))
					var err error
					if key[4] == '0' || i%2 == 0 {
						_, err = b.PutBytes(t.Context(), key, []byte(key), nil)
					} else {
						_, err = b.Delete(t.Context(), key, nil)
					}
					if err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		for range 10 {
			var stayed []string
			last := ""
			for o, err := range b.List(t.Context(), nil) {
				require.NoError(t, err)
				require.Greater(t, o.Key, last)
				last = o.Key
				if last[4] == '0' {
					stayed = append(stayed, last)
				}
			}
			require.Len(t, stayed, n)
			for i, key := range stayed {
				require.Equal(t, fmt.Sprintf("%05d", 10*i), key)
			}
		}
		close(stop)
		wg.Wait()
	}
}

// TestListShowsPut lists after each Put returned.
func TestListShowsPut(t *testing.T) {
	b := bucketOf(t, newRig(t, 2, 1).open(), "bucket")
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 30 {
				key := fmt.Sprintf("%d/%d#", w, i)
				_, err := b.PutBytes(t.Context(), key, nil, nil)
				page, lerr := b.ListPage(t.Context(), &ListPageOptions{ListOptions: ListOptions{Prefix: key}, Limit: 1})
				if err != nil || lerr != nil || len(page.Objects) != 1 || page.Objects[0].Key != key {
					t.Errorf("after Put of %s: %v, %v, %+v", key, err, lerr, page)
				}
				_, err = b.Delete(t.Context(), key, nil)
				page, lerr = b.ListPage(t.Context(), &ListPageOptions{ListOptions: ListOptions{Prefix: key}, Limit: 1})
				if err != nil || lerr != nil || len(page.Objects) != 0 {
					t.Errorf("after Delete of %s: %v, %v, %+v", key, err, lerr, page)
				}
			}
		})
	}
	wg.Wait()
}
