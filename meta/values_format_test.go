package meta

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/cairnstore/cairn/erasure"
	"github.com/cairnstore/cairn/versioning"
)

func sampleVersion() *Version {
	return &Version{
		ID: versioning.ID{Epoch: 2, Sequence: 300}, Modified: 5, EndSeq: 400, EndTime: 6, Object: *sampleObject(),
		Group: 299, Segment: sampleSegment, Shard: 3, FileOffset: 12288, Unknown: []byte{1, 1, 'x'},
	}
}

func sampleGroup() *Group {
	return &Group{
		First: 10, Last: 12, Hash: [32]byte{1, 2, 3}, Segment: sampleSegment, Data: 2, Parity: 1, Payload: 5000,
		Blocks: []Block{{0, 4096, 3000, 0, 4000}, {1, 8192, 2000, 3000, 8100}, {5, 4096, 3000, 0, 4000}}, Unknown: []byte{3, 0},
	}
}

// sampleValues are one of each value, and how to decode it and encode it again.
func sampleValues() map[string][]byte {
	marker := appendMarker(nil, erasure.PoolID{1, 2, 3})
	return map[string][]byte{
		"bucket":   (&Bucket{Name: "photos", Created: 7, Revision: 300, Settings: []byte("window")}).append(nil),
		"pending":  pending{Seq: 300, Hash: [32]byte{7}}.append(nil),
		"group":    sampleGroup().Append(nil),
		"marker":   marker,
		"position": Position{Seq: 12, Hash: [32]byte{9}, Segment: sampleSegment}.append(nil),
		"segment":  appendSegmentEntry(nil, []byte("disks")),
		"usage":    Usage{Objects: 3, Bytes: 1 << 40}.append(nil),
		"version":  sampleVersion().Append(nil),
		"labelled": (&Version{ID: versioning.ID{Epoch: 1, Sequence: 2}, Object: *taggedObject()}).Append(nil),
	}
}

func decodeAnyValue(name string, b []byte) ([]byte, error) {
	switch name {
	case "bucket":
		var k Bucket
		err := decodeBucket(&k, b)
		return k.append(nil), err
	case "group":
		g, err := DecodeGroup(b)
		if err != nil {
			return nil, err
		}
		return g.Append(nil), nil
	case "marker":
		pool, _, err := decodeMarker(b)
		return appendMarker(nil, pool), err
	case "pending":
		var p pending
		err := decodePending(&p, b)
		return p.append(nil), err
	case "position":
		var p Position
		err := decodePosition(&p, b)
		return p.append(nil), err
	case "segment":
		d, err := decodeSegmentEntry(b)
		return appendSegmentEntry(nil, d), err
	case "usage":
		var u Usage
		err := decodeUsage(&u, b)
		return u.append(nil), err
	default:
		v, err := DecodeVersion(b)
		if err != nil {
			return nil, err
		}
		return v.Append(nil), nil
	}
}

func TestValuesGolden(t *testing.T) {
	var lines []string
	all := sampleValues()
	for _, name := range sortedIDs(all) {
		b := all[name]
		lines = append(lines, hexLine(name, b))
		if back, err := decodeAnyValue(name, b); err != nil || !bytes.Equal(back, b) {
			t.Errorf("%s came back as %x, %v", name, back, err)
		}
		for i := range b {
			// A cut may fall where the tagged fields begin; then the value is
			// whole without them.
			back, err := decodeAnyValue(name, b[:i])
			if err == nil && bytes.Equal(back, b[:i]) {
				continue
			}
			if !errors.Is(err, ErrEntry) {
				t.Errorf("%s cut after %d bytes: %v", name, i, err)
			}
		}
		if name == "marker" {
			continue
		}
		newer := bytes.Clone(b)
		newer[0]++
		var fe *FormatError
		if _, err := decodeAnyValue(name, newer); !errors.As(err, &fe) || fe.Have != 2 || fe.Want != 1 {
			t.Errorf("%s of the next version: %v", name, err)
		}
		// Room for what newer writers add.
		if _, err := decodeAnyValue(name, append(bytes.Clone(b), 0x20, 2, 'h', 'i')); err != nil {
			t.Errorf("%s with a tagged field more: %v", name, err)
		}
	}
	golden(t, "values.golden", lines)
}

func TestVersionRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := &Version{
			ID:       versioning.ID{Epoch: rapid.Uint64().Draw(t, "epoch"), Sequence: rapid.Uint64().Draw(t, "seq")},
			Modified: rapid.Int64().Draw(t, "modified"), Object: *drawObject(t), Unknown: drawTagged(t),
		}
		if rapid.Bool().Draw(t, "ended") {
			v.EndSeq, v.EndTime = rapid.Uint64Min(1).Draw(t, "end"), rapid.Int64().Draw(t, "end time")
		}
		if v.Packed {
			v.Group, v.Segment = rapid.Uint64().Draw(t, "group"), drawSegment(t)
			v.Shard, v.FileOffset = rapid.Uint16().Draw(t, "shard"), rapid.Int64Min(0).Draw(t, "off")
		}
		back, err := DecodeVersion(v.Append(nil))
		if err != nil || !reflect.DeepEqual(back, v) {
			t.Fatalf("got  %+v, %v\nwant %+v", back, err, v)
		}
	})
}

func TestGroupLocate(t *testing.T) {
	g := sampleGroup()
	mirror := &Group{Data: 1, Parity: 1, Payload: 100, Blocks: []Block{{2, 500, 100, 0, 400}, {4, 700, 100, 0, 600}}}
	for _, tc := range []struct {
		g       *Group
		off, n  int64
		block   int
		file    int64
		located bool
	}{
		{g, 0, 1, 0, 4096, true}, {g, 0, 3000, 0, 4096, true}, {g, 2999, 1, 0, 7095, true},
		{g, 3000, 2000, 1, 8192, true}, {g, 4999, 1, 1, 10191, true},
		{g, 2999, 2, 0, 0, false}, {g, 0, 3001, 0, 0, false}, {g, 4999, 2, 0, 0, false},
		{g, 5001, 1, 0, 0, false}, {g, -1, 1, 0, 0, false}, {g, 0, -1, 0, 0, false}, {g, 1 << 62, 1 << 62, 0, 0, false},
		{mirror, 10, 90, 0, 510, true}, {mirror, 10, 91, 0, 0, false},
		{&Group{}, 0, 1, 0, 0, false},
	} {
		block, file, ok := tc.g.Locate(tc.off, tc.n)
		if ok != tc.located || ok && (block != tc.block || file != tc.file) {
			t.Errorf("%d bytes at %d: block %d at %d, %v; want block %d at %d, %v", tc.n, tc.off, block, file, ok, tc.block, tc.file, tc.located)
		}
	}
}

func TestGroupRefused(t *testing.T) {
	for name, change := range map[string]func(*Group){
		"a block missing":      func(g *Group) { g.Blocks = g.Blocks[:2] },
		"no data block":        func(g *Group) { g.Data, g.Parity = 0, 3 },
		"overlapping blocks":   func(g *Group) { g.Blocks[1].Start-- },
		"block beyond the end": func(g *Group) { g.Blocks[1].Length++ },
		"payload nowhere":      func(g *Group) { g.Blocks = nil },
		"last wraps":           func(g *Group) { g.Last = g.First - 1 },
	} {
		g := sampleGroup()
		change(g)
		if back, err := DecodeGroup(g.Append(nil)); !errors.Is(err, ErrEntry) {
			t.Errorf("%s: %+v, %v", name, back, err)
		}
	}
}

func FuzzDecodeValue(f *testing.F) {
	for name, b := range sampleValues() {
		f.Add(name, b)
	}
	f.Fuzz(func(t *testing.T, name string, b []byte) {
		again, err := decodeAnyValue(name, b)
		if err != nil {
			if !errors.Is(err, ErrEntry) && !errors.Is(err, ErrFormat) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		// Only versions and groups keep the fields of newer writers.
		if !bytes.HasPrefix(b, again) || len(again) < len(b) && (name == "version" || name == "labelled" || name == "group" || name == "marker") {
			t.Fatalf("%s %x encodes to %x", name, b, again)
		}
	})
}
