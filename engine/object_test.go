package engine

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/erasure"
)

// bounded hides all but Read.
type bounded struct{ io.Reader }

// eachObject runs fn for a packed and for a striped object, whole and a range
// of it. p is what can be read of it.
func eachObject(t *testing.T, fn func(t *testing.T, b *Bucket, key string, opts *GetOptions, p []byte)) {
	r := newRig(t, 4, 2)
	b := bucketOf(t, r.open(), "bucket")
	for name, size := range map[string]int{"packed": 40_000, "striped": 2_500_000} {
		p := content(7, size)
		from, n := size/3, size/2
		for kind, opts := range map[string]*GetOptions{"whole": nil, "range": {Offset: int64(from), Length: int64(n)}} {
			t.Run(name+" "+kind, func(t *testing.T) {
				_, err := b.PutBytes(t.Context(), name, p, nil)
				require.NoError(t, err)
				part := p
				if opts != nil {
					part = p[from : from+n]
				}
				fn(t, b, name, opts, part)
			})
		}
	}
}

func mustGet(t *testing.T, b *Bucket, key string, opts *GetOptions) *Object {
	t.Helper()
	o, err := b.Get(t.Context(), key, opts)
	require.NoError(t, err)
	t.Cleanup(func() { _ = o.Close() })
	return o
}

func TestObjectInterfaces(t *testing.T) {
	b := bucketOf(t, newRig(t, 4, 2).open(), "bucket")
	p := content(7, 2_500_000)
	for key, size := range map[string]int{"empty": 0, "packed": 5000, "striped": len(p)} {
		_, err := b.PutBytes(t.Context(), key, p[:size], nil)
		require.NoError(t, err)
	}
	// TestReader asks for each byte by itself: ranges of the large object will do.
	for _, c := range []struct {
		key      string
		from, to int64
	}{{"empty", 0, 0}, {"packed", 0, 5000}, {"packed", 1000, 3000}, {"striped", 0, 100}, {"striped", erasure.FrameData - 700, erasure.FrameData + 800}, {"striped", 2_499_000, 2_500_000}} {
		o := mustGet(t, b, c.key, &GetOptions{Offset: c.from, Length: c.to - c.from})
		require.NoError(t, iotest.TestReader(o, p[c.from:c.to]), "%+v", c)
	}
}

func TestObjectRead(t *testing.T) {
	eachObject(t, func(t *testing.T, b *Bucket, key string, opts *GetOptions, p []byte) {
		for _, size := range []int{1000, 65536, 1 << 20, 1<<20 + 1, 8 << 20} {
			o := mustGet(t, b, key, opts)
			var out bytes.Buffer
			_, err := io.CopyBuffer(struct{ io.Writer }{&out}, bounded{o}, make([]byte, size))
			require.NoError(t, err)
			require.True(t, bytes.Equal(p, out.Bytes()), "in pieces of %d", size)
			n, err := o.Read(make([]byte, 1))
			require.Zero(t, n)
			require.Equal(t, io.EOF, err)
		}
	})
}

func TestObjectSeek(t *testing.T) {
	eachObject(t, func(t *testing.T, b *Bucket, key string, opts *GetOptions, p []byte) {
		o := mustGet(t, b, key, opts)
		size := int64(len(p))
		rng := rand.New(rand.NewPCG(3, 4))
		pos := int64(0)
		for range 300 {
			to := rng.Int64N(size + 10)
			if rng.IntN(2) == 0 {
				to = max(0, min(size, pos+rng.Int64N(3000)-1500)) // within what was read ahead, mostly
			}
			var err error
			switch rng.IntN(3) {
			case 0:
				pos, err = o.Seek(to, io.SeekStart)
			case 1:
				pos, err = o.Seek(to-pos, io.SeekCurrent)
			default:
				pos, err = o.Seek(to-size, io.SeekEnd)
			}
			require.NoError(t, err)
			require.Equal(t, to, pos)
			buf := make([]byte, 1+rng.IntN(3000))
			n, err := o.Read(buf)
			if pos >= size {
				require.Zero(t, n)
				require.Equal(t, io.EOF, err)
				continue
			}
			require.NoError(t, err)
			require.Positive(t, n)
			require.True(t, bytes.Equal(p[pos:pos+int64(n)], buf[:n]), "%d bytes at %d", n, pos)
			pos += int64(n)
		}
		pos, err := o.Seek(math.MaxInt64, io.SeekStart)
		require.NoError(t, err)
		require.Equal(t, int64(math.MaxInt64), pos)
		_, err = o.Read(make([]byte, 1))
		require.Equal(t, io.EOF, err)
		n, err := o.WriteTo(io.Discard)
		require.NoError(t, err)
		require.Zero(t, n)

		_, err = o.Seek(10, io.SeekStart)
		require.NoError(t, err)
		for _, bad := range []struct {
			offset int64
			whence int
		}{{-1, io.SeekStart}, {-11, io.SeekCurrent}, {-size - 1, io.SeekEnd}, {math.MinInt64, io.SeekCurrent}, {math.MaxInt64, io.SeekEnd}, {0, 3}, {0, -1}} {
			_, err := o.Seek(bad.offset, bad.whence)
			require.ErrorIs(t, err, ErrRange, "%+v", bad)
		}
		one := make([]byte, 1)
		_, err = o.Read(one)
		require.NoError(t, err)
		require.Equal(t, p[10], one[0], "a failed Seek does not move")
	})
}

func TestObjectReadAt(t *testing.T) {
	eachObject(t, func(t *testing.T, b *Bucket, key string, opts *GetOptions, p []byte) {
		o := mustGet(t, b, key, opts)
		size := int64(len(p))
		var wg sync.WaitGroup
		for seed := range uint64(4) {
			wg.Go(func() {
				rng := rand.New(rand.NewPCG(seed, 5))
				for range 100 {
					off := rng.Int64N(size)
					buf := make([]byte, 1+rng.IntN(len(p)/4))
					n, err := o.ReadAt(buf, off)
					want := p[off:min(size, off+int64(len(buf)))]
					if n != len(want) || !bytes.Equal(want, buf[:n]) || (err != nil) != (n < len(buf)) || err != nil && err != io.EOF {
						t.Errorf("ReadAt of %d bytes at %d of %d: %d, %v", len(buf), off, size, n, err)
						return
					}
				}
			})
		}
		wg.Wait()
		whole := make([]byte, size)
		n, err := o.ReadAt(whole, 0)
		require.Equal(t, len(p), n)
		require.NoError(t, err)
		require.True(t, bytes.Equal(p, whole))
		n, err = o.ReadAt(make([]byte, 10), size)
		require.Zero(t, n)
		require.Equal(t, io.EOF, err)
		n, err = o.ReadAt(make([]byte, 10), math.MaxInt64)
		require.Zero(t, n)
		require.Equal(t, io.EOF, err)
		_, err = o.ReadAt(make([]byte, 10), -1)
		require.ErrorIs(t, err, ErrRange)
	})
}

// failingWriter fails after n bytes.
type failingWriter struct {
	n   int
	err error
}

func (w *failingWriter) Write(p []byte) (int, error) {
	if len(p) > w.n {
		return w.n, w.err
	}
	w.n -= len(p)
	return len(p), nil
}

func TestObjectWriteTo(t *testing.T) {
	eachObject(t, func(t *testing.T, b *Bucket, key string, opts *GetOptions, p []byte) {
		o := mustGet(t, b, key, opts)
		_, err := io.ReadFull(o, make([]byte, 777))
		require.NoError(t, err)
		broken := errors.New("broken pipe")
		n, err := o.WriteTo(&failingWriter{n: 5000, err: broken})
		require.ErrorIs(t, err, broken)
		require.Equal(t, int64(5000), n)
		var rest bytes.Buffer
		n, err = o.WriteTo(&rest)
		require.NoError(t, err)
		require.Equal(t, int64(len(p)-5777), n)
		require.True(t, bytes.Equal(p[5777:], rest.Bytes()), "goes on where the writer failed")
		n, err = o.WriteTo(&rest)
		require.NoError(t, err)
		require.Zero(t, n)
	})
}

func TestObjectClose(t *testing.T) {
	eachObject(t, func(t *testing.T, b *Bucket, key string, opts *GetOptions, p []byte) {
		o := mustGet(t, b, key, opts)
		_, err := o.Read(make([]byte, 10))
		require.NoError(t, err)
		require.NoError(t, o.Close())
		require.NoError(t, o.Close())
		_, read := o.Read(make([]byte, 10))
		_, readAt := o.ReadAt(make([]byte, 10), 0)
		_, seek := o.Seek(0, io.SeekStart)
		_, writeTo := o.WriteTo(io.Discard)
		for name, err := range map[string]error{"Read": read, "ReadAt": readAt, "Seek": seek, "WriteTo": writeTo} {
			requireError(t, err, ErrClosed, "get", b.Name(), key, name)
		}
		require.Equal(t, key, o.Info().Key)
		require.Equal(t, int64(len(p)), o.Size())
	})
}

// TestObjectOutlives reads versions that are no longer current.
func TestObjectOutlives(t *testing.T) {
	eachObject(t, func(t *testing.T, b *Bucket, key string, opts *GetOptions, p []byte) {
		first, second := mustGet(t, b, key, opts), mustGet(t, b, key, opts)
		_, err := io.ReadFull(first, make([]byte, 5))
		require.NoError(t, err)
		_, err = b.PutBytes(t.Context(), key, content(99, len(p)*2), nil)
		require.NoError(t, err)
		got, err := io.ReadAll(first)
		require.NoError(t, err)
		require.True(t, bytes.Equal(p[5:], got), "after an overwrite")
		_, err = b.Delete(t.Context(), key, nil)
		require.NoError(t, err)
		got, err = io.ReadAll(second)
		require.NoError(t, err)
		require.True(t, bytes.Equal(p, got), "after a delete")
	})
}

// TestObjectAfterEngineClose shows that an object held open neither keeps Close
// from returning nor reads from closed disks.
func TestObjectAfterEngineClose(t *testing.T) {
	e := newRig(t, 4, 2).open()
	b := bucketOf(t, e, "bucket")
	p := content(1, 3<<20)
	_, err := b.PutBytes(t.Context(), "key", p, nil)
	require.NoError(t, err)
	o := mustGet(t, b, "key", nil)
	require.NoError(t, e.Close())
	_, err = o.ReadAt(make([]byte, 10), 0)
	requireError(t, err, ErrClosed, "get", "bucket", "key")
	_, err = o.Read(make([]byte, 10))
	requireError(t, err, ErrClosed, "get", "bucket", "key")
	_, err = o.WriteTo(io.Discard)
	requireError(t, err, ErrClosed, "get", "bucket", "key")
	require.NoError(t, o.Close())
}

func TestRanges(t *testing.T) {
	b := bucketOf(t, newRig(t, 4, 2).open(), "bucket")
	for _, size := range []int64{0, 1, 1000, 64 << 10, 1<<20 + 3} {
		key := fmt.Sprint(size)
		p := content(uint64(size), int(size))
		_, err := b.PutBytes(t.Context(), key, p, nil)
		require.NoError(t, err)
		points := []int64{0, 1, size / 2, size - 1, size, size + 1, math.MaxInt64, -1, math.MinInt64}
		for _, offset := range points {
			for _, length := range points {
				o, err := b.Get(t.Context(), key, &GetOptions{Offset: offset, Length: length})
				if offset < 0 || length < 0 || offset > 0 && offset >= size {
					requireError(t, err, ErrRange, "get", "bucket", key)
					require.Nil(t, o)
					continue
				}
				require.NoError(t, err, "%d bytes at %d of %d", length, offset, size)
				end := size
				if length > 0 && length < size-offset {
					end = offset + length
				}
				require.Equal(t, end-offset, o.Size())
				require.Equal(t, size, o.Info().Size, "Info is about the whole object")
				got, err := io.ReadAll(o)
				require.NoError(t, err)
				require.True(t, bytes.Equal(p[offset:end], got), "%d bytes at %d of %d", length, offset, size)
				require.NoError(t, o.Close())
			}
		}
	}
}
