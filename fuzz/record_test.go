package fuzz

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/meta"
)

// FuzzRecord reads bytes as a record, and as the body of one whose length is
// right.
func FuzzRecord(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		checkRecord(t, b)
		checkRecord(t, append(binary.AppendUvarint(nil, uint64(len(b))), b...))
	})
}

func checkRecord(t *testing.T, b []byte) {
	r, n, err := meta.DecodeRecord(b)
	if err != nil {
		require.True(t, errors.Is(err, meta.ErrRecord) || errors.Is(err, meta.ErrFormat), "%v", err)
		return
	}
	require.LessOrEqual(t, n, len(b))
	require.LessOrEqual(t, n, meta.MaxRecord+binary.MaxVarintLen32)
	require.Equal(t, b[:n], r.Append(nil))
	size := len(r.Name) + len(r.Key) + len(r.Descriptor) + len(r.Unknown)
	if o := r.Object; o != nil {
		size += len(o.Metadata) + len(o.ETag) + len(o.Tags) + 26*len(o.Extents)
	}
	require.LessOrEqual(t, size, n)
}

// FuzzMetadata reads bytes as a block of user metadata.
func FuzzMetadata(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := meta.DecodeMetadata(b)
		if err != nil {
			require.ErrorIs(t, err, meta.ErrMetadata)
			return
		}
		again, err := meta.AppendMetadata(nil, m)
		require.NoError(t, err)
		require.True(t, bytes.Equal(b, again))
	})
}

// FuzzTags reads bytes as a block of tags.
func FuzzTags(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := meta.DecodeTags(b)
		if err != nil {
			require.ErrorIs(t, err, meta.ErrTags)
			return
		}
		require.LessOrEqual(t, len(m), meta.MaxTags)
		again, err := meta.AppendTags(nil, m)
		require.NoError(t, err)
		require.True(t, bytes.Equal(b, again))
	})
}

// FuzzSettings reads bytes as a bucket's settings.
func FuzzSettings(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := meta.DecodeSettings(b)
		if err != nil {
			require.True(t, errors.Is(err, meta.ErrSettings) || errors.Is(err, meta.ErrTags) || errors.Is(err, meta.ErrFormat), "%v", err)
			return
		}
		again, err := meta.AppendSettings(nil, s)
		require.NoError(t, err)
		back, err := meta.DecodeSettings(again)
		require.NoError(t, err)
		require.Equal(t, s, back)
	})
}

func recordSeeds(t testing.TB) map[string][]any {
	seeds := map[string][]any{}
	for name, b := range goldenLines(t, "meta/testdata/records.golden") {
		seeds[name] = []any{b}
	}
	for name, b := range spoiled(seeds["packed"][0].([]byte)) {
		seeds["packed-"+name] = b
	}
	seeds["huge"] = []any{[]byte{0xff, 0xff, 0xff, 0xff, 0x0f, 1, 1}}
	seeds["padded"] = []any{append([]byte{0x80 | 12, 0}, seeds["drop"][0].([]byte)[1:]...)}
	seeds["extents"] = []any{[]byte("\x19\x01\x01\x01\x00\x00\x00\x00\x00\x00\x00\x02\x07\x01k\x04\xff\x01\x00\x00\xff\xff\xff\xff\xff\x7f")}
	return seeds
}

func blockSeeds(t testing.TB) map[string][]any {
	b, err := meta.AppendTags(nil, map[string]string{"team": "vision", "π": "", "empty": ""})
	require.NoError(t, err)
	seeds := spoiled(b)
	seeds["disorder"] = []any{[]byte("\x01b\x00\x01a\x00")}
	seeds["twice"] = []any{[]byte("\x01a\x00\x01a\x00")}
	seeds["unnamed"] = []any{[]byte("\x00\x01a")}
	seeds["padded"] = []any{[]byte("\x81\x00a\x00")}
	seeds["not-utf8"] = []any{[]byte("\x01\xff\x01\xc0")}
	many := ""
	for c := 'a'; c < 'l'; c++ {
		many += "\x01" + string(c) + "\x00"
	}
	seeds["eleven"] = []any{[]byte(many)}
	return seeds
}

func settingsSeeds(t testing.TB) map[string][]any {
	b, err := meta.AppendSettings(nil, &meta.Settings{
		Tags: map[string]string{"owner": "kim"}, Documents: map[string][]byte{"policy": []byte(strings.Repeat("{}", 20))},
	})
	require.NoError(t, err)
	return spoiled(b)
}
