package segment

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/erasure"
)

var testPool = erasure.PoolID{0xAA, 1, 2, 3}

func testID(counter uint64) erasure.SegmentID {
	return erasure.SegmentID{Epoch: 3, Random: 0x1122334455667788, Counter: counter}
}

func testDescriptor(g erasure.Geometry) *Descriptor {
	d := &Descriptor{ID: testID(5), Kind: KindPayload, Geometry: g, Class: 2}
	for i := range g.Shards() {
		d.Disks = append(d.Disks, disk.ID{byte(i + 1), 0xDD})
	}
	return d
}

func testHeader() *Header {
	d := testDescriptor(erasure.Geometry{Data: 4, Parity: 2})
	d.Kind = KindLog
	return &Header{Pool: testPool, Shard: 3, Descriptor: *d, BodyLength: 1234, BodyHash: [32]byte{9, 8, 7}}
}

func TestDescriptor(t *testing.T) {
	for _, g := range []erasure.Geometry{{Data: 1}, {Data: 4, Parity: 2}, {Data: 32, Parity: 16}} {
		d := testDescriptor(g)
		b := d.Append([]byte("x"))[1:]
		require.Len(t, b, descriptorFixed+16*g.Shards())
		got, err := DecodeDescriptor(b)
		require.NoError(t, err)
		require.Equal(t, d, got)
		for n := range b {
			_, err := DecodeDescriptor(b[:n])
			require.ErrorIs(t, err, ErrDescriptor, "%d bytes", n)
		}
	}
}

// What later versions may add.
func TestDescriptorFormats(t *testing.T) {
	good := testDescriptor(erasure.Geometry{Data: 2, Parity: 1}).Append(nil)
	change := func(at int, to byte) []byte {
		b := bytes.Clone(good)
		b[at] = to
		return b
	}
	for name, b := range map[string][]byte{
		"version": change(0, 2),
		"key id":  change(9, 1),
		"field":   append(bytes.Clone(good), 0x01, 0, 1, 0xFF),
	} {
		_, err := DecodeDescriptor(b)
		var f *FormatError
		require.ErrorAs(t, err, &f, name)
		require.Greater(t, f.Have, f.Want, name)
		require.ErrorContains(t, err, "knows up to", name)
	}
	_, err := DecodeDescriptor(append(bytes.Clone(good), 0x81, 0, 2, 0xFF, 0xFF, 0xFF, 0, 0))
	require.NoError(t, err, "optional fields")
	for name, b := range map[string][]byte{
		"kind":        change(1, 3),
		"no data":     change(2, 0),
		"wide":        change(3, 17),
		"zero disk":   append(bytes.Clone(good[:len(good)-16]), make([]byte, 16)...),
		"same disk":   append(bytes.Clone(good[:len(good)-16]), good[len(good)-32:len(good)-16]...),
		"zero id":     append(append(bytes.Clone(good[:10]), make([]byte, 24)...), good[34:]...),
		"field head":  append(bytes.Clone(good), 0x81, 0),
		"field value": append(bytes.Clone(good), 0x81, 0, 9, 1),
	} {
		_, err := DecodeDescriptor(b)
		require.ErrorIs(t, err, ErrDescriptor, name)
	}
	require.Panics(t, func() { (&Descriptor{}).Append(nil) })
}

func TestHeader(t *testing.T) {
	h := testHeader()
	page := bytes.Repeat([]byte{0xEE}, HeaderSize)
	h.Encode(page)
	got, err := DecodeHeader(page, h.Pool, h.ID, h.Shard)
	require.NoError(t, err)
	require.Equal(t, h, got)

	wide := *h
	wide.Descriptor = *testDescriptor(erasure.Geometry{Data: 32, Parity: 16})
	wide.Shard = 47
	wide.Encode(page)
	got, err = DecodeHeader(page, h.Pool, wide.ID, 47)
	require.NoError(t, err)
	require.Equal(t, &wide, got)
}

func TestHeaderDamage(t *testing.T) {
	h := testHeader()
	page := make([]byte, HeaderSize)
	h.Encode(page)
	for at := 0; at < HeaderSize; at++ {
		page[at] ^= 1 << (at % 8)
		_, err := DecodeHeader(page, h.Pool, h.ID, h.Shard)
		require.ErrorIs(t, err, ErrHeader, "byte %d", at)
		require.NotErrorIs(t, err, ErrNoHeader)
		page[at] ^= 1 << (at % 8)
	}
	// Another place.
	_, err := DecodeHeader(page, erasure.PoolID{1}, h.ID, h.Shard)
	require.ErrorIs(t, err, ErrHeader)
	_, err = DecodeHeader(page, h.Pool, testID(6), h.Shard)
	require.ErrorIs(t, err, ErrHeader)
	_, err = DecodeHeader(page, h.Pool, h.ID, h.Shard+1)
	require.ErrorIs(t, err, ErrHeader)
	_, err = DecodeHeader(page[:100], h.Pool, h.ID, h.Shard)
	require.ErrorIs(t, err, ErrHeader)
	_, err = DecodeHeader(page, h.Pool, h.ID, -1)
	require.ErrorIs(t, err, ErrHeader)
	// Never written.
	_, err = DecodeHeader(make([]byte, HeaderSize), h.Pool, h.ID, h.Shard)
	require.ErrorIs(t, err, ErrNoHeader)
	require.NotErrorIs(t, err, ErrHeader)
}

// reseal gives a changed page its tag.
func reseal(page []byte, h *Header) {
	tag := erasure.NewKey(h.Pool, h.ID, h.Shard).Tag(0, page[:headerTag])
	copy(page[headerTag:], tag[:])
}

func TestHeaderFormats(t *testing.T) {
	h := testHeader()
	page := make([]byte, HeaderSize)
	var f *FormatError

	h.Encode(page)
	binary.BigEndian.PutUint16(page[8:], 9)
	_, err := DecodeHeader(page, h.Pool, h.ID, h.Shard)
	require.ErrorIs(t, err, ErrHeader, "rot is not a newer format")
	reseal(page, h)
	_, err = DecodeHeader(page, h.Pool, h.ID, h.Shard)
	require.ErrorAs(t, err, &f)
	require.Equal(t, FormatError{What: "segment header version", Have: 9, Want: 1}, *f)

	h.Encode(page)
	page[headerFixed] = 7 // descriptor version
	reseal(page, h)
	_, err = DecodeHeader(page, h.Pool, h.ID, h.Shard)
	require.ErrorAs(t, err, &f)
	require.EqualValues(t, 7, f.Have)

	// A mistaken writer: lengths and places that do not fit.
	for name, change := range map[string]func(){
		"descriptor": func() { binary.BigEndian.PutUint32(page[12:], math.MaxUint32) },
		"shard":      func() { page[11]++ },
		"pool":       func() { page[20]++ },
		"body":       func() { page[32] = 0x80 },
	} {
		h.Encode(page)
		change()
		reseal(page, h)
		_, err = DecodeHeader(page, h.Pool, h.ID, h.Shard)
		require.ErrorIs(t, err, ErrHeader, name)
	}
}

// The golden file is the header page of testHeader: format version 1 for good.
func TestGoldenHeader(t *testing.T) {
	h := testHeader()
	page := make([]byte, HeaderSize)
	h.Encode(page)
	path := filepath.Join("testdata", "header-v1.hex")
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	if hex.Dump(page) != string(want) {
		t.Fatalf("header pages are no longer as in %s:\n%s", path, hex.Dump(page))
	}
	got, err := DecodeHeader(page, h.Pool, h.ID, h.Shard)
	require.NoError(t, err)
	require.Equal(t, h, got)
}

func TestFileName(t *testing.T) {
	for _, id := range []erasure.SegmentID{testID(1), {Epoch: math.MaxUint64, Random: math.MaxUint64, Counter: math.MaxUint64}, {}} {
		for _, shard := range []int{0, 15, 47, 255} {
			name := FileName(id, shard)
			require.NoError(t, disk.ValidName(name))
			got, n, ok := ParseFileName(name)
			require.True(t, ok, name)
			require.Equal(t, id, got)
			require.Equal(t, shard, n)
		}
	}
	require.Equal(t, "s-00000003-1122334455667788-00000005.0a", FileName(testID(5), 10))
	for _, name := range []string{
		"", "s-", "label", "s-3-1122334455667788-5.0a", "s-00000003-1122334455667788-00000005", "s-00000003-1122334455667788-00000005.a",
		"s-00000003-1122334455667788-00000005.0A", "s-00000003-1122334455667788-00000005.0a.bak", "s-00000003-1122334455667788-+0000005.0a",
		"s-000000003-1122334455667788-00000005.0a", "s-00000003-1122334455667788-00000005-1.0a", "s-00000003-1122334455667788-00000005.100",
	} {
		_, _, ok := ParseFileName(name)
		require.False(t, ok, name)
	}
}
