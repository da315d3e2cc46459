package engine

import (
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/zeebo/blake3"

	"github.com/cairnstore/cairn/erasure"
	"github.com/cairnstore/cairn/internal/payload"
	"github.com/cairnstore/cairn/meta"
)

// upload takes the bytes of a new object and commits it. It gathers up to
// PackMax bytes; from there on they stream to payload segments.
type upload struct {
	b      *Bucket
	ctx    context.Context // of the stream
	q      request
	object meta.Object
	size   int64 // that is expected; -1: any
	want   *Hash // that is expected; nil: any
	noHash bool
	async  bool // of PutAsync

	small *erasure.Buffer // what there is, while that is at most PackMax; len(B) is how much
	// borrowed is the whole object, the caller's bytes, instead of small.
	borrowed []byte
	stream   *payload.Stream
	hash     *blake3.Hasher // of a stream; nil: none
	slot     bool           // the upload holds a slot
	probe    [1]byte

	ended bool // info and err are the outcome
	info  *ObjectInfo
	err   error
}

// upload admits a put: it checks all that can be checked before the bytes come.
// It keeps nothing of opts, which the caller may use for the next put while this
// one is on its way. close must be called, unless the request was sent.
func (b *Bucket) upload(ctx context.Context, bucket meta.Bucket, key string, opts *PutOptions) (*upload, error) {
	if err := meta.CheckKey(key); err != nil {
		return nil, err
	}
	if opts == nil {
		opts = &PutOptions{}
	}
	u := &upload{b: b, ctx: ctx, size: -1, noHash: opts.NoHash}
	o := &u.object
	o.HasHash, o.ETag, o.Headers = true, opts.ETag, meta.Headers(opts.Headers)
	var err error
	if o.Metadata, err = meta.AppendMetadata(nil, opts.Metadata); err != nil {
		return nil, err
	}
	if o.Tags, err = meta.AppendTags(nil, opts.Tags); err != nil {
		return nil, err
	}
	if err := meta.CheckHeaders(&o.Headers); err != nil {
		return nil, err
	}
	if err := meta.CheckETag(o.ETag); err != nil {
		return nil, err
	}
	if err := opts.If.compile(); err != nil {
		return nil, err
	}
	if opts.Size != nil {
		if *opts.Size < 0 {
			return nil, fmt.Errorf("%w: %d bytes expected", ErrSize, *opts.Size)
		}
		u.size = *opts.Size
		if err := u.fits(u.size); err != nil {
			return nil, err
		}
	}
	if opts.Hash != nil {
		hash := *opts.Hash
		u.want = &hash
	}
	if err := b.e.writable(); err != nil {
		return nil, err
	}
	u.q.record = meta.Record{Kind: meta.KindPut, Bucket: bucket.ID, Key: key, Object: o}
	u.q.cond = opts.If.clone()
	if err := b.e.slot(ctx); err != nil {
		return nil, err
	}
	u.slot = true
	return u, nil
}

// fits checks a size against what is allowed and expected.
func (u *upload) fits(size int64) error {
	if size > u.b.e.opts.MaxObjectSize {
		return fmt.Errorf("%w: more than %d bytes", ErrTooLarge, u.b.e.opts.MaxObjectSize)
	}
	if u.size >= 0 && size > u.size {
		return fmt.Errorf("%w: more than the %d bytes expected", ErrSize, u.size)
	}
	return nil
}

// hint returns how long the object will be, 0 if that is not known.
func (u *upload) hint(r io.Reader) int64 {
	if u.size >= 0 {
		return u.size
	}
	if l, ok := r.(interface{ Len() int }); ok { // bytes.Reader, strings.Reader ...
		return int64(l.Len())
	}
	return 0
}

// readFrom takes all that r yields.
func (u *upload) readFrom(ctx context.Context, r io.Reader) error {
	hint := u.hint(r)
	room := int64(firstRead)
	if hint > 0 {
		room = min(hint, PackMax)
	}
	u.small = erasure.GetBuffer(int(room))
	for n := 0; ; {
		m, err := readFull(ctx, r, u.small.B[n:])
		if err != nil {
			return err
		}
		if n += m; n == len(u.small.B) {
			// Full: is there more?
			if m, err = readFull(ctx, r, u.probe[:]); err != nil {
				return err
			}
		} else {
			m = 0
		}
		if m == 0 {
			u.small.B = u.small.B[:n]
			return u.fits(int64(n))
		}
		if n == PackMax {
			break
		}
		u.grow(min(8*n, PackMax))
		u.small.B = append(u.small.B[:n], u.probe[0])
		n++
		u.small.B = u.small.B[:min(8*(n-1), PackMax)]
	}
	if err := u.begin(hint); err != nil {
		return err
	}
	if err := u.more(u.probe[:]); err != nil {
		return err
	}
	buf := erasure.GetBuffer(streamRead)
	defer buf.Release()
	for {
		n, err := readFull(ctx, r, buf.B)
		if err != nil || n == 0 {
			return err
		}
		if err := u.more(buf.B[:n]); err != nil {
			return err
		}
	}
}

const (
	firstRead  = 4 << 10 // what a put of unknown length takes at first
	streamRead = 256 << 10
)

// grow moves small to a buffer of size bytes.
func (u *upload) grow(size int) {
	bigger := erasure.GetBuffer(size)
	if u.small != nil {
		bigger.B = bigger.B[:copy(bigger.B, u.small.B)]
		u.small.Release()
	} else {
		bigger.B = bigger.B[:0]
	}
	u.small = bigger
}

// takeBytes takes p as the whole object and keeps it until the end.
func (u *upload) takeBytes(p []byte) error {
	if err := u.fits(int64(len(p))); err != nil {
		return err
	}
	if len(p) <= PackMax {
		u.borrowed = p
		return nil
	}
	if err := u.begin(int64(len(p))); err != nil {
		return err
	}
	for len(p) > 0 {
		n := min(len(p), streamRead)
		if err := u.more(p[:n]); err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// write takes one more piece.
func (u *upload) write(p []byte) error {
	if u.stream != nil {
		return u.more(p)
	}
	have := 0
	if u.small != nil {
		have = len(u.small.B)
	}
	if have+len(p) > PackMax {
		if err := u.begin(u.hint(nil)); err != nil {
			return err
		}
		return u.more(p)
	}
	if u.small == nil || cap(u.small.B) < have+len(p) {
		u.grow(max(have+len(p), min(4*have, PackMax)))
	}
	u.small.B = append(u.small.B, p...)
	return u.fits(int64(len(u.small.B)))
}

// begin turns to streaming and hands over what was gathered.
func (u *upload) begin(hint int64) error {
	e := u.b.e
	if u.q.cond != nil && !u.async {
		// The commit decides; this only saves a stream that cannot succeed. One
		// of PutAsync may, thanks to those before it.
		if err := e.look(&u.q); err != nil {
			return err
		}
		if err := u.q.cond.check(u.q.prev); err != nil {
			return err
		}
	}
	var err error
	if u.stream, err = e.payload.NewStream(u.ctx, payload.StreamOptions{SizeHint: hint, NoWait: e.opts.FailWhenBusy}); err != nil {
		return err
	}
	if !u.noHash || u.want != nil {
		u.hash = hashers.Get().(*blake3.Hasher)
		u.hash.Reset()
	}
	if u.small == nil {
		return nil
	}
	defer func() {
		u.small.Release()
		u.small = nil
	}()
	return u.more(u.small.B)
}

var hashers = sync.Pool{New: func() any { return blake3.New() }}

// more streams p.
func (u *upload) more(p []byte) error {
	if err := u.fits(u.object.Size + int64(len(p))); err != nil {
		return err
	}
	u.object.Size += int64(len(p))
	if u.hash != nil {
		_, _ = u.hash.Write(p) // never fails
	}
	_, err := u.stream.Write(p)
	return err
}

// finish ends the bytes: on nil those of a stream are durable and the request
// can be committed.
func (u *upload) finish() error {
	o := &u.object
	if u.stream == nil {
		p := u.borrowed
		if u.small != nil {
			p = u.small.B
		}
		o.Size, o.Hash, o.Packed = int64(len(p)), blake3.Sum256(p), len(p) > 0
		u.q.payload = p
	} else if o.HasHash = u.hash != nil; o.HasHash {
		u.hash.Sum(o.Hash[:0])
	}
	if u.size >= 0 && u.size != o.Size {
		return fmt.Errorf("%w: %d bytes, %d expected", ErrSize, o.Size, u.size)
	}
	if u.want != nil && o.HasHash && *u.want != Hash(o.Hash) {
		return fmt.Errorf("%w: %s, %s expected", ErrHash, Hash(o.Hash), u.want)
	}
	if u.stream == nil {
		return nil
	}
	var err error
	if o.Extents, u.q.segments, err = u.stream.Finish(); err != nil {
		return err
	}
	u.q.stream = u.stream
	return nil
}

// commit ends the upload and waits for the outcome.
func (u *upload) commit(ctx context.Context) (*ObjectInfo, error) {
	if err := u.finish(); err != nil {
		return nil, err
	}
	return u.done(u.b.e.change(ctx, &u.q))
}

// send ends the upload and queues it. After nil, the slot is the request's.
func (u *upload) send(ctx context.Context) error {
	if err := u.finish(); err != nil {
		return err
	}
	if err := u.b.e.changeAsync(ctx, &u.q); err != nil {
		u.q.async = false
		u.b.e.drop(&u.q)
		return err
	}
	u.slot = false
	return nil
}

// wait waits for the outcome of what was sent.
func (u *upload) wait(ctx context.Context) (*ObjectInfo, error) {
	if !u.ended {
		u.ended = true
		u.info, u.err = u.done(u.b.e.wait(ctx, &u.q))
		u.close()
	}
	return u.info, u.err
}

// done describes the outcome err of the commit.
func (u *upload) done(err error) (*ObjectInfo, error) {
	e := u.b.e
	if err != nil {
		e.drop(&u.q)
		return nil, err
	}
	info := &ObjectInfo{Survives: e.survives(&u.q)}
	v := &meta.Version{ID: u.q.id, Modified: u.q.when, Object: u.object}
	return info, describeFully(info, u.b.name, u.q.record.Key, v)
}

// close gives back what the upload holds, and ends a stream that did not
// finish.
func (u *upload) close() {
	if u.stream != nil {
		u.stream.Abort()
		u.stream = nil
	}
	if u.hash != nil {
		hashers.Put(u.hash)
		u.hash = nil
	}
	if u.small != nil {
		u.small.Release()
		u.small = nil
	}
	u.borrowed, u.q.payload = nil, nil
	if u.slot {
		u.slot = false
		u.b.e.unslot()
	}
}

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
