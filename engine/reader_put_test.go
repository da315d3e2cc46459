package engine

import (
	"bytes"
	"fmt"
	"io"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
	"github.com/zeebo/blake3"
)

// lyingLen is a reader that says it is longer or shorter than it is.
type lyingLen struct {
	io.Reader
	n int
}

func (r lyingLen) Len() int { return r.n }

// TestPutReaders stores objects of all sizes around the limits from readers of
// all manners: small pieces, none now and then, the last one with its io.EOF,
// a wrong idea of their own length.
func TestPutReaders(t *testing.T) {
	manners := map[string]func(r io.Reader) io.Reader{
		"plain":         func(r io.Reader) io.Reader { return io.MultiReader(r) },
		"known length":  func(r io.Reader) io.Reader { return r },
		"half":          iotest.HalfReader,
		"data with EOF": iotest.DataErrReader,
		"half with EOF": func(r io.Reader) io.Reader { return iotest.DataErrReader(iotest.HalfReader(r)) },
		"says 0":        func(r io.Reader) io.Reader { return lyingLen{r, 0} },
		"says 1":        func(r io.Reader) io.Reader { return lyingLen{r, 1} },
		"says too much": func(r io.Reader) io.Reader { return lyingLen{r, 1 << 50} },
		"says -1":       func(r io.Reader) io.Reader { return lyingLen{r, -1} },
		"says PackMax":  func(r io.Reader) io.Reader { return lyingLen{r, PackMax} },
		"nothing now and then": func(r io.Reader) io.Reader {
			n := 0
			return readerFunc(func(p []byte) (int, error) {
				if n++; n%3 > 0 {
					return 0, nil
				}
				return r.Read(p[:min(len(p), 3000)])
			})
		},
		"spoils the rest": func(r io.Reader) io.Reader { // as a Reader may
			return readerFunc(func(p []byte) (int, error) {
				n, err := r.Read(p[:min(len(p), 5000)])
				clear(p[n:])
				return n, err
			})
		},
	}
	e := newRig(t, 4, 2).defaults().open()
	b := bucketOf(t, e, "bucket")
	check := func(name string, size int, r io.Reader, opts *PutOptions) {
		p := content(uint64(size), size)
		info, err := b.Put(t.Context(), name, r, opts)
		require.NoError(t, err, "%s, %d bytes", name, size)
		require.EqualValues(t, size, info.Size, name)
		require.Equal(t, Hash(blake3.Sum256(p)), info.Hash, name)
		v := look(t, b, name)
		require.True(t, bytes.Equal(p, v.body), "%s, %d bytes", name, size)
	}
	sizes := []int{0, 1, 7, 4095, 4096, 4097, 8 << 12, PackMax - 1, PackMax, PackMax + 1, 256<<10 + PackMax, 700_001}
	if raceEnabled {
		sizes = []int{0, 4096, 4097, PackMax, PackMax + 1}
	}
	for _, size := range sizes {
		n := int64(size)
		for name, manner := range manners {
			check(name, size, manner(bytes.NewReader(content(uint64(size), size))), nil)
			check(name, size, manner(bytes.NewReader(content(uint64(size), size))), &PutOptions{Size: &n})
		}
		if size <= PackMax+1 {
			check("bytes", size, iotest.OneByteReader(bytes.NewReader(content(uint64(size), size))), nil)
			check("bytes with EOF", size, iotest.DataErrReader(iotest.OneByteReader(bytes.NewReader(content(uint64(size), size)))), nil)
		}
	}
	// A reader that fails together with its last bytes.
	for _, size := range []int{1, PackMax, PackMax + 1} {
		r := io.MultiReader(bytes.NewReader(content(1, size)), iotest.ErrReader(io.ErrClosedPipe))
		_, err := b.Put(t.Context(), "broken", iotest.DataErrReader(r), nil)
		require.ErrorIs(t, err, io.ErrClosedPipe, fmt.Sprint(size))
		require.Nil(t, look(t, b, "broken"))
	}
	idle(t, e)
}
