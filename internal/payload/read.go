package payload

import (
	"context"
	"fmt"
	"io"

	"github.com/cairnstore/cairn/erasure"
	"github.com/cairnstore/cairn/internal/segment"
)

// batchBytes is how many object bytes a long read fetches at once, cut to whole
// rows, at least one: once for ReadAt and copyBatches times for Copy.
const (
	batchBytes  = 2 << 20
	copyBatches = 3
)

// inlineFrames is how many frames are read one after the other rather than at
// once.
const inlineFrames = 2

// ReadAt fills p with the object bytes of an extent from off on, all verified.
// It reads the frames that hold them, which for 64 KiB are three at most, and
// others only to rebuild those. Errors: [ErrRange], *[UnrecoverableError],
// disk.ErrBusy, ctx's, looked at between batches of a few MiB. After an error
// p's content is undefined.
func (s *Store) ReadAt(ctx context.Context, d *segment.Descriptor, e erasure.Extent, p []byte, off int64) error {
	if err := checkRange(d, e, off, off+int64(len(p))); err != nil || len(p) == 0 {
		return err
	}
	for len(p) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(batchEnd(d.Geometry.Data, e.Length, off, off+int64(len(p)))-off, int64(len(p)))
		b := s.newBatch(d, e, off, off+n)
		b.dst = p[:n:n]
		err := b.read(ctx)
		if err == nil {
			err = b.patch()
		}
		b.free()
		if err != nil {
			return err
		}
		p, off = p[n:], off+n
	}
	return nil
}

// Copy writes object bytes [from, to) of an extent to w and returns how many it
// wrote. The bytes given to w are valid during its Write only. It holds a
// few batches of some MiB: two are read while one is written. Errors are those
// of ReadAt and of w.
func (s *Store) Copy(ctx context.Context, w io.Writer, d *segment.Descriptor, e erasure.Extent, from, to int64) (int64, error) {
	if err := checkRange(d, e, from, to); err != nil || from == to {
		return 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type fetch struct {
		b    *batch
		err  error
		done chan struct{}
	}
	var ahead []*fetch // in order
	defer func() {
		cancel()
		for _, f := range ahead { // no goroutine outlives the call
			<-f.done
			f.b.free()
		}
	}()
	var total int64
	for at := from; ; {
		for len(ahead) < copyBatches && at < to {
			f := &fetch{b: s.newBatch(d, e, at, batchEnd(d.Geometry.Data, e.Length, at, to)), done: make(chan struct{})}
			at = f.b.to
			ahead = append(ahead, f)
			read := func() {
				f.err = f.b.read(ctx)
				close(f.done)
			}
			if len(ahead) == 1 && at == to {
				read() // all there is
			} else {
				go read()
			}
		}
		if len(ahead) == 0 {
			return total, nil
		}
		f := ahead[0]
		<-f.done
		err := f.err
		if err == nil {
			err = f.b.each(func(data []byte) error {
				if err := ctx.Err(); err != nil {
					return err
				}
				n, err := w.Write(data)
				total += int64(n)
				if err == nil && n < len(data) {
					err = io.ErrShortWrite
				}
				return err
			})
		}
		if err != nil {
			return total, err
		}
		f.b.free()
		ahead = ahead[1:]
	}
}

func checkRange(d *segment.Descriptor, e erasure.Extent, from, to int64) error {
	if err := e.Validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrRange, err)
	}
	if e.Segment != d.ID || from < 0 || to < from || to > e.Length {
		return fmt.Errorf("%w: bytes %d to %d of %d, in segment %s by a descriptor of %s", ErrRange, from, to, e.Length, e.Segment, d.ID)
	}
	return nil
}

// batchEnd returns where a batch from object byte from on ends: at a row's end
// or at to.
func batchEnd(k int, length, from, to int64) int64 {
	first := erasure.RowOf(k, length, from)
	last := first + max(1, batchBytes/erasure.RowBytes(k)) - 1
	if last >= erasure.NumRows(k, length) {
		return to
	}
	r := erasure.RowAt(k, length, last)
	return min(to, r.Data+r.Length)
}
