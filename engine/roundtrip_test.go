package engine

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
	"github.com/zeebo/blake3"
)

// defaults has a rig's segments at their default sizes.
func (r *rig) defaults() *rig {
	r.opts.LogSegmentSize, r.opts.LogAhead, r.opts.PayloadSegmentSize, r.opts.PayloadAhead = 0, 0, 0, 0
	return r
}

// shortReader yields between 0 and 5000 bytes at a time, and nothing with no
// error now and then.
type shortReader struct {
	r   io.Reader
	rng *rand.Rand
}

func (s *shortReader) Read(p []byte) (int, error) {
	n := min(len(p), s.rng.IntN(5000))
	if n == 0 {
		return 0, nil
	}
	return s.r.Read(p[:n])
}

// bodies are the ways in which a reader may yield its bytes. Those that yield
// one at a time are spared the large objects.
var bodies = []struct {
	name string
	most int
	wrap func(io.Reader) io.Reader
}{
	{"plain", 64 << 20, func(r io.Reader) io.Reader { return r }},
	{"data with EOF", 5 << 20, iotest.DataErrReader},
	{"halves", 5 << 20, iotest.HalfReader},
	{"short", 5 << 20, func(r io.Reader) io.Reader { return &shortReader{r, rand.New(rand.NewPCG(1, 2))} }},
	{"bytes", 64<<10 + 1, iotest.OneByteReader},
}

func TestRoundTrip(t *testing.T) {
	sizes := []int{0, 1, 100, 4 << 10, 64<<10 - 1, 64 << 10, 64<<10 + 1, 1<<20 + 1, 5 << 20}
	geometries := [][2]int{{4, 2}, {1, 0}, {1, 1}, {2, 1}, {2, 2}, {8, 3}}
	if raceEnabled {
		sizes, geometries = sizes[:8], geometries[:3]
	}
	for _, g := range geometries {
		t.Run(fmt.Sprintf("%d+%d", g[0], g[1]), func(t *testing.T) {
			r := newRig(t, g[0], g[1])
			sizes := sizes
			r.opts.plainIndex = g[0] != 4
			if g[0] == 4 && !raceEnabled || *long {
				sizes = append(sizes, 64<<20)
			}
			e := r.open()
			b := bucketOf(t, e, "bucket")
			for i, size := range sizes {
				p := content(uint64(i), size)
				for _, body := range bodies {
					if size <= body.most {
						roundTrip(t, b, fmt.Sprintf("%s/%d", body.name, size), p, body.wrap(bytes.NewReader(p)), g[1])
					}
				}
			}
			e = r.reopen(e)
			b = e.Bucket("bucket")
			n := 0
			for i, size := range sizes {
				for _, body := range bodies {
					if size > body.most {
						continue
					}
					key := fmt.Sprintf("%s/%d", body.name, size)
					got, err := read(b, key)
					require.NoError(t, err, key)
					require.True(t, bytes.Equal(content(uint64(i), size), got), "%s after a reopen", key)
					n++
				}
			}
			var total int
			for o, err := range b.List(t.Context(), nil) {
				require.NoError(t, err)
				res, err := b.Delete(t.Context(), o.Key, nil)
				require.NoError(t, err)
				require.Equal(t, &DeleteResult{Key: o.Key, Existed: true, VersionID: o.VersionID}, res, o.Key)
				total++
			}
			require.Equal(t, n, total)
			require.NoError(t, e.DeleteBucket(t.Context(), "bucket"))
		})
	}
}

// roundTrip puts r, which yields p, and checks every way of asking for it.
func roundTrip(t *testing.T, b *Bucket, key string, p []byte, r io.Reader, survives int) {
	t.Helper()
	put, err := b.Put(t.Context(), key, r, &PutOptions{Headers: Headers{ContentType: "text/" + key}})
	require.NoError(t, err, key)
	require.Equal(t, &ObjectInfo{
		Bucket: b.Name(), Key: key, VersionID: put.VersionID, Size: int64(len(p)), Hash: blake3.Sum256(p),
		HasHash: true, ETag: put.Hash.String(), Headers: Headers{ContentType: "text/" + key}, Modified: put.Modified, Survives: survives,
	}, put)
	require.NotEmpty(t, put.VersionID)
	require.False(t, put.Modified.IsZero())
	stored := *put
	stored.Survives = 0

	head, err := b.Head(t.Context(), key, nil)
	require.NoError(t, err, key)
	require.Equal(t, &stored, head)

	o, err := b.Get(t.Context(), key, nil)
	require.NoError(t, err, key)
	require.Equal(t, &stored, o.Info())
	require.Equal(t, int64(len(p)), o.Size())
	got, err := io.ReadAll(o)
	require.NoError(t, err, key)
	require.True(t, bytes.Equal(p, got), "Read of %s", key)
	_, err = o.Seek(0, io.SeekStart)
	require.NoError(t, err)
	var out bytes.Buffer
	n, err := o.WriteTo(&out)
	require.NoError(t, err, key)
	require.Equal(t, int64(len(p)), n)
	require.True(t, bytes.Equal(p, out.Bytes()), "WriteTo of %s", key)
	require.NoError(t, o.Close())

	page, err := b.ListPage(t.Context(), &ListPageOptions{ListOptions: ListOptions{Prefix: key}, Limit: 1})
	require.NoError(t, err)
	require.Equal(t, &stored, page.Objects[0])
}

// TestHash compares with what b3sum prints.
func TestHash(t *testing.T) {
	b := bucketOf(t, newRig(t, 4, 2).open(), "bucket")
	vector := make([]byte, 102400) // of BLAKE3's own test vectors; it is streamed
	for i := range vector {
		vector[i] = byte(i % 251)
	}
	for want, p := range map[string][]byte{
		"af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262": nil,
		"6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85": []byte("abc"),
		"bc3e3d41a1146b069abffad3c0d44860cf664390afce4d9661f7902e7943e085": vector,
	} {
		info, err := b.PutBytes(t.Context(), "key", p, nil)
		require.NoError(t, err)
		require.Equal(t, want, info.Hash.String())
		info, err = b.Head(t.Context(), "key", nil)
		require.NoError(t, err)
		require.Equal(t, want, info.Hash.String())
	}
}

// TestOpenDir is a newcomer's first program, on real files.
func TestOpenDir(t *testing.T) {
	dir := t.TempDir() + "/not/there/yet"
	p := content(1, 3<<20)
	for round := range 3 {
		e, err := OpenDir(t.Context(), dir)
		require.NoError(t, err)
		if round == 0 {
			bucketOf(t, e, "bucket")
		}
		b := e.Bucket("bucket")
		for i := range round {
			got, err := read(b, fmt.Sprintf("large%d", i))
			require.NoError(t, err)
			require.True(t, bytes.Equal(p, got))
			got, err = read(b, fmt.Sprintf("small%d", i))
			require.NoError(t, err)
			require.Equal(t, p[:1000], got)
		}
		info, err := b.PutBytes(t.Context(), fmt.Sprintf("large%d", round), p, nil)
		require.NoError(t, err)
		require.Zero(t, info.Survives)
		_, err = b.PutBytes(t.Context(), fmt.Sprintf("small%d", round), p[:1000], nil)
		require.NoError(t, err)
		require.NoError(t, e.Close())
	}
}
