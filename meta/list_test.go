package meta

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// fill puts objects under keys into bucket 7 of x.
func fill(t interface{ Fatal(...any) }, x Index, keys []string) {
	b := NewBatch()
	for i, key := range keys {
		v := Version{Modified: int64(i), Object: Object{Headers: Headers{ContentType: key}}}
		v.Metadata, _ = AppendMetadata(nil, map[string]string{"key": key})
		b.Set(AppendHeadKey(nil, 7, key), v.Append(nil))
	}
	// Neighbours, which no page may show.
	b.Set(AppendHeadKey(nil, 6, "zzz"), (&Version{}).Append(nil))
	b.Set(AppendHeadKey(nil, 8, "a"), (&Version{}).Append(nil))
	pos := x.Position()
	pos.Seq++
	if err := x.Apply(b, pos); err != nil {
		t.Fatal(err)
	}
}

// listModel is S3's ListObjectsV2 in a few obvious lines.
func listModel(keys []string, q ListQuery) (want []string) {
	keys = slices.Clone(keys)
	slices.Sort(keys)
	for _, key := range keys {
		if !strings.HasPrefix(key, q.Prefix) || key <= q.After && q.After != "" {
			continue
		}
		if before, _, ok := strings.Cut(key[len(q.Prefix):], q.Delimiter); ok && q.Delimiter != "" {
			key = "prefix " + q.Prefix + before + q.Delimiter
		}
		if len(want) == 0 || want[len(want)-1] != key {
			want = append(want, key)
		}
	}
	return want
}

// listAll pages through a listing and holds each page to its cost.
func listAll(t interface{ Fatalf(string, ...any) }, x Index, q ListQuery) (got []string) {
	for {
		before := x.Metrics()
		page, err := List(x, q)
		if err != nil {
			t.Fatalf("%+v: %v", q, err)
		}
		after := x.Metrics()
		visited := after.Seeks + after.Steps - before.Seeks - before.Steps
		if visited > int64(len(page.Entries))+1 || after.Gets != before.Gets {
			t.Fatalf("%+v: %d entries cost %d visits and %d gets", q, len(page.Entries), visited, after.Gets-before.Gets)
		}
		if len(page.Entries) > q.Limit || page.More && len(page.Entries) < q.Limit {
			t.Fatalf("%+v: a page of %d entries, more %v", q, len(page.Entries), page.More)
		}
		for _, e := range page.Entries {
			switch {
			case e.Prefix != "" && e.Key == "" && e.Version == nil:
				got = append(got, "prefix "+e.Prefix)
			case e.Prefix == "" && e.Version != nil && e.Version.Headers.ContentType == e.Key:
				if m, err := DecodeMetadata(e.Version.Metadata); err != nil || m["key"] != e.Key {
					t.Fatalf("%q has the metadata %v, %v", e.Key, m, err)
				}
				got = append(got, e.Key)
			default:
				t.Fatalf("%+v: entry %+v", q, e)
			}
		}
		if !page.More {
			return got
		}
		if page.Next <= q.Cursor {
			t.Fatalf("%+v: the next page begins at %q", q, page.Next)
		}
		q.Cursor = page.Next
	}
}

func testList(t *testing.T, open func(testing.TB) Index) {
	x := open(t)
	keys := []string{"a", "a/", "a/b", "a//b", "a\x00b", "a/b/c", "b", "é", "é/x", "\x00", "/", "//", "z/\U0010ffff", "z0"}
	fill(t, x, keys)
	for _, tc := range []struct {
		q    ListQuery
		want string
	}{
		{ListQuery{}, "\x00|/|//|a|a\x00b|a/|a//b|a/b|a/b/c|b|z/\U0010ffff|z0|é|é/x"},
		{ListQuery{Delimiter: "/"}, "\x00|prefix /|a|a\x00b|prefix a/|b|prefix z/|z0|é|prefix é/"},
		{ListQuery{Delimiter: "/", Prefix: "a/"}, "a/|prefix a//|a/b|prefix a/b/"},
		{ListQuery{Delimiter: "/", Prefix: "a/", After: "a/"}, "prefix a//|a/b|prefix a/b/"},
		{ListQuery{Delimiter: "/", After: "a/"}, "prefix a/|b|prefix z/|z0|é|prefix é/"}, // more lies below a/
		{ListQuery{Delimiter: "/", After: "a/b/c"}, "b|prefix z/|z0|é|prefix é/"},        // nothing more does
		{ListQuery{Delimiter: "/", After: "a/zzz"}, "b|prefix z/|z0|é|prefix é/"},
		{ListQuery{Prefix: "b", After: "a"}, "b"},
		{ListQuery{Prefix: "a/", After: "b"}, ""},
		{ListQuery{Prefix: "a", After: "a", Delimiter: "\x00"}, "prefix a\x00|a/|a//b|a/b|a/b/c"},
		{ListQuery{Delimiter: "//"}, "\x00|/|prefix //|a|a\x00b|a/|prefix a//|a/b|a/b/c|b|z/\U0010ffff|z0|é|é/x"},
		{ListQuery{Prefix: "\xc3", Delimiter: "\xa9"}, "prefix é"}, // half a rune is a prefix like any other
		{ListQuery{Prefix: "none"}, ""},
	} {
		for limit := 1; limit <= 15; limit++ {
			tc.q.Bucket, tc.q.Limit = 7, limit
			if got := strings.Join(listAll(t, x, tc.q), "|"); got != tc.want {
				t.Fatalf("%+v lists\n%q, want\n%q", tc.q, got, tc.want)
			}
		}
	}
	if page, err := List(x, ListQuery{Bucket: 9}); err != nil || len(page.Entries) != 0 || page.More {
		t.Errorf("a bucket without keys: %+v, %v", page, err)
	}
}

func testListModel(t *testing.T, open func(testing.TB) Index) {
	rapid.Check(t, func(rt *rapid.T) {
		x := open(t)
		defer x.Close()
		keys := rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) string { return drawKey(t, "key") }), 0, 12, rapid.ID).Draw(rt, "keys")
		fill(rt, x, keys)
		pick := func(label string) string {
			if len(keys) == 0 || rapid.Bool().Draw(rt, label+" free") {
				return rapid.SampledFrom([]string{"", "/", "a", "a/", "//", "\x00"}).Draw(rt, label)
			}
			key := rapid.SampledFrom(keys).Draw(rt, label)
			return key[:rapid.IntRange(0, len(key)).Draw(rt, label+" cut")]
		}
		for range 4 {
			q := ListQuery{
				Bucket: 7, Prefix: pick("prefix"), After: pick("after"), Limit: rapid.IntRange(1, 4).Draw(rt, "limit"),
				Delimiter: rapid.SampledFrom([]string{"", "/", "a", "\x00", "//", "ab", "\xa9"}).Draw(rt, "delimiter"),
			}
			if got, want := listAll(rt, x, q), listModel(keys, q); !slices.Equal(got, want) {
				rt.Fatalf("%q\n%+v lists\n%q, want\n%q", keys, q, got, want)
			}
		}
	})
}

// testListSkips: a hundred thousand keys under a common prefix cost one visit.
func testListSkips(t *testing.T, open func(testing.TB) Index) {
	x := open(t)
	value := (&Version{}).Append(nil)
	b := NewBatch()
	for p := range 2 {
		for i := range 100_000 {
			b.Set(AppendHeadKey(nil, 7, fmt.Sprintf("p%d/%06d", p, i)), value)
		}
	}
	for i := range 1000 {
		b.Set(AppendHeadKey(nil, 7, fmt.Sprintf("p1_%06d", i)), value)
	}
	if err := x.Apply(b, Position{Seq: 1}); err != nil {
		t.Fatal(err)
	}
	if err := x.Flush(); err != nil {
		t.Fatal(err)
	}
	for _, limit := range []int{1, 2, 3, 1000} {
		before := x.Metrics()
		page, err := List(x, ListQuery{Bucket: 7, Delimiter: "/", Limit: limit})
		if err != nil {
			t.Fatal(err)
		}
		after := x.Metrics()
		if n := after.Seeks + after.Steps - before.Seeks - before.Steps; len(page.Entries) != limit || !page.More || n > int64(limit)+1 {
			t.Errorf("limit %d: %d entries, more %v, %d visits", limit, len(page.Entries), page.More, n)
		}
	}
}

func TestListCorrupt(t *testing.T) {
	x := NewMemory()
	b := NewBatch()
	b.Set(AppendHeadKey(nil, 7, "a"), []byte{1, 2})
	if err := x.Apply(b, Position{Seq: 1}); err != nil {
		t.Fatal(err)
	}
	if page, err := List(x, ListQuery{Bucket: 7}); !errors.Is(err, ErrEntry) || page != nil {
		t.Errorf("a rotten entry lists as %+v, %v", page, err)
	}
}

func TestCountPrefix(t *testing.T) {
	x := NewMemory()
	fill(t, x, []string{"a", "a/", "a/b", "a/c", "a0", "b"})
	for prefix, want := range map[string]int64{"": 6, "a": 5, "a/": 3, "a/b": 1, "z": 0} {
		for limit := int64(0); limit < 8; limit++ {
			before := x.Metrics().Steps
			got, err := CountPrefix(x, 7, prefix, limit)
			if err != nil || got != min(want, limit+1) {
				t.Errorf("%q up to %d: %d, %v; want %d", prefix, limit, got, err, min(want, limit+1))
			}
			if steps := x.Metrics().Steps - before; steps > got+1 {
				t.Errorf("%q up to %d: %d visited", prefix, limit, steps)
			}
		}
	}
	if n, err := CountPrefix(x, 5, "", 9); n != 0 || err != nil {
		t.Errorf("a bucket without keys: %d, %v", n, err)
	}
	_ = x.Close()
	if _, err := CountPrefix(x, 7, "", 9); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}
