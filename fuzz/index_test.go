package fuzz

import (
	"bytes"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/meta"
	"github.com/cairnstore/cairn/versioning"
)

// FuzzIndexKey reads bytes as a key of every space of the index.
func FuzzIndexKey(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		accepted := 0
		check := func(again []byte, err error) {
			if err != nil {
				require.ErrorIs(t, err, meta.ErrEntry)
				return
			}
			accepted++
			require.Equal(t, b, again)
		}
		bucket, err := meta.DecodeBucketKey(b)
		check(meta.AppendBucketKey(nil, bucket), err)
		bucket, err = meta.DecodeUsageKey(b)
		check(meta.AppendUsageKey(nil, bucket), err)
		bucket, key, err := meta.DecodeHeadKey(b)
		check(meta.AppendHeadKey(nil, bucket, key), err)
		bucket, key, id, err := meta.DecodeVersionKey(b)
		check(meta.AppendVersionKey(nil, bucket, key, id), err)
		first, err := meta.DecodeGroupKey(b)
		check(meta.AppendGroupKey(nil, first), err)
		segment, err := meta.DecodeSegmentKey(b)
		check(meta.AppendSegmentKey(nil, segment), err)
		ref, err := meta.DecodeRef(b)
		check(ref.Append(nil), err)
		require.LessOrEqual(t, accepted, 1, "the spaces overlap")
	})
}

// FuzzIndexVersion reads bytes as the entry of a version.
func FuzzIndexVersion(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := meta.DecodeVersion(b)
		if err != nil {
			require.True(t, errors.Is(err, meta.ErrEntry) || errors.Is(err, meta.ErrFormat), "%v", err)
			return
		}
		require.LessOrEqual(t, len(v.Metadata)+len(v.Tags)+len(v.ETag)+len(v.Unknown)+26*len(v.Extents), len(b))
		require.Equal(t, b, v.Append(nil))
	})
}

// FuzzIndexGroup reads bytes as the entry of a group. Whatever range is asked
// for, what it locates lies in one of its blocks.
func FuzzIndexGroup(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte, off, n int64) {
		g, err := meta.DecodeGroup(b)
		if err != nil {
			require.True(t, errors.Is(err, meta.ErrEntry) || errors.Is(err, meta.ErrFormat), "%v", err)
			return
		}
		require.LessOrEqual(t, 5*len(g.Blocks)+len(g.Unknown), len(b))
		require.Equal(t, b, g.Append(nil))
		if i, at, ok := g.Locate(off, n); ok {
			k := g.Blocks[i]
			require.GreaterOrEqual(t, at, k.Offset)
			require.LessOrEqual(t, at+n, k.Offset+k.Length)
		}
	})
}

// FuzzVersionID reads strings as version ids.
func FuzzVersionID(f *testing.F) {
	f.Fuzz(func(t *testing.T, s string) {
		id, err := versioning.ParseID(s)
		if err != nil {
			require.ErrorIs(t, err, versioning.ErrID)
			return
		}
		require.False(t, id.IsZero())
		require.Equal(t, s, id.String())
	})
}

func indexKeySeeds(t testing.TB) map[string][]any {
	seeds := map[string][]any{}
	for name, b := range goldenLines(t, "meta/testdata/keys.golden") {
		seeds[name] = []any{b}
	}
	version := seeds["version"][0].([]byte)
	seeds["unescaped"] = []any{bytes.Replace(version, []byte{0, 0xff}, []byte{0, 2}, 1)}
	seeds["endless"] = []any{version[:len(version)-18]}
	seeds["not-utf8"] = []any{[]byte("\x10\x00\x00\x00\x00\x00\x00\x00\x07\xff")}
	seeds["keyless"] = []any{[]byte("\x10\x00\x00\x00\x00\x00\x00\x00\x07")}
	return seeds
}

func versionSeeds(t testing.TB) map[string][]any {
	seeds := map[string][]any{}
	for name, b := range goldenLines(t, "meta/testdata/values.golden") {
		seeds[name] = []any{b}
	}
	for name, b := range spoiled(seeds["version"][0].([]byte)) {
		seeds["version-"+name] = b
	}
	return seeds
}

func indexGroupSeeds(t testing.TB) map[string][]any {
	g := goldenLines(t, "meta/testdata/values.golden")["group"]
	seeds := spoiled(g, int64(10), int64(100))
	seeds["far"] = []any{g, int64(1<<63 - 1), int64(1<<63 - 1)}
	seeds["negative"] = []any{g, int64(-1), int64(-1)}
	return seeds
}

func versionIDSeeds(testing.TB) map[string][]any {
	return map[string][]any{
		"real": {versioning.ID{Epoch: 1, Sequence: 1}.String()}, "zero": {versioning.ID{}.String()},
		"top": {"vvvvvvvvvvvvvvvvvvvvvvvvvv"}, "upper": {"VVVVVVVVVVVVVVVVVVVVVVVVVV"}, "short": {"0"}, "empty": {""},
	}
}
