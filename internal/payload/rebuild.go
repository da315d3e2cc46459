package payload

import (
	"errors"
	"fmt"

	"github.com/cairnstore/cairn/erasure"
)

// rebuild fills the columns of a row that the batch needs and has not, from any
// verified frames of the row. Its inputs being verified is what vouches for the
// result.
func (b *batch) rebuild(row int64, r erasure.Row, columns [][]byte) error {
	at := &r // on the heap here only: each must not allocate
	k, m := b.d.Geometry.Data, b.d.Geometry.Parity
	n := at.Columns // k'
	blocks := make([][]byte, n+m)
	errs := make([]error, n+m)
	tried := make([]bool, n+m)
	present := 0
	var want []int
	for i := range blocks {
		shard := shardOf(i, n, k)
		blocks[i] = b.block(shard, row, at)
		if blocks[i] != nil {
			present++
		}
		if run := &b.runs[shard]; row >= run.row && row < run.end {
			tried[i] = true
			errs[i] = run.errAt(row)
		}
		if i < n && blocks[i] == nil {
			if lo, hi := b.span(at, i); lo < hi {
				want = append(want, i)
			}
		}
	}
	for present < n {
		var more []int
		for i := range blocks {
			if !tried[i] && len(more) < n-present {
				tried[i] = true
				more = append(more, i)
			}
		}
		if len(more) == 0 {
			return b.unrecoverable(at, blocks, errs)
		}
		buffers := make([]*erasure.Buffer, len(more))
		eachOf(len(more), func(j int) {
			buffers[j], errs[more[j]] = b.fetch(shardOf(more[j], n, k), at)
		})
		for j, i := range more {
			if buffers[j] != nil {
				b.rebuilt = append(b.rebuilt, buffers[j])
				blocks[i] = buffers[j].B[:b.dataLen(at, shardOf(i, n, k))]
				present++
			}
		}
		if err := b.busy.Load(); err != nil {
			return *err
		}
	}
	dst := make([][]byte, len(want))
	size := at.ColumnLen(0)
	for j, i := range want {
		buf := erasure.GetBuffer(size)
		b.rebuilt = append(b.rebuilt, buf)
		dst[j] = buf.B
		columns[i] = buf.B[:at.ColumnLen(i)]
	}
	if err := b.s.codec(b.d.Geometry).Reconstruct(blocks, size, want, dst); err != nil {
		return fmt.Errorf("payload: row at offset %d of segment %s: %w", b.e.Offset+at.Offset, b.d.ID, err)
	}
	b.s.metrics.reconstructed.Add(1)
	return nil
}

// shardOf returns the shard of block i of a row of n data columns.
func shardOf(i, n, k int) int {
	if i < n {
		return i
	}
	return k + i - n
}

// fetch reads and verifies one frame.
func (b *batch) fetch(shard int, at *erasure.Row) (*erasure.Buffer, error) {
	n := b.dataLen(at, shard)
	off := b.e.Offset + at.Offset
	buf := erasure.GetBuffer(erasure.FrameLen(n))
	err := b.s.cfg.Set.ReadAt(b.d, shard, buf.B, off)
	if err == nil {
		err = b.open(b.s.cfg.Set.Key(b.d.ID, shard), buf.B, off, n)
	}
	if err != nil {
		buf.Release()
		b.bad(shard, off, int64(erasure.FrameLen(n)), 1, err)
		return nil, err
	}
	return buf, nil
}

// unrecoverable names the row and the disks whose frames are missing or bad.
func (b *batch) unrecoverable(at *erasure.Row, blocks [][]byte, errs []error) error {
	e := &UnrecoverableError{Segment: b.d.ID, Offset: b.e.Offset + at.Offset}
	for i := range blocks {
		if blocks[i] == nil {
			e.Disks = append(e.Disks, b.d.Disks[shardOf(i, at.Columns, b.d.Geometry.Data)])
		}
	}
	e.Err = errors.Join(errs...)
	return e
}
