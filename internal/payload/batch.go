package payload

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/erasure"
	"github.com/cairnstore/cairn/internal/segment"
)

// batch is a range of object bytes being read: for each data column the frames
// that hold them, in one run.
type batch struct {
	s        *Store
	d        *segment.Descriptor
	e        erasure.Extent
	from, to int64  // object bytes
	dst      []byte // where they go as they are verified; nil: each hands them out
	row, end int64  // rows [row, end)
	runs     [erasure.MaxData + erasure.MaxParity]run
	shards   [erasure.MaxData]int // whose runs are read
	rebuilt  []*erasure.Buffer    // of the rows being handed out
	busy     atomic.Pointer[error]
}

// run is the frames of one shard in the rows [row, end): contiguous in the shard
// file.
type run struct {
	row, end int64
	start    int64 // in the shard file
	buf      *erasure.Buffer
	err      error   // why buf is nil: the whole shard is absent
	bad      []error // by row; nil: none is bad
}

func (r *run) errAt(row int64) error {
	if r.err != nil || r.bad == nil {
		return r.err
	}
	return r.bad[row-r.row]
}

var batches = sync.Pool{New: func() any { return new(batch) }}

// newBatch returns a batch for the object bytes [from, to), at least one. The
// caller frees it.
func (s *Store) newBatch(d *segment.Descriptor, e erasure.Extent, from, to int64) *batch {
	b := batches.Get().(*batch)
	k := d.Geometry.Data
	b.s, b.d, b.e, b.from, b.to = s, d, e, from, to
	b.row = erasure.RowOf(k, e.Length, from)
	b.end = erasure.RowOf(k, e.Length, to-1) + 1
	return b
}

func (b *batch) free() {
	for i := range b.runs {
		b.runs[i].buf.Release()
	}
	b.dropRebuilt()
	b.s, b.d, b.e, b.dst = nil, nil, erasure.Extent{}, nil
	clear(b.runs[:])
	b.busy.Store(nil)
	batches.Put(b)
}

func (b *batch) dropRebuilt() {
	for i, r := range b.rebuilt {
		r.Release()
		b.rebuilt[i] = nil
	}
	b.rebuilt = b.rebuilt[:0]
}

func (b *batch) rowAt(row int64) erasure.Row {
	return erasure.RowAt(b.d.Geometry.Data, b.e.Length, row)
}

// dataLen returns the data bytes of the frame that shard holds of r, 0 if none.
func (b *batch) dataLen(r *erasure.Row, shard int) int {
	if shard >= b.d.Geometry.Data {
		return r.ColumnLen(0)
	}
	return r.ColumnLen(shard)
}

// span returns the part [lo, hi) of column c of r that the batch is about,
// empty if lo >= hi.
func (b *batch) span(r *erasure.Row, c int) (lo, hi int64) {
	first := r.Data + int64(c)*int64(r.Column)
	return max(0, b.from-first), min(int64(r.ColumnLen(c)), b.to-first)
}

// read fetches and verifies all runs. It fails only for what is not a frame's
// fault: a shortage of the host.
func (b *batch) read(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	n, frames := 0, int64(0)
	for c := range b.d.Geometry.Data {
		r := &b.runs[c]
		r.row, r.end = b.rowsOf(c)
		if r.row < r.end {
			b.shards[n] = c
			n++
			frames += r.end - r.row
		}
	}
	if frames <= inlineFrames || n == 1 {
		for _, c := range b.shards[:n] {
			b.readRun(c)
		}
	} else {
		eachOf(n, func(i int) { b.readRun(b.shards[i]) })
	}
	b.standIns()
	if err := b.busy.Load(); err != nil {
		return *err
	}
	return nil
}

// rowsOf returns the rows [row, end) of which the batch needs column c. Columns
// at its ends may not be needed in the first or the last row.
func (b *batch) rowsOf(c int) (row, end int64) {
	row, end = b.row, b.end
	for _, at := range [2]int64{row, end - 1} {
		r := b.rowAt(at)
		if lo, hi := b.span(&r, c); lo < hi {
			continue
		}
		if at == row {
			row++
		} else {
			end--
		}
	}
	return row, max(row, end)
}

// standIns reads, for data shards that are absent altogether, as many parity
// shards in runs: else each row would fetch its own.
func (b *batch) standIns() {
	k, m := b.d.Geometry.Data, b.d.Geometry.Parity
	if b.end-b.row < 2 {
		return
	}
	absent := 0
	for c := range k {
		r := &b.runs[c]
		if r.row < r.end && r.buf == nil {
			absent++
		}
	}
	for p := 0; p < m && absent > 0; {
		first, n := p, min(absent, m-p)
		p += n
		eachOf(n, func(i int) {
			r := &b.runs[k+first+i]
			r.row, r.end = b.row, b.end
			b.readRun(k + first + i)
		})
		for i := range n {
			if b.runs[k+first+i].buf != nil {
				absent--
			}
		}
	}
}

// readRun fetches and verifies the frames of a shard. buf stays nil if the whole
// shard is absent.
func (b *batch) readRun(shard int) {
	r := &b.runs[shard]
	first, last := b.rowAt(r.row), b.rowAt(r.end-1)
	r.start = b.e.Offset + first.Offset
	size := b.e.Offset + last.Offset + int64(erasure.FrameLen(b.dataLen(&last, shard))) - r.start
	buf := erasure.GetBuffer(int(size))
	err := b.s.cfg.Set.ReadAt(b.d, shard, buf.B, r.start)
	if errors.Is(err, segment.ErrAbsent) || errors.Is(err, disk.ErrBusy) {
		buf.Release()
		r.err = err
		b.bad(shard, r.start, size, r.end-r.row, err)
		return
	}
	r.buf = buf
	key := b.s.cfg.Set.Key(b.d.ID, shard)
	for row := r.row; row < r.end; row++ {
		at := b.rowAt(row)
		frame := b.frame(shard, &at)
		off := b.e.Offset + at.Offset
		if err != nil && r.end-r.row > 1 {
			// One bad place fails the run: look at each frame.
			if e := b.s.cfg.Set.ReadAt(b.d, shard, frame, off); e != nil {
				b.spoil(shard, row, off, int64(len(frame)), e)
				continue
			}
		} else if err != nil {
			b.spoil(shard, row, off, int64(len(frame)), err)
			continue
		}
		if e := b.open(key, frame, off, b.dataLen(&at, shard)); e != nil {
			b.spoil(shard, row, off, int64(len(frame)), e)
			continue
		}
		if b.dst != nil && shard < b.d.Geometry.Data {
			b.deliver(&at, shard, frame) // the tag has just had it in the cache
		}
	}
}

// deliver copies what the batch is about of column c of r to dst.
func (b *batch) deliver(r *erasure.Row, c int, data []byte) {
	if lo, hi := b.span(r, c); lo < hi {
		copy(b.dst[r.Data+int64(c)*int64(r.Column)+lo-b.from:], data[lo:hi])
	}
}

// open verifies a frame that must hold n bytes.
func (b *batch) open(key *erasure.Key, frame []byte, off int64, n int) error {
	b.s.metrics.framesRead.Add(1)
	data, err := key.OpenFrame(frame, off)
	if err == nil && len(data) != n {
		err = fmt.Errorf("%w: offset %d holds %d bytes of data, not %d", erasure.ErrFrame, off, len(data), n)
	}
	return err
}

// frame returns the place in a run's buffer of the frame of row at.
func (b *batch) frame(shard int, at *erasure.Row) []byte {
	r := &b.runs[shard]
	return r.buf.B[b.e.Offset+at.Offset-r.start:][:erasure.FrameLen(b.dataLen(at, shard))]
}

func (b *batch) spoil(shard int, row, off, size int64, err error) {
	r := &b.runs[shard]
	if r.bad == nil {
		r.bad = make([]error, r.end-r.row)
	}
	r.bad[row-r.row] = err
	b.bad(shard, off, size, 1, err)
}

// bad counts and reports what cannot be used. A shortage of the host is no
// fault of the disk and fails the batch.
func (b *batch) bad(shard int, off, size, frames int64, err error) {
	if errors.Is(err, disk.ErrBusy) {
		b.busy.Store(&err)
		return
	}
	b.s.metrics.framesBad.Add(frames)
	b.s.cfg.OnBadFrame(BadFrame{Segment: b.d.ID, Shard: shard, Disk: b.d.Disks[shard], Offset: off, Length: size, Err: err})
}

// block returns the verified data of the frame that shard holds of row at, nil
// if it was not read or is bad.
func (b *batch) block(shard int, row int64, at *erasure.Row) []byte {
	r := &b.runs[shard]
	if r.buf == nil || row < r.row || row >= r.end || r.errAt(row) != nil {
		return nil
	}
	return b.frame(shard, at)[:b.dataLen(at, shard)]
}

// columns returns the verified columns that the batch is about of a row, and
// whether none is missing.
func (b *batch) columns(row int64, at *erasure.Row) (columns [erasure.MaxData][]byte, whole bool) {
	whole = true
	for c := range at.Columns {
		if lo, hi := b.span(at, c); lo < hi {
			columns[c] = b.block(c, row, at)
			whole = whole && columns[c] != nil
		}
	}
	return columns, whole
}

// each calls fn with the bytes of the batch, in order, frame by frame,
// rebuilding those that are missing. The bytes are valid during the call.
func (b *batch) each(fn func(data []byte) error) error {
	for row := b.row; row < b.end; row++ {
		at := b.rowAt(row)
		columns, whole := b.columns(row, &at)
		if !whole {
			if err := b.rebuild(row, at, columns[:at.Columns]); err != nil {
				return err
			}
		}
		for c := range at.Columns {
			if lo, hi := b.span(&at, c); lo < hi {
				if err := fn(columns[c][lo:hi]); err != nil {
					return err
				}
			}
		}
		b.dropRebuilt()
	}
	return nil
}

// patch puts into dst what read found missing, rebuilt.
func (b *batch) patch() error {
	for row := b.row; row < b.end; row++ {
		at := b.rowAt(row)
		columns, whole := b.columns(row, &at)
		if whole {
			continue
		}
		if err := b.rebuild(row, at, columns[:at.Columns]); err != nil {
			return err
		}
		for c := range at.Columns {
			b.deliver(&at, c, columns[c])
		}
		b.dropRebuilt()
	}
	return nil
}
