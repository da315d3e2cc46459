package engine

import (
	"context"

	"github.com/cairnstore/cairn/meta"
)

// DeleteOptions are the options of Delete. There are none yet; nil is fine.
type DeleteOptions struct{}

// DeleteResult says what Delete did.
type DeleteResult struct {
	Existed   bool   // the key had a current version
	VersionID string // of the version that was deleted, if Existed
}

// Delete deletes the current version of key; durable when it returns nil. A key
// that does not exist is no error, as in S3.
func (b *Bucket) Delete(ctx context.Context, key string, opts *DeleteOptions) (*DeleteResult, error) {
	bucket, err := b.open(ctx, "delete", key)
	if err != nil {
		return nil, err
	}
	defer b.e.end()
	if err := meta.CheckKey(key); err != nil {
		return nil, fail("delete", b.name, key, err)
	}
	q := &request{record: meta.Record{Kind: meta.KindDelete, Bucket: bucket.ID, Key: key}}
	if err := b.e.change(ctx, q); err != nil {
		return nil, fail("delete", b.name, key, err)
	}
	b.e.metrics.deletes.Add(1)
	res := &DeleteResult{}
	if q.replaced != nil {
		res.Existed, res.VersionID = true, q.replaced.ID.String()
	}
	return res, nil
}
