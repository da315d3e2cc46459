package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"sync"

	"github.com/zeebo/blake3"

	"github.com/cairnstore/cairn/erasure"
	"github.com/cairnstore/cairn/internal/segment"
	"github.com/cairnstore/cairn/meta"
)

// PutOptions are the properties of a new object. Nil means none.
type PutOptions struct {
	ContentType string
	// Metadata is the user's, at most 64 KiB of keys and values (ErrMetadata).
	Metadata map[string]string
}

// Put stores what r yields, up to its end, as the current version of key, and
// replaces the version before. When it returns nil the object is durable and
// visible. An error, that of a done context too, means that nothing happened,
// but for ErrNoQuorum and ErrIndexFailed, which end the store's writing: what
// was on its way then is absent or whole after the next open.
//
// Keys are 1-1024 bytes of valid UTF-8 (ErrKey). Objects up to PackMax bytes
// are committed in one round of fdatasyncs, shared with concurrent mutations;
// larger ones stream through bounded memory. An error of r is returned wrapped.
func (b *Bucket) Put(ctx context.Context, key string, r io.Reader, opts *PutOptions) (*ObjectInfo, error) {
	bucket, err := b.open(ctx, "put", key)
	if err != nil {
		return nil, err
	}
	defer b.e.end()
	info, err := b.put(ctx, bucket, key, r, opts)
	if err != nil {
		return nil, fail("put", b.name, key, err)
	}
	b.e.metrics.puts.Add(1)
	b.e.metrics.bytesPut.Add(info.Size)
	return info, nil
}

// PutBytes stores p as the current version of key, like Put. It does not keep
// p, which must not change until it returns.
func (b *Bucket) PutBytes(ctx context.Context, key string, p []byte, opts *PutOptions) (*ObjectInfo, error) {
	return b.Put(ctx, key, bytes.NewReader(p), opts)
}

func (b *Bucket) put(ctx context.Context, bucket meta.Bucket, key string, r io.Reader, opts *PutOptions) (*ObjectInfo, error) {
	if err := meta.CheckKey(key); err != nil {
		return nil, err
	}
	if opts == nil {
		opts = &PutOptions{}
	}
	o := &meta.Object{HasHash: true, Headers: meta.Headers{ContentType: opts.ContentType}}
	var err error
	if o.Metadata, err = meta.AppendMetadata(nil, opts.Metadata); err != nil {
		return nil, err
	}
	if len(opts.ContentType) > meta.MaxHeaders {
		return nil, fmt.Errorf("%w: content type of %d bytes", ErrMetadata, len(opts.ContentType))
	}
	if err := b.e.writable(); err != nil {
		return nil, err
	}
	buf := erasure.GetBuffer(PackMax + 1)
	defer buf.Release()
	n, err := readFull(ctx, r, buf.B)
	if err != nil {
		return nil, err
	}
	if int64(n) > b.e.opts.MaxObjectSize {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, b.e.opts.MaxObjectSize)
	}
	q := &request{record: meta.Record{Kind: meta.KindPut, Bucket: bucket.ID, Key: key, Object: o}}
	if n <= PackMax {
		o.Size, o.Hash, o.Packed = int64(n), blake3.Sum256(buf.B[:n]), n > 0
		q.payload = buf.B[:n]
	} else if q.segments, err = b.e.stream(ctx, o, buf.B[:n], r); err != nil {
		return nil, err
	}
	if err := b.e.change(ctx, q); err != nil {
		b.e.dead(q)
		return nil, err
	}
	info := infoOf(b.name, key, &meta.Version{ID: q.id, Modified: q.when, Object: *o})
	info.Metadata, info.Survives = maps.Clone(opts.Metadata), q.group.Survives
	for _, d := range q.segments {
		info.Survives = min(info.Survives, b.e.survives(d))
	}
	return info, nil
}

// survives returns how many more disks of a segment can be lost: its parity,
// less those that were dropped while it was written.
func (e *Engine) survives(d *segment.Descriptor) int {
	n := d.Geometry.Parity
	for _, id := range d.Disks {
		if _, live := e.log.Set().Disk(id); !live {
			n--
		}
	}
	return max(n, 0)
}

// dead counts the space of a stream that was not committed.
func (e *Engine) dead(q *request) {
	geometry := map[erasure.SegmentID]erasure.Geometry{}
	for _, d := range q.segments {
		geometry[d.ID] = d.Geometry
	}
	for _, x := range q.record.Object.Extents {
		if g := geometry[x.Segment]; g.Data > 0 {
			e.metrics.dead.Add(erasure.ExtentSize(g.Data, x.Length) * int64(g.Shards()))
		}
	}
}

// change looks up the key's current version and commits q; if other changes
// overtook the look-up by far, it looks again.
func (e *Engine) change(ctx context.Context, q *request) error {
	// What is longer could be written, and not read back. Only an object of very
	// many extents gets there.
	if o := q.record.Object; o != nil && len(o.Extents) > 0 {
		if n := len(q.record.Append(nil)); n > meta.MaxRecord {
			return fmt.Errorf("%w: %d extents make a record of %d bytes, at most %d fit", ErrTooLarge, len(o.Extents), n, meta.MaxRecord)
		}
	}
	for {
		var err error
		q.base = e.applied.Load()
		q.prev, err = meta.HeadOf(e.index, q.record.Bucket, q.record.Key, nil)
		if err != nil && !errors.Is(err, meta.ErrNoEntry) {
			return err
		}
		q.state.Store(queued)
		if err = e.submit(ctx, q); !errors.Is(err, errLookAgain) {
			return err
		}
		q.again = true
	}
}

// stream stores first and the rest of r in payload segments.
func (e *Engine) stream(ctx context.Context, o *meta.Object, first []byte, r io.Reader) ([]*segment.Descriptor, error) {
	st, err := e.payload.NewStream(ctx)
	if err != nil {
		return nil, err
	}
	defer st.Abort()
	hash := hashers.Get().(*blake3.Hasher)
	hash.Reset()
	defer hashers.Put(hash)
	buf := erasure.GetBuffer(streamRead)
	defer buf.Release()
	for p := first; len(p) > 0; {
		if o.Size += int64(len(p)); o.Size > e.opts.MaxObjectSize {
			return nil, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, e.opts.MaxObjectSize)
		}
		_, _ = hash.Write(p) // never fails
		if _, err := st.Write(p); err != nil {
			return nil, err
		}
		n, err := readFull(ctx, r, buf.B)
		if err != nil {
			return nil, err
		}
		p = buf.B[:n]
	}
	hash.Sum(o.Hash[:0])
	var segments []*segment.Descriptor
	o.Extents, segments, err = st.Finish()
	return segments, err
}

const streamRead = 256 << 10

var hashers = sync.Pool{New: func() any { return blake3.New() }}

// readFull reads from r until p is full or r ends; the end is no error. ctx is
// checked between reads.
func readFull(ctx context.Context, r io.Reader, p []byte) (n int, err error) {
	for n < len(p) {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		m, err := r.Read(p[n:])
		if m < 0 || m > len(p)-n {
			return n, fmt.Errorf("reading the object: a Read of %d bytes returned %d", len(p)-n, m)
		}
		n += m
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, fmt.Errorf("reading the object: %w", err)
		}
	}
	return n, nil
}
