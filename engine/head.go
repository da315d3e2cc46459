package engine

import (
	"context"
	"errors"

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
	v, err := b.e.current(bucket, key)
	if err != nil {
		return nil, fail("head", b.name, key, err)
	}
	b.e.metrics.heads.Add(1)
	info, err := fullInfoOf(b.name, key, v)
	return info, fail("head", b.name, key, err)
}

// current returns the current version of key.
func (e *Engine) current(bucket meta.Bucket, key string) (*meta.Version, error) {
	if err := meta.CheckKey(key); err != nil {
		return nil, err
	}
	v, err := meta.HeadOf(e.index, bucket.ID, key, nil)
	if errors.Is(err, meta.ErrNoEntry) {
		return nil, ErrNotFound
	}
	return v, err
}
