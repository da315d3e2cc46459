package meta

import (
	"cmp"
	"encoding/hex"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/cairnstore/cairn/erasure"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares encodings, one a line as "name hex", with a file in testdata.
func golden(t *testing.T, file string, lines []string) {
	t.Helper()
	path := filepath.Join("testdata", file)
	got := strings.Join(lines, "\n") + "\n"
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: the format has changed; it needs a new version number.\ngot\n%swant\n%s", path, got, want)
	}
}

// sortedIDs returns the keys of m in order.
func sortedIDs[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// facts are what a state knows.
type facts struct {
	buckets  map[uint64]Bucket
	names    map[string]uint64
	segments map[erasure.SegmentID][]byte
}

func factsOf(s *State) facts { return facts{s.buckets, s.names, s.segments} }

func hexLine(name string, b []byte) string { return name + " " + hex.EncodeToString(b) }

// hostile keys meet every trap of order, escaping and rolling up.
func drawKey(t *rapid.T, label string) string {
	parts := rapid.SliceOfN(rapid.SampledFrom([]string{"/", "a", "b", "\x00", "\x01", "é", "//", "\U0010ffff", "ab"}), 1, 5)
	return strings.Join(parts.Draw(t, label), "")
}

func drawSegment(t *rapid.T) erasure.SegmentID {
	return erasure.SegmentID{Epoch: rapid.Uint64Range(1, 3).Draw(t, "epoch"), Random: rapid.Uint64().Draw(t, "random"), Counter: 1}
}

func drawObject(t *rapid.T) *Object {
	o := &Object{Class: rapid.Uint16().Draw(t, "class"), KeyID: rapid.Uint32().Draw(t, "key id")}
	if rapid.Bool().Draw(t, "hash") {
		o.HasHash = true
		copy(o.Hash[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "hash bytes"))
	}
	for _, h := range o.Headers.all() {
		*h = rapid.StringN(0, 8, 32).Draw(t, "header")
	}
	m := rapid.MapOfN(rapid.StringN(1, 4, 16), rapid.String(), 0, 3).Draw(t, "metadata")
	o.Metadata, _ = AppendMetadata(nil, m)
	o.ETag = rapid.StringN(0, 8, 32).Draw(t, "entity tag")
	o.Tags = drawTags(t)
	switch rapid.IntRange(0, 2).Draw(t, "place") {
	case 1:
		o.Packed = true
		o.Size = rapid.Int64Range(1, 1<<20).Draw(t, "size")
		o.Offset = rapid.Uint32().Draw(t, "offset")
	case 2:
		for range rapid.IntRange(1, 3).Draw(t, "extents") {
			e := erasure.Extent{
				Segment: drawSegment(t),
				Offset:  erasure.Align * rapid.Int64Range(0, 1<<40).Draw(t, "at"),
				Length:  rapid.Int64Range(1, 1<<40).Draw(t, "length"),
			}
			o.Extents = append(o.Extents, e)
			o.Size += e.Length
		}
	}
	return o
}

// drawTags draws a block of tags; nil for none.
func drawTags(t *rapid.T) []byte {
	m := rapid.MapOfN(rapid.StringN(1, 4, 16), rapid.StringN(0, 4, 16), 0, 3).Draw(t, "object tags")
	b, err := AppendTags(nil, m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// drawTagged draws a run of tagged fields; nil for none.
func drawTagged(t *rapid.T) []byte {
	var b []byte
	for range rapid.IntRange(0, 2).Draw(t, "tags") {
		b = appendString(append(b, rapid.ByteRange(0, 127).Draw(t, "tag")), rapid.StringN(0, 5, 20).Draw(t, "field"))
	}
	return b
}
