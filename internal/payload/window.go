package payload

import (
	"github.com/cairnstore/cairn/erasure"
)

// window is a run of object bytes in the frames that will be written: the bytes
// of shard i, row after row, in shards[i]. Its memory is the stream's.
//
// While it is filled its rows are all full. fit then lays the last rows out for
// what is there, place gives it parity, tags and a place.
type window struct {
	g        erasure.Geometry
	capacity int64 // object bytes, whole rows; 0: made fitted, not for filling
	length   int64 // object bytes
	shards   []*erasure.Buffer
	encoded  bool // parity is there

	seg   *open // nil: not placed
	off   int64
	again int // attempts that failed

	state state // under Stream.mu
	index int   // in Stream.places
}

type state uint8

const (
	filling state = iota
	writing
	written // and not yet synced
	syncing
)

// newWindow returns an empty window of rows full rows.
func newWindow(g erasure.Geometry, rows int64) *window {
	w := &window{g: g, capacity: rows * erasure.RowBytes(g.Data), shards: make([]*erasure.Buffer, g.Shards())}
	for i := range g.Data {
		w.shards[i] = erasure.GetBuffer(int(rows * erasure.FrameSize))
	}
	return w
}

// newFitted returns a window that holds b, laid out.
func newFitted(g erasure.Geometry, b []byte) *window {
	w := &window{g: g, length: int64(len(b)), shards: make([]*erasure.Buffer, g.Shards())}
	size := int(erasure.ExtentSize(g.Data, w.length))
	last := erasure.RowAt(g.Data, w.length, erasure.NumRows(g.Data, w.length)-1)
	for i := range g.Data {
		n := size
		if i >= last.Columns {
			n = int(last.Offset) // nothing of the last row
		}
		w.shards[i] = erasure.GetBuffer(n)
	}
	w.scatter(b, 0)
	return w
}

// free gives the memory back.
func (w *window) free() {
	for i, b := range w.shards {
		b.Release()
		w.shards[i] = nil
	}
}

// reset makes a window that was durable empty again.
func (w *window) reset() {
	*w = window{g: w.g, capacity: w.capacity, shards: w.shards}
}

// fill appends what fits of p and returns how much that was.
func (w *window) fill(p []byte) int {
	done := 0
	for done < len(p) && w.length < w.capacity {
		row, at := w.length/erasure.RowBytes(w.g.Data), w.length%erasure.RowBytes(w.g.Data)
		column, from := at/erasure.FrameData, at%erasure.FrameData
		frame := w.shards[column].B[row*erasure.FrameSize:][:erasure.FrameData]
		n := copy(frame[from:], p[done:])
		done += n
		w.length += int64(n)
	}
	return done
}

// gather copies object bytes from on, of rows laid out for length bytes, to p.
func (w *window) gather(p []byte, from, length int64) {
	for row := erasure.RowOf(w.g.Data, length, from); len(p) > 0; row++ {
		r := erasure.RowAt(w.g.Data, length, row)
		for c := 0; c < r.Columns && len(p) > 0; c++ {
			b := w.shards[c].B[r.Offset:][:r.ColumnLen(c)]
			skip := from - r.Data - int64(c)*int64(r.Column)
			if skip >= int64(len(b)) {
				continue
			}
			n := copy(p, b[skip:])
			p = p[n:]
			from += int64(n)
		}
	}
}

// scatter lays out the rows from row on, of which b holds the object bytes, for
// the window's length.
func (w *window) scatter(b []byte, row int64) {
	for ; len(b) > 0; row++ {
		r := erasure.RowAt(w.g.Data, w.length, row)
		for c := range r.Columns {
			n := r.ColumnLen(c)
			copy(w.shards[c].B[r.Offset:], b[:n])
			b = b[n:]
		}
	}
}

// fit lays the last two rows out for the bytes that are there. Those before
// them are full in any case.
func (w *window) fit() {
	k := w.g.Data
	if w.length%erasure.RowBytes(k) == 0 {
		return
	}
	row := max(0, erasure.NumRows(k, w.length)-2)
	from := row * erasure.RowBytes(k)
	b := erasure.GetBuffer(int(w.length - from))
	defer b.Release()
	w.gather(b.B, from, w.capacity)
	w.scatter(b.B, row)
}

// convert lays a fitted window out for another geometry.
func (w *window) convert(g erasure.Geometry) {
	b := erasure.GetBuffer(int(w.length))
	defer b.Release()
	w.gather(b.B, 0, w.length)
	n := newFitted(g, b.B)
	w.free()
	w.g, w.capacity, w.shards, w.encoded = n.g, n.capacity, n.shards, false
}

// encode computes the parity of all rows.
func (w *window) encode(codec *erasure.Codec) error {
	k := w.g.Data
	if w.encoded || w.g.Parity == 0 {
		return nil
	}
	size := int(erasure.ExtentSize(k, w.length))
	for i := k; i < len(w.shards); i++ {
		if b := w.shards[i]; b == nil || len(b.B) < size {
			b.Release()
			w.shards[i] = erasure.GetBuffer(size)
		}
	}
	var blocks [erasure.MaxData + erasure.MaxParity][]byte
	for row := range erasure.NumRows(k, w.length) {
		r := erasure.RowAt(k, w.length, row)
		for c := range r.Columns {
			blocks[c] = w.shards[c].B[r.Offset:][:r.ColumnLen(c)]
		}
		for p := range w.g.Parity {
			blocks[k+p] = w.shards[k+p].B[r.Offset:][:r.ColumnLen(0)]
		}
		if err := codec.Encode(blocks[:r.Columns], blocks[k:len(w.shards)]); err != nil {
			return err
		}
	}
	w.encoded = true
	return nil
}

// seal puts the tags of a shard on its frames, which will stand from off of its
// file, and returns them: they lie behind each other, in the last row possibly
// none.
func (w *window) seal(shard int, key *erasure.Key, off int64) []byte {
	var end int64
	b := w.shards[shard]
	for row := range erasure.NumRows(w.g.Data, w.length) {
		r := erasure.RowAt(w.g.Data, w.length, row)
		n := r.ColumnLen(shard)
		if shard >= w.g.Data {
			n = r.ColumnLen(0)
		}
		if n == 0 {
			break
		}
		end = r.Offset + int64(erasure.FrameLen(n))
		key.SealFrame(b.B[r.Offset:end], n, off+r.Offset)
	}
	return b.B[:end]
}
