package engine

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/zeebo/blake3"
)

// storeCall is a way to store an object.
type storeCall struct {
	name string
	run  func(ctx context.Context, b *Bucket, key string, p []byte, opts *PutOptions) (*ObjectInfo, error)
}

var storeCalls = []storeCall{
	{"put", func(ctx context.Context, b *Bucket, key string, p []byte, opts *PutOptions) (*ObjectInfo, error) {
		return b.Put(ctx, key, io.MultiReader(bytes.NewReader(p)), opts)
	}},
	{"put of known length", func(ctx context.Context, b *Bucket, key string, p []byte, opts *PutOptions) (*ObjectInfo, error) {
		return b.Put(ctx, key, bytes.NewReader(p), opts)
	}},
	{"put bytes", func(ctx context.Context, b *Bucket, key string, p []byte, opts *PutOptions) (*ObjectInfo, error) {
		return b.PutBytes(ctx, key, p, opts)
	}},
	{"async put", func(ctx context.Context, b *Bucket, key string, p []byte, opts *PutOptions) (*ObjectInfo, error) {
		pending, err := b.PutAsync(ctx, key, p, opts)
		if err != nil {
			return nil, err
		}
		return pending.Wait(ctx)
	}},
	{"writer", func(ctx context.Context, b *Bucket, key string, p []byte, opts *PutOptions) (*ObjectInfo, error) {
		w, err := b.Create(ctx, key, opts)
		if err != nil {
			return nil, err
		}
		defer w.Abort()
		for piece := range pieces(p, rand.New(rand.NewPCG(uint64(len(p)), 1))) {
			if _, err := w.Write(piece); err != nil {
				return nil, err
			}
		}
		return w.Commit()
	}},
}

// pieces yields p in odd pieces, some of them empty, in one buffer that is
// spoilt after each.
func pieces(p []byte, r *rand.Rand) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(p) > 0 {
			most := []int{1, 7, 1000, 64 << 10, 300 << 10}[r.IntN(5)]
			piece := bytes.Clone(p[:min(r.IntN(most+1), len(p))])
			p = p[len(piece):]
			if !yield(piece) {
				return
			}
			for i := range piece {
				piece[i] = 0xa5
			}
		}
	}
}

var writerSizes = []int{0, 1, 4095, PackMax - 1, PackMax, PackMax + 1, 700_001, 10<<20 + 3}

func TestWriter(t *testing.T) {
	noLeaks(t, func() {
		r := newRig(t, 4, 2)
		e := r.open()
		b := bucketOf(t, e, "bucket")
		rng := rand.New(rand.NewPCG(5, 6))
		for _, size := range writerSizes {
			for round := range 4 {
				p := content(uint64(size), size)
				w, err := b.Create(t.Context(), fmt.Sprint(size), nil)
				require.NoError(t, err)
				written := 0
				for piece := range pieces(p, rng) {
					n, err := w.Write(piece)
					require.NoError(t, err)
					require.Equal(t, len(piece), n)
					written += n
					if round > 0 && written > 1<<20 {
						break // enough of it once
					}
				}
				p = p[:written]
				v := look(t, b, fmt.Sprint(size))
				require.Equal(t, round == 0, v == nil, "it is seen before Commit")
				info, err := w.Commit()
				require.NoError(t, err)
				require.EqualValues(t, written, info.Size)
				require.Equal(t, Hash(blake3.Sum256(p)), info.Hash)
				require.Equal(t, 2, info.Survives)
				v = look(t, b, fmt.Sprint(size))
				require.True(t, bytes.Equal(p, v.body), "%d bytes", written)
				require.Equal(t, info.VersionID, v.info.VersionID)
				w.Abort() // does nothing
				requireEnded(t, w)
				require.Equal(t, v.info.VersionID, look(t, b, fmt.Sprint(size)).info.VersionID)
			}
		}
		idle(t, e)
		require.NoError(t, e.Close())
	})
}

func requireEnded(t testing.TB, w *Writer) {
	t.Helper()
	_, err := w.Write([]byte("x"))
	requireError(t, err, ErrWriterEnded, "put", w.b.name, w.u.q.record.Key)
	_, err = w.Commit()
	requireError(t, err, ErrWriterEnded, "put", w.b.name, w.u.q.record.Key)
	requireError(t, w.SetETag("x"), ErrWriterEnded, "put", w.b.name, w.u.q.record.Key)
	w.Abort()
}

// TestWriterAbort leaves nothing, however far the writer was, and gives its
// window and its slot back.
func TestWriterAbort(t *testing.T) {
	noLeaks(t, func() {
		r := newRig(t, 4, 2)
		r.opts.MaxWindows, r.opts.MaxQueue = 1, 1
		e := r.open()
		b := bucketOf(t, e, "bucket")
		must(b.PutBytes(t.Context(), "old", []byte("old"), nil))
		old := look(t, b, "old")
		for _, size := range writerSizes {
			for _, key := range []string{"old", "new"} {
				before := e.Metrics()
				w, err := b.Create(t.Context(), key, nil)
				require.NoError(t, err)
				_, err = w.Write(content(1, size))
				require.NoError(t, err)
				w.Abort()
				w.Abort()
				requireEnded(t, w)
				after := e.Metrics()
				require.Equal(t, before.Puts, after.Puts)
				require.Equal(t, before.Groups, after.Groups)
				if size <= PackMax {
					after.SyncsAhead = before.SyncsAhead
					require.Equal(t, before, after)
				} else if size > 8<<20 {
					require.Positive(t, after.BytesDead-before.BytesDead)
				}
				idle(t, e)
			}
		}
		for range 2 {
			requireSame(t, old, look(t, b, "old"))
			require.Equal(t, []string{"old"}, keysOf(t, b))
			e = r.reopen(e)
			b = e.Bucket("bucket")
		}
		require.NoError(t, e.Close())
	})
}

// TestWriterContext ends a writer's context at any moment: it only remains to
// abort it, and Commit does that, too.
func TestWriterContext(t *testing.T) {
	noLeaks(t, func() {
		r := newRig(t, 2, 1)
		r.opts.MaxQueue = 1
		e := r.open()
		b := bucketOf(t, e, "bucket")
		for _, size := range []int{0, 10, PackMax + 1, 5 << 20} {
			for _, end := range []string{"write", "commit", "abort"} {
				ctx, cancel := context.WithCancel(t.Context())
				w, err := b.Create(ctx, "key", nil)
				require.NoError(t, err)
				_, err = w.Write(content(1, size))
				require.NoError(t, err)
				cancel()
				switch end {
				case "write":
					_, err = w.Write([]byte("x"))
					require.ErrorIs(t, err, context.Canceled)
					_, err = w.Write(nil)
					require.ErrorIs(t, err, context.Canceled, "it stays so")
					_, err = w.Commit()
					require.ErrorIs(t, err, context.Canceled)
				case "commit":
					_, err = w.Commit()
					require.ErrorIs(t, err, context.Canceled)
				default:
					w.Abort()
				}
				requireEnded(t, w)
				idle(t, e)
				require.Nil(t, look(t, b, "key"))
			}
		}
		_, err := b.Create(canceled(), "key", nil)
		require.ErrorIs(t, err, context.Canceled)
		idle(t, e)
		require.NoError(t, e.Close())
	})
}

func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// TestWriterAfterClose closes the store under writers: Close does not wait for
// them, they get ErrClosed, and can be aborted.
func TestWriterAfterClose(t *testing.T) {
	for _, size := range []int{0, 10, PackMax + 1, 9 << 20} {
		noLeaks(t, func() {
			r := newRig(t, 2, 1)
			e := r.open()
			b := bucketOf(t, e, "bucket")
			var all []*Writer
			for range 3 {
				w, err := b.Create(t.Context(), "key", nil)
				require.NoError(t, err)
				_, err = w.Write(content(1, size))
				require.NoError(t, err)
				all = append(all, w)
			}
			within(t, time.Minute, "close beside writers", func() { require.NoError(t, e.Close()) })
			_, err := all[0].Write([]byte("x"))
			requireError(t, err, ErrClosed, "put", "bucket", "key")
			_, err = all[0].Commit()
			requireError(t, err, ErrClosed, "put", "bucket", "key")
			_, err = all[1].Commit()
			requireError(t, err, ErrClosed, "put", "bucket", "key")
			all[2].Abort()
			for _, w := range all {
				requireEnded(t, w)
			}
			require.Empty(t, e.slots)
			_, err = b.Create(t.Context(), "key", nil)
			requireError(t, err, ErrClosed, "put", "bucket", "key")
			e = r.open()
			require.Nil(t, look(t, e.Bucket("bucket"), "key"))
			require.NoError(t, e.Close())
		})
	}
}

func TestWriterSetETag(t *testing.T) {
	r := newRig(t, 2, 1)
	e := r.open()
	b := bucketOf(t, e, "bucket")
	for _, size := range []int{5, PackMax + 1} {
		w, err := b.Create(t.Context(), fmt.Sprint(size), &PutOptions{ETag: "first"})
		require.NoError(t, err)
		require.NoError(t, w.SetETag("second"))
		_, err = w.Write(content(1, size))
		require.NoError(t, err)
		for _, bad := range []string{strings.Repeat("e", 129), "a\r\nb", "\xff"} {
			requireError(t, w.SetETag(bad), ErrMetadata, "put", "bucket", fmt.Sprint(size))
		}
		require.NoError(t, w.SetETag(`"third-2"`))
		info, err := w.Commit()
		require.NoError(t, err)
		require.Equal(t, `"third-2"`, info.ETag)
		// Without one it is the hash again.
		w, err = b.Create(t.Context(), fmt.Sprint("none", size), &PutOptions{ETag: "first"})
		require.NoError(t, err)
		require.NoError(t, w.SetETag(""))
		info, err = w.Commit()
		require.NoError(t, err)
		require.Equal(t, info.Hash.String(), info.ETag)
	}
	e = r.reopen(e)
	for _, size := range []int{5, PackMax + 1} {
		require.Equal(t, `"third-2"`, look(t, e.Bucket("bucket"), fmt.Sprint(size)).info.ETag)
	}
}

// TestExpected stores content that is not what was announced: by every call, for
// every size, it is refused, and what was there stays.
func TestExpected(t *testing.T) {
	noLeaks(t, func() {
		r := newRig(t, 4, 2)
		r.opts.MaxQueue, r.opts.MaxWindows = 1, 1
		e := r.open()
		b := bucketOf(t, e, "bucket")
		must(b.PutBytes(t.Context(), "key", []byte("old"), nil))
		old := look(t, b, "key")
		for _, size := range []int{0, 1, PackMax, PackMax + 1, 3<<20 + 1} {
			p := content(uint64(size), size)
			n, hash := int64(size), Hash(blake3.Sum256(p))
			short, long, negative, zero, wrong := n-1, n+1, int64(-1), int64(0), hash
			wrong[31] ^= 1
			for _, call := range storeCalls {
				for name, c := range map[string]struct {
					opts *PutOptions
					err  error
				}{
					"short": {&PutOptions{Size: &short}, ErrSize}, "long": {&PutOptions{Size: &long}, ErrSize},
					"negative": {&PutOptions{Size: &negative}, ErrSize}, "zero": {&PutOptions{Size: &zero}, ErrSize},
					"hash":              {&PutOptions{Hash: &wrong}, ErrHash},
					"hash, right size":  {&PutOptions{Hash: &wrong, Size: &n}, ErrHash},
					"hash without hash": {&PutOptions{Hash: &wrong, NoHash: true}, ErrHash},
				} {
					if name == "zero" && size == 0 {
						continue
					}
					what := fmt.Sprintf("%s of %d, %s", call.name, size, name)
					before := e.Metrics()
					_, err := call.run(t.Context(), b, "key", p, c.opts)
					requireError(t, err, c.err, "put", "bucket", "key", what)
					if after := e.Metrics(); size <= PackMax {
						after.SyncsAhead = before.SyncsAhead
						require.Equal(t, before, after, what)
					}
					idle(t, e)
				}
				requireSame(t, old, look(t, b, "key"))
				info, err := call.run(t.Context(), b, "right", p, &PutOptions{Size: &n, Hash: &hash, NoHash: true})
				require.NoError(t, err)
				require.Equal(t, hash, info.Hash)
				require.True(t, info.HasHash, "it was asked for")
			}
		}
		for range 2 {
			requireSame(t, old, look(t, b, "key"))
			e = r.reopen(e)
			b = e.Bucket("bucket")
		}
		require.NoError(t, e.Close())
	})
}

// TestDescribed stores objects with all that can be said of them: the call, Head
// and Get, before and after a reopen, say the same.
func TestDescribed(t *testing.T) {
	opts := PutOptions{
		Headers:  Headers{ContentType: "a/b", CacheControl: "no-store", ContentEncoding: "zstd", ContentDisposition: `attachment; filename="é"`, ContentLanguage: "de", Expires: "Thu, 01 Dec 2094 16:00:00 GMT"},
		Metadata: map[string]string{"owner": "ann", "é": "\x00\xff"},
		Tags:     map[string]string{"team": "blue", "": ""},
		ETag:     `"0123-4"`,
	}
	delete(opts.Tags, "")
	bare := PutOptions{}
	only := func(set func(h *Headers)) PutOptions {
		var o PutOptions
		set(&o.Headers)
		return o
	}
	all := []PutOptions{opts, bare, {NoHash: true}, {NoHash: true, ETag: "e"}, {Tags: map[string]string{"a": ""}}, {Metadata: map[string]string{"a": ""}},
		only(func(h *Headers) { h.ContentType = "x" }), only(func(h *Headers) { h.CacheControl = "x" }), only(func(h *Headers) { h.ContentEncoding = "x" }),
		only(func(h *Headers) { h.ContentDisposition = "x" }), only(func(h *Headers) { h.ContentLanguage = "x" }), only(func(h *Headers) { h.Expires = "x" })}
	for _, plain := range []bool{true, false} {
		r := newRig(t, 2, 1)
		r.opts.plainIndex = plain
		e := r.open()
		b := bucketOf(t, e, "bucket")
		want := map[string]*ObjectInfo{}
		for i, o := range all {
			for j, call := range storeCalls {
				for _, size := range []int{0, 100, PackMax + 1} {
					key := fmt.Sprint(i, "/", j, "/", size)
					info, err := call.run(t.Context(), b, key, content(uint64(i), size), &o)
					require.NoError(t, err)
					require.Equal(t, 1, info.Survives)
					info.Survives = 0
					want[key] = info
					hash := Hash(blake3.Sum256(content(uint64(i), size)))
					expected := &ObjectInfo{
						Bucket: "bucket", Key: key, VersionID: info.VersionID, Size: int64(size), HasHash: !o.NoHash || size <= PackMax,
						ETag: o.ETag, Headers: o.Headers, Metadata: o.Metadata, Tags: o.Tags, Modified: info.Modified,
					}
					if expected.HasHash {
						expected.Hash = hash
					}
					if o.ETag == "" {
						expected.ETag = hash.String()
						if !expected.HasHash {
							expected.ETag = info.VersionID
						}
					}
					require.Equal(t, expected, info)
				}
			}
		}
		for range 2 {
			for key, info := range want {
				require.Equal(t, info, look(t, b, key).info)
				o := mustGet(t, b, key, nil)
				require.Equal(t, info, o.Info())
			}
			for o, err := range b.List(t.Context(), nil) {
				require.NoError(t, err)
				info := *want[o.Key]
				info.Metadata, info.Tags = nil, nil
				require.Equal(t, &info, o)
			}
			e = r.reopen(e)
			b = e.Bucket("bucket")
		}
	}
}

// TestOptionsRefused gives every call what cannot be stored, before it has read
// anything.
func TestOptionsRefused(t *testing.T) {
	e := newRig(t, 2, 1).open()
	b := bucketOf(t, e, "bucket")
	many := map[string]string{}
	for i := range 11 {
		many[fmt.Sprint(i)] = ""
	}
	limit := int64(6 << 40)
	for name, c := range map[string]struct {
		opts PutOptions
		err  error
	}{
		"too many tags":    {PutOptions{Tags: many}, ErrTags},
		"empty tag":        {PutOptions{Tags: map[string]string{"": "x"}}, ErrTags},
		"long tag":         {PutOptions{Tags: map[string]string{strings.Repeat("é", 129): ""}}, ErrTags},
		"long tag value":   {PutOptions{Tags: map[string]string{"a": strings.Repeat("é", 257)}}, ErrTags},
		"tag not UTF-8":    {PutOptions{Tags: map[string]string{"a": "\xff"}}, ErrTags},
		"header with line": {PutOptions{Headers: Headers{CacheControl: "a\nb"}}, ErrMetadata},
		"header with zero": {PutOptions{Headers: Headers{ContentDisposition: "a\x00"}}, ErrMetadata},
		"long headers":     {PutOptions{Headers: Headers{ContentLanguage: strings.Repeat("a", 40<<10), ContentEncoding: strings.Repeat("b", 40<<10)}}, ErrMetadata},
		"ETag with line":   {PutOptions{ETag: "a\rb"}, ErrMetadata},
		"long ETag":        {PutOptions{ETag: strings.Repeat("e", 129)}, ErrMetadata},
		"too large":        {PutOptions{Size: &limit}, ErrTooLarge},
	} {
		_, err := b.Put(t.Context(), "key", readerFunc(func([]byte) (int, error) { panic("it is read") }), &c.opts)
		requireError(t, err, c.err, "put", "bucket", "key", name)
		for _, call := range storeCalls {
			_, err := call.run(t.Context(), b, "key", nil, &c.opts)
			requireError(t, err, c.err, "put", "bucket", "key", name)
		}
		_, err = b.Create(t.Context(), "key", &c.opts)
		requireError(t, err, c.err, "put", "bucket", "key", name)
	}
	idle(t, e)
	require.Empty(t, keysOf(t, b))
}

// TestOptionsOwned changes the options, and all in them, while a put is on its
// way: it is made with what they were at the call.
func TestOptionsOwned(t *testing.T) {
	e := newRig(t, 2, 1).defaults().open()
	s := stall(e)
	b := bucketOf(t, e, "bucket")
	for _, size := range []int{10, PackMax + 1} {
		p := content(1, size)
		key := fmt.Sprint(size)
		old := must(b.PutBytes(t.Context(), key, []byte("old"), nil))
		n, length, hash := old.Size, int64(size), Hash(blake3.Sum256(p))
		fresh := func() *PutOptions {
			n, length, hash := n, length, hash
			return &PutOptions{
				Headers: Headers{ContentType: "a"}, Metadata: map[string]string{"a": "b"}, Tags: map[string]string{"c": "d"}, ETag: "e",
				Size: &length, Hash: &hash, If: &Conditions{IfMatch: old.ETag, IfSize: &n},
			}
		}
		spoil := func(o *PutOptions) {
			*o.Size, *o.If.IfSize, o.Hash[0] = 1<<30, 99, o.Hash[0]+1
			o.If.IfMatch, o.If.IfNoneMatch = "other", "*"
			clear(o.Metadata)
			o.Tags["more"] = "x"
			*o = PutOptions{ETag: "spoilt", NoHash: true}
		}
		for _, async := range []bool{true, false} {
			var info *ObjectInfo
			opts := fresh()
			if async {
				release := s.holdApplies(t, e, b)
				w, err := b.PutAsync(t.Context(), key, p, opts)
				require.NoError(t, err)
				spoil(opts)
				release()
				info, err = w.Wait(t.Context())
				require.NoError(t, err)
			} else {
				w, err := b.Create(t.Context(), key, opts)
				require.NoError(t, err)
				spoil(opts)
				_, err = w.Write(p)
				require.NoError(t, err)
				info, err = w.Commit()
				require.NoError(t, err)
			}
			require.Equal(t, "e", info.ETag)
			require.Equal(t, "a", info.ContentType)
			v := look(t, b, key)
			require.Equal(t, fresh().Metadata, v.info.Metadata)
			require.True(t, maps.Equal(fresh().Tags, v.info.Tags))
			require.Equal(t, hash, v.info.Hash)
			old = must(b.PutBytes(t.Context(), key, []byte("old"), nil))
		}
	}
}
