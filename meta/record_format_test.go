package meta

import (
	"bytes"
	"errors"
	"maps"
	"math"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/cairnstore/cairn/erasure"
	"github.com/cairnstore/cairn/versioning"
)

var sampleSegment = erasure.SegmentID{Epoch: 3, Random: 0x1122334455667788, Counter: 9}

func sampleObject() *Object {
	o := &Object{Size: 300, HasHash: true, Class: 2, KeyID: 5, Packed: true, Offset: 4096}
	for i := range o.Hash {
		o.Hash[i] = byte(i)
	}
	o.Headers = Headers{ContentType: "text/plain", Expires: "never"}
	o.Metadata, _ = AppendMetadata(nil, map[string]string{"owner": "kim", "empty": ""})
	return o
}

func taggedObject() *Object {
	o := &Object{ETag: `"5d41402abc4b2a76b9719d911017c592-2"`}
	o.Tags, _ = AppendTags(nil, map[string]string{"team": "vision", "π": "", "empty": ""})
	return o
}

// sampleRecords are one of each kind and shape; the golden file and the fuzz
// seeds come from them.
func sampleRecords() map[string]Record {
	return map[string]Record{
		"create":   {Kind: KindCreateBucket, Epoch: 1, Time: 1_700_000_000_000_000_000, Name: "photos"},
		"empty":    {Kind: KindPut, Epoch: 1, Time: 1, Bucket: 7, Key: "a/b", Object: &Object{}},
		"packed":   {Kind: KindPut, Epoch: 300, Time: -1, Bucket: 1 << 40, Key: "\x00é", Object: sampleObject()},
		"striped":  {Kind: KindPut, Epoch: 1, Time: 2, Bucket: 7, Key: "big", Object: &Object{Size: 70, Extents: []erasure.Extent{{Segment: sampleSegment, Offset: 4096, Length: 30}, {Segment: sampleSegment, Offset: 1 << 30, Length: 40}}}},
		"delete":   {Kind: KindDelete, Epoch: 2, Time: 3, Bucket: 7, Key: "big"},
		"drop":     {Kind: KindDeleteBucket, Epoch: 2, Time: 4, Bucket: 7},
		"segment":  {Kind: KindSegment, Epoch: 2, Time: 5, Segment: sampleSegment, Descriptor: []byte("disks")},
		"labelled": {Kind: KindPut, Epoch: 1, Time: 2, Bucket: 7, Key: "k", Object: taggedObject()},
		"tags":     {Kind: KindTags, Epoch: 2, Time: 6, Bucket: 7, Key: "big", Version: versioning.ID{Epoch: 1, Sequence: 300}, Tags: taggedObject().Tags},
		"untag":    {Kind: KindTags, Epoch: 2, Time: 7, Bucket: 7, Key: "big", Version: versioning.ID{Epoch: 1, Sequence: 300}},
		"settings": {Kind: KindSettings, Epoch: 2, Time: 8, Bucket: 7, Settings: []byte("window")},
		"prefix":   {Kind: KindDeletePrefix, Epoch: 2, Time: 9, Bucket: 7, Prefix: "a/b"},
		"all":      {Kind: KindDeletePrefix, Epoch: 2, Time: 10, Bucket: 7},
		"newer":    {Kind: KindDelete, Epoch: 2, Time: 3, Bucket: 7, Key: "k", Unknown: []byte{9, 3, 'x', 'y', 'z'}},
	}
}

func TestRecordGolden(t *testing.T) {
	var lines []string
	all := sampleRecords()
	for _, name := range sortedIDs(all) {
		r := all[name]
		b := r.Append(nil)
		lines = append(lines, hexLine(name, b))
		got, n, err := DecodeRecord(append(b, "next"...))
		if err != nil || n != len(b) || !reflect.DeepEqual(got, r) {
			t.Errorf("%s came back as %+v, %d of %d bytes, %v", name, got, n, len(b), err)
		}
	}
	golden(t, "records.golden", lines)
}

func TestRecordRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := Record{
			Kind: Kind(rapid.IntRange(1, int(kindEnd)-1).Draw(t, "kind")), Epoch: rapid.Uint64().Draw(t, "epoch"),
			Time: rapid.Int64().Draw(t, "time"), Unknown: drawTagged(t),
		}
		switch r.Kind {
		case KindPut:
			r.Bucket, r.Key, r.Object = rapid.Uint64().Draw(t, "bucket"), drawKey(t, "key"), drawObject(t)
		case KindDelete:
			r.Bucket, r.Key = rapid.Uint64().Draw(t, "bucket"), drawKey(t, "key")
		case KindCreateBucket:
			r.Name = "bucket"
		case KindDeleteBucket:
			r.Bucket = rapid.Uint64().Draw(t, "bucket")
		case KindSegment:
			r.Segment, r.Descriptor = drawSegment(t), []byte(rapid.StringN(1, 9, 99).Draw(t, "descriptor"))
		case KindTags:
			r.Bucket, r.Key, r.Tags = rapid.Uint64().Draw(t, "bucket"), drawKey(t, "key"), drawTags(t)
			r.Version = versioning.ID{Epoch: rapid.Uint64().Draw(t, "version epoch"), Sequence: rapid.Uint64().Draw(t, "version")}
		case KindSettings:
			r.Bucket, r.Settings = rapid.Uint64().Draw(t, "bucket"), []byte(rapid.StringN(1, 9, 99).Draw(t, "settings"))
		case KindDeletePrefix:
			r.Bucket = rapid.Uint64().Draw(t, "bucket")
			if rapid.Bool().Draw(t, "some") {
				r.Prefix = drawKey(t, "prefix")
			}
		}
		b := r.Append([]byte("before"))[len("before"):]
		got, n, err := DecodeRecord(b)
		if err != nil || n != len(b) || !reflect.DeepEqual(got, r) {
			t.Fatalf("got  %+v\nwant %+v\n%d of %d bytes, %v", got, r, n, len(b), err)
		}
		if again := got.Append(nil); !bytes.Equal(again, b) {
			t.Fatalf("encodes to %x, was %x", again, b)
		}
		for i := range b {
			if _, _, err := DecodeRecord(b[:i]); !errors.Is(err, ErrRecord) {
				t.Fatalf("cut after %d of %d bytes: %v, want ErrRecord", i, len(b), err)
			}
		}
	})
}

func TestRecordRefused(t *testing.T) {
	put := func(change func(*Record)) []byte {
		r := sampleRecords()["packed"]
		change(&r)
		return r.Append(nil)
	}
	for name, b := range map[string][]byte{
		"nothing":             nil,
		"length beyond input": {200, 1, 1},
		"endless length":      bytes.Repeat([]byte{0xff}, 12),
		"padded length":       append([]byte{0x80, 0}, put(func(*Record) {})...),
		"bad key":             put(func(r *Record) { r.Key = "\xff" }),
		"no key":              put(func(r *Record) { r.Key = "" }),
		"long key":            put(func(r *Record) { r.Key = strings.Repeat("k", 1025) }),
		"negative size":       put(func(r *Record) { r.Object.Size = -1 }),
		"bytes nowhere":       put(func(r *Record) { r.Object.Packed = false }),
		"packed nothing":      put(func(r *Record) { r.Object.Size = 0 }),
		"bad metadata":        put(func(r *Record) { r.Object.Metadata = []byte{1, 'b', 0, 1, 'a', 0} }),
		"huge header":         put(func(r *Record) { r.Object.Headers.ContentType = strings.Repeat("x", MaxHeaders+1) }),
		"trailing":            put(func(r *Record) { r.Unknown = []byte{5, 4, 'x'} }),
		"packed and striped":  put(func(r *Record) { r.Object.Extents = []erasure.Extent{{Segment: sampleSegment, Length: 300}} }),
		"extents short": put(func(r *Record) {
			r.Object.Packed, r.Object.Extents = false, []erasure.Extent{{Segment: sampleSegment, Length: 299}}
		}),
		"extents wrap": put(func(r *Record) {
			e := erasure.Extent{Segment: sampleSegment, Length: math.MaxInt64}
			r.Object.Packed, r.Object.Size, r.Object.Extents = false, math.MaxInt64-1, []erasure.Extent{e, e}
		}),
		"bucket name": (&Record{Kind: KindCreateBucket, Name: "Nope"}).Append(nil),
		"no segment":  (&Record{Kind: KindSegment, Descriptor: []byte("d")}).Append(nil),
		"descriptor":  (&Record{Kind: KindSegment, Segment: sampleSegment, Descriptor: make([]byte, MaxDescriptor+1)}).Append(nil),
		"kind zero":   (&Record{}).Append(nil),
		"long tag":    put(func(r *Record) { r.Object.ETag = strings.Repeat("x", MaxETag+1) }),
		"bad tags":    put(func(r *Record) { r.Object.Tags = []byte{1, 'b', 0, 1, 'a', 0} }),
		"tags":        (&Record{Kind: KindTags, Key: "k", Tags: []byte{1}}).Append(nil),
		"tags' key":   (&Record{Kind: KindTags, Key: "\xff"}).Append(nil),
		"settings":    (&Record{Kind: KindSettings, Settings: make([]byte, MaxSettings+1)}).Append(nil),
		"prefix":      (&Record{Kind: KindDeletePrefix, Prefix: "\xff"}).Append(nil),
		"long prefix": (&Record{Kind: KindDeletePrefix, Prefix: strings.Repeat("p", MaxKey+1)}).Append(nil),
	} {
		if _, _, err := DecodeRecord(b); !errors.Is(err, ErrRecord) {
			t.Errorf("%s: %v, want ErrRecord", name, err)
		}
	}
}

func TestRecordFromTheFuture(t *testing.T) {
	b := (&Record{Kind: KindDeleteBucket, Bucket: 1}).Append(nil)
	version := bytes.Clone(b)
	version[1] = 2
	kind := bytes.Clone(b)
	kind[2] = 200
	for what, b := range map[string][]byte{"record": version, "record kind": kind} {
		_, _, err := DecodeRecord(b)
		var newer *FormatError
		if !errors.Is(err, ErrFormat) || !errors.As(err, &newer) || newer.What != what || newer.Have <= newer.Want {
			t.Errorf("%s: %v, want a FormatError", what, err)
		}
	}
}

func TestMetadata(t *testing.T) {
	m := map[string]string{"b": "2", "a": "1", "é": strings.Repeat("x", 1000), "empty": ""}
	b, err := AppendMetadata(nil, m)
	if err != nil {
		t.Fatal(err)
	}
	back, err := DecodeMetadata(b)
	if err != nil || !maps.Equal(m, back) {
		t.Errorf("came back as %v, %v", back, err)
	}
	if b, err := AppendMetadata(nil, nil); b != nil || err != nil {
		t.Errorf("no metadata encodes to %x, %v", b, err)
	}
	full := map[string]string{"k": strings.Repeat("v", MaxMetadata-1)}
	b, err = AppendMetadata(nil, full)
	if err != nil {
		t.Fatalf("exactly the limit: %v", err)
	}
	if back, err := DecodeMetadata(b); err != nil || !maps.Equal(full, back) {
		t.Errorf("exactly the limit: %v", err)
	}
	full["k"] += "v"
	if b, err := AppendMetadata([]byte("x"), full); !errors.Is(err, ErrMetadata) || string(b) != "x" {
		t.Errorf("one more byte: %d bytes, %v", len(b), err)
	}
	if _, err := AppendMetadata(nil, map[string]string{"": "v"}); !errors.Is(err, ErrMetadata) {
		t.Errorf("empty key: %v", err)
	}
	for _, b := range [][]byte{{0}, {1}, {1, 'a'}, {0, 0}, {1, 'a', 5, 'x'}, {1, 'a', 0, 1, 'a', 0}, {1, 'b', 0, 1, 'a', 0}} {
		if m, err := DecodeMetadata(b); !errors.Is(err, ErrMetadata) {
			t.Errorf("%x decodes to %v, %v", b, m, err)
		}
	}
}
