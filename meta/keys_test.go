package meta

import (
	"bytes"
	"cmp"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/cairnstore/cairn/versioning"
)

func sampleKeys() map[string][]byte {
	id := versioning.ID{Epoch: 2, Sequence: 9}
	ref := Ref{Segment: sampleSegment, Unit: 5, Offset: 4096, Bucket: 7, Key: "a\x00b", Version: id}
	return map[string][]byte{
		"bucket":   AppendBucketKey(nil, 7),
		"format":   formatKey,
		"group":    AppendGroupKey(nil, 5),
		"head":     AppendHeadKey(nil, 7, "a\x00b"),
		"position": positionKey,
		"ref":      ref.Append(nil),
		"segment":  AppendSegmentKey(nil, sampleSegment),
		"usage":    AppendUsageKey(nil, 7),
		"version":  AppendVersionKey(nil, 7, "a\x00b", id),
	}
}

func TestKeysGolden(t *testing.T) {
	var lines []string
	all := sampleKeys()
	for _, name := range sortedIDs(all) {
		lines = append(lines, hexLine(name, all[name]))
	}
	golden(t, "keys.golden", lines)
}

// TestKeyOrder: encoded keys sort as what they stand for, whatever is in them.
func TestKeyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func() (uint64, string, versioning.ID) {
			id := versioning.ID{Epoch: rapid.Uint64Range(1, 2).Draw(t, "epoch"), Sequence: rapid.Uint64Range(1, 3).Draw(t, "seq")}
			return rapid.Uint64Range(1, 2).Draw(t, "bucket"), drawKey(t, "key"), id
		}
		b1, k1, v1 := draw()
		b2, k2, v2 := draw()
		order := cmp.Or(cmp.Compare(b1, b2), strings.Compare(k1, k2))
		if got := bytes.Compare(AppendHeadKey(nil, b1, k1), AppendHeadKey(nil, b2, k2)); got != order {
			t.Errorf("heads of %d %q and %d %q compare %d", b1, k1, b2, k2, got)
		}
		newestFirst := cmp.Or(order, -v1.Compare(v2))
		if got := bytes.Compare(AppendVersionKey(nil, b1, k1, v1), AppendVersionKey(nil, b2, k2, v2)); got != newestFirst {
			t.Errorf("versions of %q %v and %q %v compare %d, want %d", k1, v1, k2, v2, got, newestFirst)
		}
		r1 := Ref{Segment: sampleSegment, Bucket: b1, Key: k1, Version: v1}
		r2 := Ref{Segment: sampleSegment, Bucket: b2, Key: k2, Version: v2}
		want := cmp.Or(order, v1.Compare(v2))
		if got := bytes.Compare(r1.Append(nil), r2.Append(nil)); got != want {
			t.Errorf("references of %q %v and %q %v compare %d, want %d", k1, v1, k2, v2, got, want)
		}
		r2.Offset = 1
		if bytes.Compare(r1.Append(nil), r2.Append(nil)) >= 0 {
			t.Error("references do not sort by offset first")
		}
		if back, err := DecodeRef(r2.Append(nil)); err != nil || back != r2 {
			t.Errorf("reference came back as %+v, %v", back, err)
		}
		bucket, key, id, err := DecodeVersionKey(AppendVersionKey(nil, b1, k1, v1))
		if err != nil || bucket != b1 || key != k1 || id != v1 {
			t.Errorf("version key came back as %d %q %v, %v", bucket, key, id, err)
		}
		bucket, key, err = DecodeHeadKey(AppendHeadKey(nil, b1, k1))
		if err != nil || bucket != b1 || key != k1 {
			t.Errorf("head key came back as %d %q, %v", bucket, key, err)
		}
	})
}

// decodeAnyKey passes b to the decoder of its space and encodes what it finds.
func decodeAnyKey(b []byte) ([]byte, error) {
	if len(b) == 0 {
		return nil, ErrEntry
	}
	switch b[0] {
	case spaceBucket:
		n, err := DecodeBucketKey(b)
		return AppendBucketKey(nil, n), err
	case spaceUsage:
		n, err := DecodeUsageKey(b)
		return AppendUsageKey(nil, n), err
	case spaceGroup:
		n, err := DecodeGroupKey(b)
		return AppendGroupKey(nil, n), err
	case spaceSegment:
		id, err := DecodeSegmentKey(b)
		return AppendSegmentKey(nil, id), err
	case spaceHead:
		bucket, key, err := DecodeHeadKey(b)
		return AppendHeadKey(nil, bucket, key), err
	case spaceVersion:
		bucket, key, id, err := DecodeVersionKey(b)
		return AppendVersionKey(nil, bucket, key, id), err
	case spaceRef:
		r, err := DecodeRef(b)
		return r.Append(nil), err
	default:
		return nil, ErrEntry
	}
}

func TestKeysRefused(t *testing.T) {
	for name, k := range sampleKeys() {
		if k[0] == spaceMeta {
			continue
		}
		if back, err := decodeAnyKey(k); err != nil || !bytes.Equal(back, k) {
			t.Errorf("%s: %x, %v", name, back, err)
		}
		cuts := len(k)
		if name == "head" {
			cuts = 10 // a shorter key is another key
		}
		for i := 1; i < cuts; i++ {
			if _, err := decodeAnyKey(k[:i]); !errors.Is(err, ErrEntry) {
				t.Errorf("%s cut after %d bytes: %v", name, i, err)
			}
		}
		if _, err := decodeAnyKey(append(bytes.Clone(k), 0xff)); !errors.Is(err, ErrEntry) {
			t.Errorf("%s with a byte more: %v", name, err)
		}
	}
}

func TestSuccessor(t *testing.T) {
	for _, tc := range []struct{ prefix, want string }{
		{"a", "b"}, {"a/", "a0"}, {"a\xff", "b"}, {"a\xff\xff", "b"}, {"\x00", "\x01"}, {"\xff", ""}, {"", ""},
	} {
		if got := successor([]byte(tc.prefix)); string(got) != tc.want {
			t.Errorf("successor of %q is %q, want %q", tc.prefix, got, tc.want)
		}
	}
}
