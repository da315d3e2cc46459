package engine

import (
	"context"
	"time"

	"github.com/cairnstore/cairn/meta"
)

// BucketInfo describes a bucket. Objects and Bytes are exact: the current
// objects and the sum of their sizes.
type BucketInfo struct {
	Name    string
	Created time.Time
	Objects int64
	Bytes   int64
}

// Bucket is a handle on a bucket by name. Making one costs nothing and says
// nothing about whether the bucket exists; its methods return ErrNoBucket.
type Bucket struct {
	e    *Engine
	name string
}

// Bucket returns the handle of the bucket called name.
func (e *Engine) Bucket(name string) *Bucket { return &Bucket{e: e, name: name} }

// Name returns the bucket's name.
func (b *Bucket) Name() string { return b.name }

// CreateBucket makes a bucket; durable when it returns nil. Names follow S3's
// rules for general purpose buckets (ErrBucketName); a name in use is
// ErrBucketExists.
func (e *Engine) CreateBucket(ctx context.Context, name string) error {
	if err := e.begin(ctx); err != nil {
		return fail("create bucket", name, "", err)
	}
	defer e.end()
	if err := meta.CheckBucketName(name); err != nil {
		return fail("create bucket", name, "", err)
	}
	r := &request{record: meta.Record{Kind: meta.KindCreateBucket, Name: name}}
	return fail("create bucket", name, "", e.submitSlot(ctx, r))
}

// DeleteBucket deletes an empty bucket; durable when it returns nil. A bucket
// with objects is ErrBucketNotEmpty.
func (e *Engine) DeleteBucket(ctx context.Context, name string) error {
	if err := e.begin(ctx); err != nil {
		return fail("delete bucket", name, "", err)
	}
	defer e.end()
	b, ok := e.state.Bucket(name)
	if !ok {
		return fail("delete bucket", name, "", ErrNoBucket)
	}
	r := &request{record: meta.Record{Kind: meta.KindDeleteBucket, Bucket: b.ID}}
	return fail("delete bucket", name, "", e.submitSlot(ctx, r))
}

// Buckets returns all buckets in the order of their names.
func (e *Engine) Buckets(ctx context.Context) ([]BucketInfo, error) {
	if err := e.begin(ctx); err != nil {
		return nil, fail("list buckets", "", "", err)
	}
	defer e.end()
	all := e.state.Buckets()
	infos := make([]BucketInfo, len(all))
	for i, b := range all {
		infos[i] = BucketInfo{Name: b.Name, Created: timeOf(b.Created), Objects: b.Usage.Objects, Bytes: b.Usage.Bytes}
	}
	return infos, nil
}

// open admits a call on the bucket; b.e.end must be called if it returns nil.
func (b *Bucket) open(ctx context.Context, op, key string) (meta.Bucket, error) {
	if err := b.e.begin(ctx); err != nil {
		return meta.Bucket{}, fail(op, b.name, key, err)
	}
	found, ok := b.e.state.Bucket(b.name)
	if !ok {
		b.e.end()
		return meta.Bucket{}, fail(op, b.name, key, ErrNoBucket)
	}
	return found, nil
}
