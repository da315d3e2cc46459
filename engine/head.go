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
	info := new(ObjectInfo)
	var v meta.Version
	if err := b.current(bucket, key, &v, info); err != nil {
		return nil, fail("head", b.name, key, err)
	}
	b.e.metrics.heads.Add(1)
	return info, nil
}

// current reads the current version of key into v, without its metadata, and
// what describes it into info.
func (b *Bucket) current(bucket meta.Bucket, key string, v *meta.Version, info *ObjectInfo) error {
	if err := meta.CheckKey(key); err != nil {
		return err
	}
	scratch := scratches.Get().(*[]byte)
	defer scratches.Put(scratch)
	err := b.e.head(bucket.ID, key, *scratch, v)
	if errors.Is(err, meta.ErrNoEntry) {
		return ErrNotFound
	}
	if err != nil {
		return err
	}
	err = describeFully(info, b.name, key, v)
	v.Metadata, v.Tags, v.Unknown = nil, nil, nil // they alias scratch
	return err
}

// scratches holds room for a key and its entry; longer ones are allocated.
var scratches = sync.Pool{New: func() any { b := make([]byte, 0, 1<<10); return &b }}
