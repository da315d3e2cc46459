package engine

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/disk/faultdisk"
	"github.com/cairnstore/cairn/erasure"
	"github.com/cairnstore/cairn/meta"
)

// entries returns all entries of an index.
func entries(t *testing.T, index meta.Index) (keys, values [][]byte) {
	it, err := index.NewIter(nil, nil)
	require.NoError(t, err)
	for it.Next() {
		v, err := it.Value()
		require.NoError(t, err)
		keys, values = append(keys, bytes.Clone(it.Key())), append(values, bytes.Clone(v))
	}
	require.NoError(t, it.Close())
	return keys, values
}

// rot returns a damaged copy of a value.
func rot(r *rand.Rand, v []byte) []byte {
	c := bytes.Clone(v)
	if len(c) == 0 {
		return []byte{byte(r.Uint32())}
	}
	switch r.IntN(5) {
	case 0:
		c[r.IntN(len(c))] ^= 1 << r.IntN(8)
	case 1:
		c[r.IntN(len(c))] = byte(r.Uint32())
	case 2:
		c = c[:r.IntN(len(c))]
	case 3:
		at := r.IntN(len(c))
		for i := at; i < min(at+1+r.IntN(10), len(c)); i++ {
			c[i] = 0xff
		}
	default:
		// A longer integer, of all the sizes there are.
		at := r.IntN(len(c))
		n := bytes.Repeat([]byte{0x80 | byte(r.Uint32())}, r.IntN(9))
		n = append(n, byte(r.UintN(0x80)))
		c = append(append(bytes.Clone(c[:at]), n...), c[at+1:]...)
	}
	return c
}

// TestRottenIndex damages entries of the index under a running store. Pebble
// checks its blocks, so this is memory gone bad, or a bug: whatever calls
// return, none of them panics or hangs, and a packed object is right or an
// error.
func TestRottenIndex(t *testing.T) {
	base := newFaultRig(t, erasure.Geometry{Data: 4, Parity: 2})
	r := rand.New(rand.NewPCG(3, 4))
	ctx := context.Background()
	rounds := 400
	switch {
	case *long:
		rounds = 100000
	case raceEnabled:
		rounds = 80
	}
	var f *faultRig
	var e *Engine
	var keys, values [][]byte
	for i := range rounds {
		if i%40 == 0 {
			if e != nil {
				_ = e.Close()
			}
			f = base.fresh()
			e = f.open()
			// Groups of several blocks, and reads that must be rescued.
			for j := range 3 {
				require.NoError(t, f.put(e.Bucket("bucket"), fmt.Sprint(j), uint64(j), 64<<10))
			}
			for _, d := range f.faults[:2] {
				d.Add(faultdisk.Rule{Ops: faultdisk.OpRead, Prob: 0.5, Err: faultdisk.ErrInjected})
			}
			keys, values = entries(t, e.index)
		}
		n := r.IntN(len(keys))
		batch := meta.NewBatch()
		batch.Set(keys[n], rot(r, values[n]))
		require.NoError(t, e.index.Apply(batch, e.index.Position()))
		within(t, time.Minute, fmt.Sprintf("round %d", i), func() {
			b := e.Bucket("bucket")
			for key, want := range f.want {
				o, err := b.Get(ctx, key, nil)
				if err != nil {
					continue
				}
				if o.Size() <= 1<<20 {
					got, err := io.ReadAll(o)
					if err == nil && len(want) <= PackMax && !bytes.Equal(got, want) {
						t.Errorf("round %d: %q has wrong bytes", i, key)
					}
				} else {
					_, _ = o.ReadAt(make([]byte, 100), o.Size()-50)
				}
				require.NoError(t, o.Close())
			}
			for _, err := range b.List(ctx, &ListOptions{Delimiter: "e"}) {
				if err != nil {
					break
				}
			}
			if i%4 == 0 {
				_, _ = b.PutBytes(ctx, "base1", f.want["base1"], nil)
				_, _ = b.Delete(ctx, "base2", nil)
				_, _ = b.PutBytes(ctx, "base2", f.want["base2"], nil)
			}
		})
		batch.Reset()
		batch.Set(keys[n], values[n])
		require.NoError(t, e.index.Apply(batch, e.index.Position()))
	}
	require.NoError(t, e.Close())
}
