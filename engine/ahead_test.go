package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/cairnstore/cairn/disk/faultdisk"
	"github.com/cairnstore/cairn/erasure"
	"github.com/cairnstore/cairn/internal/segment"
)

// firstBytes takes n bytes and fails.
type firstBytes struct {
	bytes.Buffer
	n int
}

var errFull = errors.New("full")

func (w *firstBytes) Write(p []byte) (int, error) {
	n := min(len(p), w.n)
	w.n -= n
	w.Buffer.Write(p[:n])
	if n < len(p) {
		return n, errFull
	}
	return n, nil
}

// TestReaderModel mixes Read, Seek, ReadAt and WriteTo and compares each with a
// bytes.Reader, over disks that are sound, lost or rotten.
func TestReaderModel(t *testing.T) {
	for name, disturb := range map[string]func(r *rig){
		"sound": func(*rig) {},
		"lost":  func(r *rig) { r.faults[0].Lose(); r.faults[3].Lose() },
		"rotten": func(r *rig) {
			r.faults[1].Add(faultdisk.Rule{Ops: faultdisk.OpRead, Prob: 0.3, Flip: true})
			r.faults[2].Add(faultdisk.Rule{Ops: faultdisk.OpRead, Prob: 0.3, Err: faultdisk.ErrInjected})
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 4, 2)
			r.opts.ReadAhead = 512 << 10
			b := bucketOf(t, r.open(), "bucket")
			p := content(7, 2_500_000)
			sizes := []int{0, 1, 40_000, 64 << 10, 64<<10 + 1, 700_000, len(p)}
			for _, size := range sizes {
				_, err := b.PutBytes(t.Context(), fmt.Sprint(size), p[:size], nil)
				require.NoError(t, err)
			}
			disturb(r)
			check := func(rt *rapid.T) {
				size := rapid.SampledFrom(sizes).Draw(rt, "size")
				opts := &GetOptions{}
				part := p[:size]
				if size > 1 && rapid.Bool().Draw(rt, "range") {
					from := rapid.IntRange(0, size-1).Draw(rt, "from")
					n := rapid.IntRange(1, size-from).Draw(rt, "length")
					opts, part = &GetOptions{Offset: int64(from), Length: int64(n)}, p[from:from+n]
				}
				o, err := b.Get(context.Background(), fmt.Sprint(size), opts)
				require.NoError(rt, err)
				defer o.Close()
				twin := bytes.NewReader(part)
				for range rapid.IntRange(1, 12).Draw(rt, "steps") {
					readerStep(rt, o, twin, len(part))
				}
			}
			n := 3
			if raceEnabled {
				n = 1
			}
			for range n {
				rapid.Check(t, check)
			}
		})
	}
}

// readerStep does one thing to both.
func readerStep(t *rapid.T, o *Object, twin *bytes.Reader, size int) {
	length := rapid.OneOf(rapid.IntRange(0, 300), rapid.IntRange(0, 70_000), rapid.IntRange(0, 800_000))
	before, err := o.Seek(0, io.SeekCurrent)
	require.NoError(t, err)
	switch rapid.SampledFrom([]string{"read", "read", "read", "seek", "near", "at", "write"}).Draw(t, "step") {
	case "read":
		buf := make([]byte, length.Draw(t, "n"))
		n, err := io.ReadFull(o, buf)
		want := make([]byte, len(buf))
		m, wantErr := io.ReadFull(twin, want)
		require.Equal(t, wantErr, err)
		require.Equal(t, m, n)
		require.True(t, bytes.Equal(want[:m], buf[:n]), "Read of %d at %d of %d", len(buf), before, size)
	case "seek", "near":
		to := int64(rapid.IntRange(0, size+5).Draw(t, "to"))
		if rapid.Bool().Draw(t, "near") {
			to = max(0, before+int64(rapid.IntRange(-300_000, 300_000).Draw(t, "by")))
		}
		got, err := o.Seek(to, io.SeekStart)
		require.NoError(t, err)
		want, err := twin.Seek(to, io.SeekStart)
		require.NoError(t, err)
		require.Equal(t, want, got)
	case "at":
		at := int64(rapid.IntRange(0, size+5).Draw(t, "at"))
		buf := make([]byte, length.Draw(t, "n"))
		n, err := o.ReadAt(buf, at)
		want := make([]byte, len(buf))
		m, wantErr := twin.ReadAt(want, at)
		require.Equal(t, m, n)
		if len(buf) > 0 {
			require.Equal(t, wantErr, err)
		}
		require.True(t, bytes.Equal(want[:m], buf[:n]), "ReadAt of %d at %d of %d", len(buf), at, size)
	case "write":
		limit := length.Draw(t, "n")
		got, want := &firstBytes{n: limit}, &firstBytes{n: limit}
		n, err := o.WriteTo(got)
		m, wantErr := twin.WriteTo(want)
		require.Equal(t, m, n)
		if wantErr == nil {
			require.NoError(t, err)
		} else {
			require.ErrorIs(t, err, wantErr)
		}
		require.True(t, bytes.Equal(want.Bytes(), got.Bytes()), "WriteTo from %d of %d", before, size)
	}
	pos, err := o.Seek(0, io.SeekCurrent)
	require.NoError(t, err)
	want, err := twin.Seek(0, io.SeekCurrent)
	require.NoError(t, err)
	require.Equal(t, want, pos)
}

// TestWriteToShort: a writer that takes less and says nothing ends the copy.
func TestWriteToShort(t *testing.T) {
	eachObject(t, func(t *testing.T, b *Bucket, key string, opts *GetOptions, p []byte) {
		for _, before := range []int{0, 10} { // with and without something read ahead
			o := mustGet(t, b, key, opts)
			_, err := io.ReadFull(o, make([]byte, before))
			require.NoError(t, err)
			n, err := o.WriteTo(writerFunc(func(p []byte) (int, error) { return min(len(p), 5), nil }))
			require.ErrorIs(t, err, io.ErrShortWrite)
			require.EqualValues(t, 5, n)
			rest, err := io.ReadAll(bounded{o})
			require.NoError(t, err)
			require.True(t, bytes.Equal(p[before+5:], rest))
		}
	})
}

// TestReadAroundABadPlace: a stripe row of a large object has too many rotten
// frames. What is before it and behind it is read, in pieces of any size; what
// lies on a rotten frame is an error, as often as it is tried, and does not move
// the reader.
func TestReadAroundABadPlace(t *testing.T) {
	const k, m, size = 2, 1, 700_000
	w := newWorld(t, k, m, 91)
	w.opts.ReadAhead = 256 << 10
	e := w.open()
	b := bucketOf(t, e, "bucket")
	w.learnNames(e)
	p := content(3, size)
	_, err := b.PutBytes(t.Context(), "key", p, nil)
	require.NoError(t, err)
	o := mustGet(t, b, "key", nil)
	x := o.version.Extents[0]
	d, err := e.descriptor(x.Segment)
	require.NoError(t, err)
	row := erasure.RowAt(k, x.Length, 2)
	for shard := range m + 1 { // both data columns
		w.rot(place{w.names[d.Disks[shard].String()], segment.FileName(d.ID, shard), x.Offset + row.Offset, x.Offset + row.Offset + 1000}, 77)
	}
	from, to := row.Data, row.Data+int64(row.Length)
	require.Less(t, to, int64(size))
	for _, piece := range []int{3000, 60_000, 300_000} {
		o := mustGet(t, b, "key", nil)
		buf := make([]byte, piece)
		pos := int64(0)
		for pos+int64(piece) <= from {
			n, err := o.Read(buf)
			require.NoError(t, err, "at %d, rotten from %d", pos, from)
			require.True(t, bytes.Equal(p[pos:pos+int64(n)], buf[:n]))
			pos += int64(n)
		}
		n, err := io.ReadFull(o, buf[:from-pos])
		require.NoError(t, err)
		require.True(t, bytes.Equal(p[pos:from], buf[:n]))
		for range 3 {
			n, err := o.Read(buf)
			require.Zero(t, n)
			var u *UnrecoverableError
			require.ErrorAs(t, err, &u)
			require.ErrorIs(t, err, ErrCorrupt)
			require.Len(t, u.Disks, m+1)
			at, err := o.Seek(0, io.SeekCurrent)
			require.NoError(t, err)
			require.Equal(t, from, at)
		}
		_, err = o.Seek(to, io.SeekStart)
		require.NoError(t, err)
		rest, err := io.ReadAll(bounded{o})
		require.NoError(t, err)
		require.True(t, bytes.Equal(p[to:], rest))
		require.NoError(t, o.Close())
	}
	// In pieces that fit, GetMany reads as far, and yields the object.
	for o, err := range b.GetMany(t.Context(), slices.Values([]string{"key"}), &GetManyOptions{Memory: 64 << 10}) {
		require.NoError(t, err)
		var got bytes.Buffer
		_, err = io.CopyBuffer(struct{ io.Writer }{&got}, bounded{o}, make([]byte, 5000))
		require.ErrorIs(t, err, ErrCorrupt)
		require.Greater(t, int64(got.Len()), from-5000)
		require.True(t, bytes.Equal(p[:got.Len()], got.Bytes()))
	}
	for o, err := range b.GetMany(t.Context(), slices.Values([]string{"key"}), nil) {
		require.Nil(t, o)
		require.ErrorIs(t, err, ErrCorrupt)
	}
}

// TestReadAheadCost counts: reading on in small pieces fetches every frame once,
// and holds two pieces of ReadAhead at the most.
func TestReadAheadCost(t *testing.T) {
	r := newRig(t, 4, 2).defaults()
	r.opts.ReadAhead = 1 << 20
	b := bucketOf(t, r.open(), "bucket")
	const size = 8<<20 + 12345
	p := content(5, size)
	_, err := b.PutBytes(t.Context(), "key", p, nil)
	require.NoError(t, err)
	o := mustGet(t, b, "key", nil)
	var got []byte
	c := r.during(func() {
		buf := make([]byte, 10_000)
		for {
			n, err := o.Read(buf)
			got = append(got, buf[:n]...)
			if err == io.EOF {
				break
			}
			require.NoError(t, err)
			held := o.ahead.piece.n
			if f := o.ahead.next; f != nil {
				held += f.piece.n
			}
			require.LessOrEqual(t, held, int64(2<<20))
		}
	})
	require.True(t, bytes.Equal(p, got))
	t.Logf("%d reads of %d bytes for %d", c.Reads, c.ReadBytes, size)
	require.Less(t, c.ReadBytes, int64(size)*5/4, "frames at the ends of pieces are read twice, no others")
	require.Less(t, c.Reads, int64(size/(64<<10)), "frames of a shard are read together")
	// A reader that jumps about reads little more than it asks for.
	c = r.during(func() {
		for i := range 20 {
			_, err := o.Seek(int64(7-i%8)<<20, io.SeekStart)
			require.NoError(t, err)
			_, err = o.Read(make([]byte, 100))
			require.NoError(t, err)
		}
	})
	require.LessOrEqual(t, c.ReadBytes, int64(20*2*(firstAhead+4*64<<10)))
}

// TestCloseWhileFetching closes a reader whose next piece is being fetched: it
// waits for the fetch and leaves nothing.
func TestCloseWhileFetching(t *testing.T) {
	noLeaks(t, func() {
		r := newRig(t, 2, 1)
		e := r.open()
		b := bucketOf(t, e, "bucket")
		p := content(5, 4<<20)
		_, err := b.PutBytes(t.Context(), "key", p, nil)
		require.NoError(t, err)
		for _, use := range []func(o *Object) error{
			(*Object).Close,
			func(o *Object) error { // it looks elsewhere
				_, err := o.Seek(3<<20, io.SeekStart)
				if err == nil {
					_, err = io.ReadFull(o, make([]byte, 1000))
				}
				return errors.Join(err, o.Close())
			},
			func(o *Object) error { // it reads on
				_, err := io.ReadFull(o, make([]byte, 1<<20))
				return errors.Join(err, o.Close())
			},
			func(o *Object) error { // it takes the rest at once
				_, err := o.WriteTo(io.Discard)
				return errors.Join(err, o.Close())
			},
		} {
			o, err := b.Get(context.Background(), "key", nil)
			require.NoError(t, err)
			var got []byte
			readOn := func() {
				buf := make([]byte, 1000)
				n, err := o.Read(buf)
				require.NoError(t, err)
				got = append(got, buf[:n]...)
			}
			for o.ahead.next == nil {
				readOn()
			}
			ready := o.ahead.next
			<-ready.done
			// What is fetched when this one has been taken up is held.
			gate, begun := make(chan struct{}), make(chan struct{}, 1000)
			remove := r.onRead(faultdisk.Rule{Block: gate, Hook: func(faultdisk.Call) { begun <- struct{}{} }})
			for o.ahead.next == ready {
				readOn()
			}
			require.NotNil(t, o.ahead.next)
			<-begun
			done := make(chan error, 1)
			go func() { done <- use(o) }()
			close(gate)
			within(t, time.Minute, "the end", func() {
				if err := <-done; err != nil {
					t.Error(err)
				}
			})
			remove()
			require.True(t, bytes.Equal(p[:len(got)], got))
			require.NoError(t, o.Close())
		}
		require.NoError(t, e.Close())
	})
}
