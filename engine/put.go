package engine

import (
	"context"
	"io"

	"github.com/cairnstore/cairn/erasure"
	"github.com/cairnstore/cairn/meta"
)

// Headers are the standard HTTP headers that an object is stored with and given
// back with. The engine does not interpret them. Together they are at most 64
// KiB, valid UTF-8 without control characters (ErrMetadata).
type Headers struct {
	ContentType        string
	CacheControl       string
	ContentEncoding    string
	ContentDisposition string
	ContentLanguage    string
	Expires            string
}

// PutOptions are the properties of a new object, and what must hold for it to
// be stored. Nil means none.
type PutOptions struct {
	Headers
	// Metadata is the user's, at most 64 KiB of keys and values (ErrMetadata).
	Metadata map[string]string
	// Tags are at most 10, with keys of 1-128 and values of up to 256
	// characters (ErrTags). They can be changed later, unlike the rest.
	Tags map[string]string
	// ETag is the entity tag, at most 128 bytes (ErrMetadata); empty: the
	// content hash in hexadecimal.
	ETag string

	// Size and Hash, if not nil, are what the content must have: else the put
	// fails with ErrSize or ErrHash. A known Size also saves buffering.
	Size *int64
	Hash *Hash
	// NoHash leaves out the BLAKE3 of the whole content, for objects larger
	// than PackMax: about a fifth of the CPU of a put. Each frame is verified
	// as ever; only a b3sum to compare with is missing. The ETag is then the
	// version id.
	NoHash bool

	// If must hold when the object is committed.
	If *Conditions
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
	return b.put(ctx, key, opts, func(u *upload) error { return u.readFrom(ctx, r) })
}

// PutBytes stores p as the current version of key, like Put. It does not keep
// p, which must not change until it returns.
func (b *Bucket) PutBytes(ctx context.Context, key string, p []byte, opts *PutOptions) (*ObjectInfo, error) {
	return b.put(ctx, key, opts, func(u *upload) error { return u.takeBytes(p) })
}

func (b *Bucket) put(ctx context.Context, key string, opts *PutOptions, fill func(*upload) error) (*ObjectInfo, error) {
	bucket, err := b.open(ctx, "put", key)
	if err != nil {
		return nil, err
	}
	defer b.e.end()
	info, err := func() (*ObjectInfo, error) {
		u, err := b.upload(ctx, bucket, key, opts)
		if err != nil {
			return nil, err
		}
		defer u.close()
		if err := fill(u); err != nil {
			return nil, err
		}
		return u.commit(ctx)
	}()
	return info, fail("put", b.name, key, err)
}

// Pending is a put that was begun by PutAsync.
type Pending struct {
	b *Bucket
	u *upload
}

// PutAsync stores p as the current version of key, like PutBytes, and returns
// when its turn is settled, before it is durable: so one goroutine can have
// many puts on their way, which share fdatasyncs. Puts of one key take effect
// in the order of their calls. p must not change until Wait has returned; opts
// may.
//
// At most Options.MaxQueue mutations are on their way; then PutAsync waits, or
// fails with ErrBusy. Objects larger than PackMax are streamed to the disks
// before it returns. A put whose Wait is never called is committed all the same.
func (b *Bucket) PutAsync(ctx context.Context, key string, p []byte, opts *PutOptions) (*Pending, error) {
	bucket, err := b.open(ctx, "put", key)
	if err != nil {
		return nil, err
	}
	defer b.e.end()
	u, err := b.upload(ctx, bucket, key, opts)
	if err != nil {
		return nil, fail("put", b.name, key, err)
	}
	u.async = true
	if err = u.takeBytes(p); err == nil {
		err = u.send(ctx)
	}
	if err != nil {
		u.close()
		return nil, fail("put", b.name, key, err)
	}
	return &Pending{b: b, u: u}, nil
}

// Wait returns what Put would: nil means durable and visible. A done ctx gives
// the put up if the committer has not taken it yet, and else is not heeded. It
// may be called again, not from several goroutines at once.
func (p *Pending) Wait(ctx context.Context) (*ObjectInfo, error) {
	info, err := p.u.wait(ctx)
	return info, fail("put", p.b.name, p.u.q.record.Key, err)
}

// Writer stores one object that is written to it piece by piece. One goroutine
// uses it at a time.
type Writer struct {
	b     *Bucket
	ctx   context.Context // of Create: it governs the writer until its end
	u     *upload
	err   error
	ended bool
}

// Create begins an object, which becomes the current version of key with
// Commit. Until then nobody sees it, and it leaves nothing if it is not
// committed. Commit or Abort must be called, also when ctx is done, which makes
// Write and Commit fail. It counts as a mutation that is under way (Options.MaxQueue). Nothing of
// opts is kept.
func (b *Bucket) Create(ctx context.Context, key string, opts *PutOptions) (*Writer, error) {
	bucket, err := b.open(ctx, "put", key)
	if err != nil {
		return nil, err
	}
	defer b.e.end()
	u, err := b.upload(ctx, bucket, key, opts)
	if err != nil {
		return nil, fail("put", b.name, key, err)
	}
	return &Writer{b: b, ctx: ctx, u: u}, nil
}

// Write takes p, which it does not keep. A nil error says nothing about
// durability. After an error the writer can only be aborted.
func (w *Writer) Write(p []byte) (int, error) {
	if w.ended {
		return 0, w.fail(ErrWriterEnded)
	}
	if w.err == nil {
		w.err = w.b.e.begin(w.ctx)
		if w.err == nil {
			defer w.b.e.end()
			w.err = w.u.write(p)
		}
	}
	if w.err != nil {
		return 0, w.fail(w.err)
	}
	return len(p), nil
}

// SetETag sets PutOptions.ETag, for those that know it only after the content.
func (w *Writer) SetETag(etag string) error {
	err := meta.CheckETag(etag)
	switch {
	case w.ended:
		err = ErrWriterEnded
	case err == nil:
		w.u.object.ETag = etag
	}
	return w.fail(err)
}

// Commit makes the object the current version of its key: durable and visible
// when it returns nil. An error means what it means for Put, and ends the writer
// too.
func (w *Writer) Commit() (*ObjectInfo, error) {
	if w.ended {
		return nil, w.fail(ErrWriterEnded)
	}
	defer w.Abort()
	if w.err != nil {
		return nil, w.fail(w.err)
	}
	if err := w.b.e.begin(w.ctx); err != nil {
		return nil, w.fail(err)
	}
	defer w.b.e.end()
	info, err := w.u.commit(w.ctx)
	return info, w.fail(err)
}

// Abort ends the writer with nothing stored. After Commit, or a second time, it
// does nothing.
func (w *Writer) Abort() {
	if !w.ended {
		w.ended = true
		w.u.close()
	}
}

func (w *Writer) fail(err error) error { return fail("put", w.b.name, w.u.q.record.Key, err) }

// survives returns how many more disks hold copies or parity beyond what is
// needed to read what a request stored.
func (e *Engine) survives(q *request) int {
	n := q.group.Survives
	for _, d := range q.segments {
		left := d.Geometry.Parity
		for _, id := range d.Disks {
			if _, live := e.log.Set().Disk(id); !live {
				left-- // dropped while it was written
			}
		}
		n = min(n, max(left, 0))
	}
	return n
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
