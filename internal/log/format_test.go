package log

import (
	"flag"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/erasure"
	"github.com/cairnstore/cairn/internal/protocol"
)

var (
	update = flag.Bool("update", false, "rewrite golden files")
	long   = flag.Bool("long", false, "more and larger cases")
)

var (
	samplePool    = erasure.PoolID{1, 2, 3}
	sampleSegment = erasure.SegmentID{Epoch: 7, Random: 0xabcdef, Counter: 2}
)

func sampleHeader() *header {
	h := &header{
		pool: samplePool, segment: sampleSegment, data: 2, parity: 1, class: 3, keyID: 4,
		first: 100, last: 102, acked: 99, prev: [32]byte{5}, hash: [32]byte{6}, records: 77, payload: 9000,
	}
	h.parts = []part{
		{shard: 2, records: true, start: 8192, length: 5000, tag: [32]byte{7}},
		{shard: 0, records: true, start: 4096, length: 4000, tag: [32]byte{8}},
		{shard: 1, start: 12288, length: 5000, tag: [32]byte{9}},
	}
	return h
}

func sampleOpening() *opening {
	o := &opening{
		epochParent: protocol.Epoch{Number: 6, Random: 1}, acked: 41, made: 1_700_000_000_000_000_000, checkpoint: []byte{},
		parent: protocol.Parent{Segment: erasure.SegmentID{Epoch: 6, Random: 1, Counter: 9}, Last: 42, Hash: [32]byte{3}},
	}
	for seq := uint64(41); seq <= 42; seq++ {
		c := copied{first: seq, last: seq, prev: [32]byte{byte(seq)}, records: []byte("records"), payload: []byte("payload of it")}
		c.hash = ChainHash(c.prev, c.first, c.last, c.records)
		o.copies = append(o.copies, c)
	}
	return o
}

func golden(t *testing.T, name string, got []byte) []byte {
	path := "testdata/" + name + ".golden"
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o777))
		require.NoError(t, os.WriteFile(path, got, 0o666))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, want, got, "the format changed: it needs a new version")
	return want
}

func TestGroupHeaderGolden(t *testing.T) {
	h := sampleHeader()
	for i := range h.parts {
		p := &h.parts[i]
		key := erasure.NewKey(samplePool, sampleSegment, p.shard)
		got := h.encode(nil, i, key)
		require.Len(t, got, int(h.size()))
		if i == 0 {
			golden(t, "group", got)
		}
		page := append(got, make([]byte, maxHeader-len(got))...)
		back, err := decodeHeader(page, key, samplePool, sampleSegment, p.shard, p.start)
		require.NoError(t, err)
		require.Equal(t, h, back)

		// A header verifies in its own place only.
		for _, elsewhere := range []func() error{
			func() error {
				_, err := decodeHeader(page, key, samplePool, sampleSegment, p.shard, p.start+4096)
				return err
			},
			func() error {
				other := erasure.NewKey(samplePool, sampleSegment, p.shard+1)
				_, err := decodeHeader(page, other, samplePool, sampleSegment, p.shard+1, p.start)
				return err
			},
			func() error {
				_, err := decodeHeader(page, key, erasure.PoolID{9}, sampleSegment, p.shard, p.start)
				return err
			},
		} {
			require.ErrorIs(t, elsewhere(), ErrGroup)
		}
		for at := range got {
			for bit := range 8 {
				page[at] ^= 1 << bit
				_, err := decodeHeader(page, key, samplePool, sampleSegment, p.shard, p.start)
				require.Error(t, err, "byte %d bit %d", at, bit)
				page[at] ^= 1 << bit
			}
		}
	}
}

func TestNewerGroupHeaderIsNamed(t *testing.T) {
	h := sampleHeader()
	key := erasure.NewKey(samplePool, sampleSegment, 2)
	b := h.encode(nil, 0, key)
	b = b[:len(b)-erasure.TagSize]
	b[9] = 2
	tag := key.Tag(h.parts[0].start, b)
	_, err := decodeHeader(append(b, tag[:]...), key, samplePool, sampleSegment, 2, 8192)
	var format *FormatError
	require.ErrorAs(t, err, &format)
	require.Equal(t, FormatError{What: "group header", Have: 2, Want: 1}, *format)
}

func TestOpeningGolden(t *testing.T) {
	o := sampleOpening()
	got := golden(t, "opening", o.append(nil))
	back, err := decodeOpening(got)
	require.NoError(t, err)
	require.Equal(t, o, back)
	for i := range back.copies {
		c := &back.copies[i]
		require.Equal(t, c.payload, got[c.payloadAt:c.payloadAt+int64(len(c.payload))])
	}
	for n := range got {
		_, err := decodeOpening(got[:n])
		require.Error(t, err)
	}
	got[1] = 9
	_, err = decodeOpening(got)
	var format *FormatError
	require.ErrorAs(t, err, &format)
	require.Equal(t, FormatError{What: "opening group", Have: 9, Want: 1}, *format)
}
