package fuzz

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/erasure"
	"github.com/cairnstore/cairn/internal/segment"
)

const (
	headerTag        = segment.HeaderSize - erasure.TagSize
	headerDescriptor = 72 // where the descriptor begins
)

// FuzzSegmentHeader reads bytes as a header page, with and without the right
// tag of the place that they name.
func FuzzSegmentHeader(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte, at uint16, bit byte) {
		page := make([]byte, segment.HeaderSize)
		copy(page, b)
		checkHeader(t, page)
		// Mutations seldom meet a magic, a version or a tag.
		copy(page, "cairnseg\x00\x01")
		pool, id, shard := headerPlace(page)
		tag := erasure.NewKey(pool, id, shard).Tag(0, page[:headerTag])
		copy(page[headerTag:], tag[:])
		if !checkHeader(t, page) {
			return
		}
		for _, other := range []int{shard - 1, shard + 1} {
			_, err := segment.DecodeHeader(page, pool, id, other)
			require.ErrorIs(t, err, segment.ErrHeader, "accepted in another place")
		}
		page[int(at)%len(page)] ^= 1 << (bit % 8)
		_, err := segment.DecodeHeader(page, pool, id, shard)
		require.ErrorIs(t, err, segment.ErrHeader, "a flipped bit was accepted")
	})
}

func headerPlace(page []byte) (erasure.PoolID, erasure.SegmentID, int) {
	return erasure.PoolID(page[16:32]), erasure.DecodeSegmentID(page[headerDescriptor+10:]), int(binary.BigEndian.Uint16(page[10:]))
}

func checkHeader(t *testing.T, page []byte) bool {
	pool, id, shard := headerPlace(page)
	h, err := segment.DecodeHeader(page, pool, id, shard)
	if err != nil {
		checkSegmentError(t, err, segment.ErrHeader, segment.ErrNoHeader)
		return false
	}
	again := make([]byte, segment.HeaderSize)
	h.Encode(again)
	back, err := segment.DecodeHeader(again, pool, id, shard)
	require.NoError(t, err)
	require.Equal(t, h, back)
	// The same page, unless it has optional fields, or anything behind them.
	n := int(binary.BigEndian.Uint32(page[12:]))
	if n == len(h.Append(nil)) && len(bytes.Trim(page[headerDescriptor+n:headerTag], "\x00")) == 0 {
		require.Equal(t, page, again)
	}
	return true
}

func checkSegmentError(t *testing.T, err error, named ...error) {
	var newer *segment.FormatError
	ok := errors.As(err, &newer)
	for _, n := range named {
		ok = ok || errors.Is(err, n)
	}
	require.True(t, ok, "%v", err)
}

// FuzzDescriptor reads bytes as a segment descriptor.
func FuzzDescriptor(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := segment.DecodeDescriptor(b)
		if err != nil {
			checkSegmentError(t, err, segment.ErrDescriptor)
			return
		}
		again := d.Append(nil)
		require.True(t, bytes.HasPrefix(b, again), "only fields of later versions are left out")
		require.NoError(t, d.Geometry.Validate())
		require.Len(t, d.Disks, d.Geometry.Shards())
		different := map[disk.ID]bool{}
		for _, id := range d.Disks {
			different[id] = true
		}
		require.Len(t, different, len(d.Disks), "two shards on one disk")
		require.LessOrEqual(t, len(d.Disks)*16, len(b))
	})
}

// FuzzFileName reads strings as names of shard files.
func FuzzFileName(f *testing.F) {
	f.Fuzz(func(t *testing.T, name string) {
		if id, shard, ok := segment.ParseFileName(name); ok {
			require.Equal(t, name, segment.FileName(id, shard))
		}
	})
}

// headerPage returns the golden header page, which is a hex dump.
func headerPage(t testing.TB) []byte {
	var page []byte
	for line := range strings.Lines(string(golden(t, "internal/segment/testdata/header-v1.hex"))) {
		b, err := hex.DecodeString(strings.ReplaceAll(line[10:59], " ", ""))
		require.NoError(t, err)
		page = append(page, b...)
	}
	require.Len(t, page, segment.HeaderSize)
	return page
}

func segmentHeaderSeeds(t testing.TB) map[string][]any {
	page := headerPage(t)
	used := headerDescriptor + int(binary.BigEndian.Uint32(page[12:]))
	seeds := spoiled(page[:used], uint16(80), byte(1))
	seeds["whole"] = []any{page, uint16(4095), byte(7)}
	huge := bytes.Clone(page[:used])
	binary.BigEndian.PutUint32(huge[12:], 1<<31)
	seeds["huge"] = []any{huge, uint16(0), byte(0)}
	return seeds
}

func descriptorSeeds(t testing.TB) map[string][]any {
	page := headerPage(t)
	d := page[headerDescriptor:][:binary.BigEndian.Uint32(page[12:])]
	seeds := spoiled(d)
	twice := bytes.Clone(d)
	copy(twice[50:66], twice[34:50])
	seeds["twice"] = []any{twice}
	seeds["required"] = []any{append(bytes.Clone(d), 0x7f, 0, 0)}
	return seeds
}

func fileNameSeeds(testing.TB) map[string][]any {
	id := erasure.SegmentID{Epoch: 3, Random: 0x1122334455667788, Counter: 5}
	return map[string][]any{
		"real": {segment.FileName(id, 10)}, "upper": {"s-00000003-1122334455667788-00000005.0A"},
		"padded": {"s-000000003-1122334455667788-00000005.0a"}, "overflow": {"s-ffffffffffffffff1-1122334455667788-00000005.0a"},
		"label": {"label-a"}, "empty": {""},
	}
}
