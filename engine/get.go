package engine

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/zeebo/blake3"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/erasure"
	"github.com/cairnstore/cairn/internal/log"
	"github.com/cairnstore/cairn/meta"
)

// GetOptions choose a range of the object. Nil means all of it.
type GetOptions struct {
	Offset int64 // first byte; beyond the end is ErrRange
	Length int64 // bytes, cut at the object's end; 0: to the end
}

// Get opens the current version of key for reading, ErrNotFound if there is
// none. What it returns must be closed. It reads that version, whatever happens
// to the key afterwards; small objects have been read when Get returns.
//
// An object that cannot be read is an *UnrecoverableError, from Get or from the
// reads. ctx ends the reads too.
func (b *Bucket) Get(ctx context.Context, key string, opts *GetOptions) (*Object, error) {
	bucket, err := b.open(ctx, "get", key)
	if err != nil {
		return nil, err
	}
	defer b.e.end()
	o, err := b.get(ctx, bucket, key, opts)
	if err != nil {
		return nil, fail("get", b.name, key, err)
	}
	b.e.metrics.gets.Add(1)
	return o, nil
}

func (b *Bucket) get(ctx context.Context, bucket meta.Bucket, key string, opts *GetOptions) (*Object, error) {
	o := &Object{e: b.e, ctx: ctx}
	o.ahead.o = o
	v := &o.version
	err := b.current(bucket, key, v, &o.info)
	if err != nil {
		return nil, err
	}
	o.length = v.Size
	if opts != nil {
		switch {
		case opts.Offset < 0 || opts.Length < 0 || opts.Offset > v.Size || (opts.Offset == v.Size && opts.Offset > 0):
			return nil, fmt.Errorf("%w: offset %d, length %d of %d bytes", ErrRange, opts.Offset, opts.Length, v.Size)
		case opts.Length == 0:
			opts = &GetOptions{Offset: opts.Offset, Length: v.Size}
		}
		o.offset, o.length = opts.Offset, min(opts.Length, v.Size-opts.Offset)
	}
	if v.Packed {
		if o.packed, err = b.e.readPacked(v); err != nil {
			return nil, o.lost(err)
		}
	}
	return o, nil
}

// readPacked reads a packed object: one disk read, checked by its content hash.
// If that fails it is had from the rest of its group.
func (e *Engine) readPacked(v *meta.Version) (*erasure.Buffer, error) {
	d, err := e.descriptor(v.Segment)
	if err != nil {
		return nil, err
	}
	if v.Size > log.MaxPayload || int(v.Shard) >= len(d.Disks) {
		return nil, contradiction("object of %d bytes on shard %d of a log segment of %d", v.Size, v.Shard, len(d.Disks))
	}
	buf := erasure.GetBuffer(int(v.Size))
	right := func(p []byte) bool { return blake3.Sum256(p) == v.Hash }
	err = e.log.Set().ReadAt(d, int(v.Shard), buf.B, v.FileOffset)
	if err == nil && right(buf.B) {
		return buf, nil
	}
	if errors.Is(err, disk.ErrBusy) {
		buf.Release()
		return nil, err
	}
	if err == nil {
		err = errors.New("content hash does not match")
	}
	e.badBlock(BadBlockInfo{Segment: v.Segment.String(), Shard: int(v.Shard), Disk: d.Disks[v.Shard].String(), Offset: v.FileOffset, Err: err})
	if err := e.rescue(v, buf.B, right); err != nil {
		buf.Release()
		return nil, err
	}
	return buf, nil
}

// rescue has a packed object from other blocks of its group.
func (e *Engine) rescue(v *meta.Version, p []byte, right func([]byte) bool) error {
	m, err := meta.GroupAt(e.index, v.Group, nil)
	if err != nil {
		return err
	}
	d, err := e.descriptor(m.Segment)
	if err != nil {
		return err
	}
	g := &log.Group{First: m.First, Last: m.Last, Segment: d, Data: m.Data, Parity: m.Parity, Payload: m.Payload}
	for _, b := range m.Blocks {
		if int(b.Shard) >= len(d.Disks) || b.Length > log.MaxPayload {
			return contradiction("group at sequence %d has %d bytes on shard %d of %d", m.First, b.Length, b.Shard, len(d.Disks))
		}
		g.Blocks = append(g.Blocks, log.Block{Shard: int(b.Shard), Offset: b.Offset, Length: b.Length, Start: b.Start, Part: b.Part})
	}
	if err := e.log.Rescue(g, int64(v.Offset), p, right); err != nil {
		return err
	}
	e.metrics.reconstructed.Add(1)
	return nil
}

// contradiction is the error for an index entry that verifies and cannot be.
func contradiction(format string, args ...any) error {
	return &both{ErrIndexFailed, fmt.Errorf(format, args...)}
}

// Object is an open version of an object, or a range of it: an io.ReadSeekCloser,
// io.ReaderAt and io.WriterTo over the bytes chosen. Every byte has been
// verified. One goroutine uses it at a time; ReadAt may be called from many.
type Object struct {
	e       *Engine
	ctx     context.Context
	info    ObjectInfo
	version meta.Version

	offset, length int64           // the range
	packed         *erasure.Buffer // whole content of a packed object
	pos            int64           // within the range

	ahead  ahead // of Read, for striped objects
	closed bool
}

// Info describes the version. It stays valid after Close.
func (o *Object) Info() *ObjectInfo { return &o.info }

// Size returns the number of bytes that can be read: the object's, or the
// range's.
func (o *Object) Size() int64 { return o.length }

// Read implements io.Reader.
func (o *Object) Read(p []byte) (int, error) {
	if o.closed {
		return 0, o.fail(ErrClosed)
	}
	if o.pos >= o.length {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	p = p[:min(int64(len(p)), o.length-o.pos)]
	n := len(p)
	var err error
	if o.packed != nil {
		copy(p, o.packed.B[o.offset+o.pos:])
	} else if n, err = o.ahead.read(p, o.pos); err != nil {
		return 0, o.fail(o.lost(err))
	}
	o.pos += int64(n)
	return n, nil
}

// ReadAt implements io.ReaderAt. It may run beside itself, not beside Close.
func (o *Object) ReadAt(p []byte, off int64) (int, error) {
	if o.closed {
		return 0, o.fail(ErrClosed)
	}
	if off < 0 {
		return 0, o.fail(fmt.Errorf("%w: offset %d", ErrRange, off))
	}
	if off >= o.length {
		return 0, io.EOF
	}
	n := min(int64(len(p)), o.length-off)
	if err := o.readRange(p[:n], o.offset+off); err != nil {
		return 0, o.fail(o.lost(err))
	}
	if n < int64(len(p)) {
		return int(n), io.EOF
	}
	return int(n), nil
}

// readRange reads object bytes from at on.
func (o *Object) readRange(p []byte, at int64) error {
	if o.packed != nil {
		copy(p, o.packed.B[at:])
		return nil
	}
	return o.eachExtent(at, at+int64(len(p)), func(x erasure.Extent, from, to int64) error {
		d, err := o.e.descriptor(x.Segment)
		if err == nil {
			err = o.e.payload.ReadAt(o.ctx, d, x, p[:to-from], from)
			p = p[to-from:]
		}
		return err
	})
}

// eachExtent calls fn for the parts of [from, to) in each extent, by offsets
// within the extent. It is one call into the engine.
func (o *Object) eachExtent(from, to int64, fn func(x erasure.Extent, from, to int64) error) error {
	if err := o.e.begin(o.ctx); err != nil {
		return err
	}
	defer o.e.end()
	start := int64(0)
	for _, x := range o.version.Extents {
		a, b := max(from, start), min(to, start+x.Length)
		if a < b {
			if err := fn(x, a-start, b-start); err != nil {
				return err
			}
		}
		start += x.Length
	}
	return nil
}

// Seek implements io.Seeker.
func (o *Object) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += o.pos
	case io.SeekEnd:
		offset += o.length
	case io.SeekStart:
	default:
		return 0, o.fail(fmt.Errorf("%w: whence %d", ErrRange, whence))
	}
	if o.closed {
		return 0, o.fail(ErrClosed)
	}
	if offset < 0 {
		return 0, o.fail(fmt.Errorf("%w: position %d", ErrRange, offset))
	}
	o.pos = offset
	return offset, nil
}

// WriteTo implements io.WriterTo: it writes what is left of the range, in large
// pieces through bounded memory.
func (o *Object) WriteTo(w io.Writer) (int64, error) {
	if o.closed {
		return 0, o.fail(ErrClosed)
	}
	if o.pos >= o.length {
		return 0, nil
	}
	if o.packed != nil {
		b := o.packed.B[o.offset+o.pos : o.offset+o.length]
		n, err := w.Write(b)
		o.pos += int64(n)
		if err == nil && n < len(b) {
			err = io.ErrShortWrite
		}
		return int64(n), err
	}
	var total int64
	if b := o.ahead.piece.from(o.pos); b != nil {
		n, err := w.Write(b)
		o.pos += int64(n)
		if err == nil && n < len(b) {
			err = io.ErrShortWrite
		}
		if err != nil {
			return int64(n), err
		}
		total = int64(n)
		if o.pos == o.length {
			return total, nil
		}
	}
	already := total
	err := o.eachExtent(o.offset+o.pos, o.offset+o.length, func(x erasure.Extent, from, to int64) error {
		d, err := o.e.descriptor(x.Segment)
		if err != nil {
			return err
		}
		n, err := o.e.payload.Copy(o.ctx, w, d, x, from, to)
		total += n
		return err
	})
	o.pos += total - already
	return total, o.fail(o.lost(err))
}

// Close releases the object's buffers. It may be called twice.
func (o *Object) Close() error {
	if o.closed {
		return nil
	}
	o.closed = true
	if o.packed != nil {
		o.packed.Release()
		o.packed = nil
	}
	o.ahead.close()
	return nil
}

func (o *Object) lost(err error) error {
	if err == nil {
		return nil
	}
	return lost(o.info.Bucket, o.info.Key, o.info.VersionID, err)
}

func (o *Object) fail(err error) error {
	return fail("get", o.info.Bucket, o.info.Key, err)
}
