package engine

import (
	"context"
	"errors"
	"sync"

	"github.com/cairnstore/cairn/meta"
)

// HeadOptions are the options of Head. There are none yet; nil is fine.
type HeadOptions struct{}

// Head describes the current version of key, ErrNotFound if there is none. It
// costs one look-up in the index and reads no disk of the pool.
func (b *Bucket) Head(ctx context.Context, key string, opts *HeadOptions) (*ObjectInfo, error) {
	bucket, err := b.open(ctx, "head", key)
	if err != nil {
		return nil, err
	}
	defer b.e.end()
	_, info, err := b.current(bucket, key)
	if err != nil {
		return nil, fail("head", b.name, key, err)
	}
	b.e.metrics.heads.Add(1)
	return info, nil
}

// current returns the current version of key, without its metadata, and what
// describes it.
func (b *Bucket) current(bucket meta.Bucket, key string) (*meta.Version, *ObjectInfo, error) {
	if err := meta.CheckKey(key); err != nil {
		return nil, nil, err
	}
	scratch := scratches.Get().(*[]byte)
	defer scratches.Put(scratch)
	v, err := meta.HeadOf(b.e.index, bucket.ID, key, *scratch)
	if errors.Is(err, meta.ErrNoEntry) {
		return nil, nil, ErrNotFound
	}
	if err != nil {
		return nil, nil, err
	}
	info, err := fullInfoOf(b.name, key, v)
	v.Metadata, v.Unknown = nil, nil // they alias scratch
	return v, info, err
}

// scratches holds room for a key and its entry; longer ones are allocated.
var scratches = sync.Pool{New: func() any { b := make([]byte, 0, 1<<10); return &b }}
