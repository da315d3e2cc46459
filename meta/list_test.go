package meta

import (
	"errors"
	"fmt"
	"reflect"
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
			if key = q.Prefix + before + q.Delimiter; key == q.After {
				continue // the marker itself was returned
			}
			key = "prefix " + key
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
				v := e.Version
				if m, err := DecodeMetadata(v.Metadata); q.Metadata && (err != nil || m["key"] != e.Key) {
					t.Fatalf("%q has the metadata %v, %v", e.Key, m, err)
				}
				if !q.Metadata && (v.Metadata != nil || v.Tags != nil || v.Unknown != nil) {
					t.Fatalf("%q has metadata that was not asked for", e.Key)
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
		{ListQuery{Delimiter: "/", After: "a/"}, "b|prefix z/|z0|é|prefix é/"},             // a/ was returned: all of it is
		{ListQuery{Delimiter: "/", After: "a/b"}, "prefix a/|b|prefix z/|z0|é|prefix é/"},  // more lies below a/
		{ListQuery{Delimiter: "/", After: "a/b/c"}, "b|prefix z/|z0|é|prefix é/"},          // nothing more does
		{ListQuery{Delimiter: "/", After: "a/b/"}, "prefix a/|b|prefix z/|z0|é|prefix é/"}, // no common prefix of this listing
		{ListQuery{Delimiter: "/", Prefix: "a/", After: "a/b/"}, ""},
		{ListQuery{Delimiter: "/", Prefix: "a/b", After: "a/b/"}, ""},
		{ListQuery{Delimiter: "/", Prefix: "a/", After: "a//"}, "a/b|prefix a/b/"},
		{ListQuery{Delimiter: "/", After: "/"}, "a|a\x00b|prefix a/|b|prefix z/|z0|é|prefix é/"},
		{ListQuery{Delimiter: "\xff", After: "\xff"}, ""}, // beyond all keys, and this bucket's end
		{ListQuery{Delimiter: "\xff", After: "a\xff"}, "b|z/\U0010ffff|z0|é|é/x"},
		{ListQuery{Delimiter: "/", After: "a/zzz"}, "b|prefix z/|z0|é|prefix é/"},
		{ListQuery{Prefix: "b", After: "a"}, "b"},
		{ListQuery{Prefix: "a/", After: "b"}, ""},
		{ListQuery{Prefix: "a", After: "a", Delimiter: "\x00"}, "prefix a\x00|a/|a//b|a/b|a/b/c"},
		{ListQuery{Delimiter: "//"}, "\x00|/|prefix //|a|a\x00b|a/|prefix a//|a/b|a/b/c|b|z/\U0010ffff|z0|é|é/x"},
		{ListQuery{Prefix: "\xc3", Delimiter: "\xa9"}, "prefix é"}, // half a rune is a prefix like any other
		{ListQuery{Prefix: "none"}, ""},
	} {
		for limit := 1; limit <= 15; limit++ {
			tc.q.Bucket, tc.q.Limit, tc.q.Metadata = 7, limit, limit%2 == 0
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
				return rapid.SampledFrom([]string{"", "/", "a", "a/", "//", "\x00", "\xff", "\U0010ffff"}).Draw(rt, label)
			}
			key := rapid.SampledFrom(keys).Draw(rt, label)
			return key[:rapid.IntRange(0, len(key)).Draw(rt, label+" cut")]
		}
		for range 4 {
			q := ListQuery{
				Bucket: 7, Prefix: pick("prefix"), After: pick("after"), Limit: rapid.IntRange(1, 4).Draw(rt, "limit"),
				Delimiter: rapid.SampledFrom([]string{"", "/", "a", "\x00", "//", "ab", "\xa9", "\xbf", "\xff", "é", "\U0010ffff", "..", " "}).Draw(rt, "delimiter"),
				Metadata:  rapid.Bool().Draw(rt, "metadata"),
			}
			if got, want := listAll(rt, x, q), listModel(keys, q); !slices.Equal(got, want) {
				rt.Fatalf("%q\n%+v lists\n%q, want\n%q", keys, q, got, want)
			}
		}
	})
}

// hostileKeys are what an encoding, an order or a separator may stumble over.
var hostileKeys = []string{
	"\x00", "\x00\x00", "\x00\x01", "\x01", "a", "a\x00", "a\x00\xc3\xbf", "a\x01", "a ", "a  ", " a", " ", "a\n",
	".", "..", "../a", "a/..", "/", "//", "///", "a/", "a//", "a//b", "a/b", "a/b/", "aé", "é", "é/", "e\u0301",
	"\u007f", "\u0080", "\u00ff", "\u07ff", "\u0800", "\ud7ff", "\ue000", "\ufffd", "\uffff", "\U00010000", "\U0010ffff", "\U0010ffff/\U0010ffff",
	"z\U0010ffff", "z\U0010ffff\U0010ffff", strings.Repeat("\U0010ffff", 256), strings.Repeat("a", 1024), strings.Repeat("a/", 512),
	strings.Repeat("a/", 511) + "b", strings.Repeat("\x00", 1024), strings.Repeat(" ", 1024),
}

// TestListHostile pages through hostile keys by every prefix and marker that a
// key gives, under delimiters of one byte, of many, and of half a rune.
func TestListHostile(t *testing.T) {
	x := NewMemory()
	fill(t, x, hostileKeys)
	cuts := map[string]bool{"": true, "\xff": true, "\xff\xff": true}
	for _, key := range hostileKeys {
		for _, n := range []int{1, 2, 3, 4, len(key) / 2, len(key) - 1, len(key)} {
			cuts[key[:min(max(n, 0), len(key))]] = true
		}
		cuts[key+"/"], cuts[key+"\x00"] = true, true
	}
	all := sortedIDs(cuts)
	delimiters := []string{"", "/", "//", "a/", "\x00", " ", "..", "é", "\U0010ffff", "\xbf", "\xff", "/a/a"}
	for i, prefix := range all {
		for j, delimiter := range delimiters {
			for _, after := range []string{"", prefix + delimiter, all[(i*31+j*17)%len(all)], all[(i+j)%len(all)]} {
				q := ListQuery{Bucket: 7, Prefix: prefix, Delimiter: delimiter, After: after, Limit: 1 + (i+j)%9}
				if got, want := listAll(t, x, q), listModel(hostileKeys, q); !slices.Equal(got, want) {
					t.Fatalf("%.80q\n%.200q, want\n%.200q", fmt.Sprint(q), got, want)
				}
			}
		}
	}
}

// TestListPieces: entries share memory, which no later one may overwrite.
func TestListPieces(t *testing.T) {
	x := NewMemory()
	b := NewBatch()
	for i := range 3000 {
		v := Version{Object: Object{ETag: fmt.Sprintf("tag %d", i), Headers: Headers{ContentType: fmt.Sprint("type ", i/3), Expires: fmt.Sprint(i % 2)}}}
		b.Set(AppendHeadKey(nil, 7, fmt.Sprintf("%04d%s", i, strings.Repeat("x", i*7%1000))), v.Append(nil))
	}
	if err := x.Apply(b, Position{Seq: 1}); err != nil {
		t.Fatal(err)
	}
	var used ListPage
	if err := ListInto(x, ListQuery{Bucket: 7, After: "2899y", Limit: 99, Metadata: true}, &used); err != nil || !used.More {
		t.Fatal(err)
	}
	var oldKeys []string
	for _, e := range used.Entries {
		oldKeys = append(oldKeys, e.Key)
	}
	page, err := List(x, ListQuery{Bucket: 7, Limit: 5000})
	if err != nil || len(page.Entries) != 3000 {
		t.Fatal(len(page.Entries), err)
	}
	// A page that was used before shows nothing of it, and leaves its strings.
	if err := ListInto(x, ListQuery{Bucket: 7, Limit: 3000}, &used); err != nil {
		t.Fatal(err)
	}
	for i, key := range oldKeys {
		if key != page.Entries[2900+i].Key {
			t.Fatalf("key %d has become %.30q", i, key)
		}
	}
	if !reflect.DeepEqual(used.Entries, page.Entries) {
		t.Error("a page used before lists otherwise")
	}
	if err := ListInto(x, ListQuery{Bucket: 5}, &used); err != nil || len(used.Entries) != 0 || used.More || used.Next != "" {
		t.Errorf("nothing lists as %+v, %v", used, err)
	}
	seen := map[*Version]bool{}
	for i, e := range page.Entries {
		h := e.Version.Headers
		if e.Key != fmt.Sprintf("%04d%s", i, strings.Repeat("x", i*7%1000)) || e.Version.ETag != fmt.Sprintf("tag %d", i) ||
			h != (Headers{ContentType: fmt.Sprint("type ", i/3), Expires: fmt.Sprint(i % 2)}) {
			t.Fatalf("entry %d is %.30q with %+v", i, e.Key, e.Version)
		}
		seen[e.Version] = true
	}
	if len(seen) != 3000 {
		t.Errorf("%d versions for 3000 entries", len(seen))
	}
}

func FuzzList(f *testing.F) {
	f.Add("a\na/b\n\x00", "", "/", "a/", "a", 2)
	f.Add(strings.Join(hostileKeys[:20], "\n"), "a", "//", "a//", "", 1)
	f.Fuzz(func(t *testing.T, all, prefix, delimiter, after, cursor string, limit int) {
		var keys []string
		for key := range strings.SplitSeq(all, "\n") {
			if CheckKey(key) == nil && len(keys) < 50 {
				keys = append(keys, key)
			}
		}
		x := NewMemory()
		fill(t, x, keys)
		q := ListQuery{Bucket: 7, Prefix: prefix, Delimiter: delimiter, After: after, Limit: 1 + max(0, limit)%9}
		slices.Sort(keys)
		keys = slices.Compact(keys)
		if got, want := listAll(t, x, q), listModel(keys, q); !slices.Equal(got, want) {
			t.Fatalf("%q\n%+v lists\n%q, want\n%q", keys, q, got, want)
		}
		q.Cursor = cursor // whatever a client sends
		if _, err := List(x, q); err != nil {
			t.Fatal(err)
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
