package fuzz

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/erasure"
	"github.com/cairnstore/cairn/internal/log"
)

// Places in a group header, and in an opening group (docs/format/group.md).
const (
	groupParts   = 162
	groupPart    = 52
	openingFixed = 108
	copyFixed    = 92
)

// FuzzGroupHeader reads bytes as the page that a group's part begins with, with
// and without the right tag of the place that they name.
func FuzzGroupHeader(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte, at uint16, bit byte) {
		if len(b) < groupParts+groupPart {
			b = append(b[:len(b):len(b)], make([]byte, groupParts+groupPart-len(b))...)
		}
		checkGroup(t, b)
		if len(b) > erasure.Align-erasure.TagSize {
			return
		}
		// Mutations seldom meet a magic, a length or a tag.
		page := append([]byte("cairngrp\x00\x01"), b[10:]...)
		binary.BigEndian.PutUint16(page[10:], uint16(len(page)+erasure.TagSize))
		pool, id, shard, start := groupPlace(page)
		tag := erasure.NewKey(pool, id, shard).Tag(start, page)
		page = append(page, tag[:]...)
		if !checkGroup(t, page) {
			return
		}
		_, _, err := log.ReencodeHeader(page, pool, id, shard, start+erasure.Align)
		require.ErrorIs(t, err, log.ErrGroup, "accepted in another place")
		page[int(at)%len(page)] ^= 1 << (bit % 8)
		_, _, err = log.ReencodeHeader(page, pool, id, shard, start)
		require.ErrorIs(t, err, log.ErrGroup, "a flipped bit was accepted")
	})
}

// groupPlace returns where the header says that it is: of its parts the first on
// its shard.
func groupPlace(page []byte) (pool erasure.PoolID, id erasure.SegmentID, shard int, start int64) {
	pool, id = erasure.PoolID(page[12:28]), erasure.DecodeSegmentID(page[28:])
	shard = int(binary.BigEndian.Uint16(page[52:]))
	for at := groupParts; at+groupPart <= len(page); at += groupPart {
		if int(binary.BigEndian.Uint16(page[at:])) == shard {
			return pool, id, shard, int64(binary.BigEndian.Uint64(page[at+4:]))
		}
	}
	return pool, id, shard, 0
}

func checkGroup(t *testing.T, page []byte) bool {
	pool, id, shard, start := groupPlace(page)
	again, facts, err := log.ReencodeHeader(page, pool, id, shard, start)
	if err != nil {
		checkLogError(t, err)
		return false
	}
	require.LessOrEqual(t, facts.Parts*groupPart, len(page))
	require.LessOrEqual(t, facts.Payload, int64(log.MaxPayload))
	require.LessOrEqual(t, facts.Records, int64(log.MaxRecords))
	require.LessOrEqual(t, facts.First, facts.Last)
	back, same, err := log.ReencodeHeader(again, pool, id, shard, start)
	require.NoError(t, err)
	require.Equal(t, facts, same)
	require.Equal(t, again, back)
	// The same bytes, but for what a part keeps in reserve.
	for i := range facts.Parts {
		p := page[groupParts+i*groupPart:]
		if p[2] > 1 || p[3] != 0 {
			return true
		}
	}
	require.Equal(t, page[:len(again)], again)
	return true
}

func checkLogError(t *testing.T, err error) {
	var newer *log.FormatError
	require.True(t, errors.Is(err, log.ErrGroup) || errors.As(err, &newer), "%v", err)
}

// FuzzOpening reads bytes as the body of an opening group, with and without the
// right chain hashes of the copies in it.
func FuzzOpening(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte, at uint16, bit byte) {
		checkOpening(t, b)
		b = rechain(b)
		if !checkOpening(t, b) || binary.BigEndian.Uint32(b[104:]) == 0 {
			return
		}
		// Sequences, hashes or records of the first copy.
		first := openingFixed + int(binary.BigEndian.Uint32(b[100:]))
		signed := 80 + int(binary.BigEndian.Uint32(b[first+80:]))
		if i := int(at) % signed; i < 80 {
			b[first+i] ^= 1 << (bit % 8)
		} else {
			b[first+copyFixed+i-80] ^= 1 << (bit % 8)
		}
		_, _, err := log.ReencodeOpening(b)
		require.ErrorIs(t, err, log.ErrGroup, "a flipped bit was accepted")
	})
}

func checkOpening(t *testing.T, b []byte) bool {
	again, copies, err := log.ReencodeOpening(b)
	if err != nil {
		checkLogError(t, err)
		return false
	}
	require.LessOrEqual(t, copies*copyFixed, len(b))
	want := bytes.Clone(b[:len(again)])
	want[2], want[3] = 0, 0 // in reserve
	require.Equal(t, want, again)
	return true
}

// rechain returns b with the chain hashes that its copies must have.
func rechain(b []byte) []byte {
	if len(b) < openingFixed {
		return b
	}
	b = bytes.Clone(b)
	at := uint64(openingFixed) + uint64(binary.BigEndian.Uint32(b[100:]))
	for range binary.BigEndian.Uint32(b[104:]) {
		if at+copyFixed > uint64(len(b)) {
			break
		}
		c := b[at:]
		records, payload := uint64(binary.BigEndian.Uint32(c[80:])), binary.BigEndian.Uint64(c[84:])
		if records > uint64(len(c)-copyFixed) || payload > uint64(len(c)-copyFixed)-records {
			break
		}
		hash := log.ChainHash([32]byte(c[16:48]), binary.BigEndian.Uint64(c), binary.BigEndian.Uint64(c[8:]), c[copyFixed:][:records])
		copy(c[48:], hash[:])
		at += copyFixed + records + payload
	}
	return b
}

func groupHeaderSeeds(t testing.TB) map[string][]any {
	h := golden(t, "internal/log/testdata/group.golden")
	seeds := spoiled(h[:len(h)-erasure.TagSize], uint16(60), byte(2))
	seeds["whole"] = []any{h, uint16(0), byte(0)}
	huge := bytes.Clone(h[:len(h)-erasure.TagSize])
	for i := groupParts + 12; i < groupParts+20; i++ {
		huge[i] = 0x7f // length of the first block
	}
	seeds["huge"] = []any{huge, uint16(0), byte(0)}
	return seeds
}

func openingSeeds(t testing.TB) map[string][]any {
	o := golden(t, "internal/log/testdata/opening.golden")
	seeds := spoiled(o, uint16(84), byte(4))
	for name, at := range map[string]int{"many": 104, "checkpoint": 100, "records": openingFixed + 80, "payload": openingFixed + 84} {
		b := bytes.Clone(o)
		binary.BigEndian.PutUint32(b[at:], 1<<31)
		seeds[name] = []any{b, uint16(0), byte(0)}
	}
	return seeds
}
