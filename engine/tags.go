package engine

import (
	"context"

	"github.com/cairnstore/cairn/meta"
)

// PutTags replaces the tags of key's current version; ErrNotFound if there is
// none. The version, its id and its modification time stay. Limits are those of
// PutOptions.Tags (ErrTags). Durable when it returns nil.
func (b *Bucket) PutTags(ctx context.Context, key string, tags map[string]string, opts *TagOptions) error {
	bucket, err := b.open(ctx, "put tags", key)
	if err != nil {
		return err
	}
	defer b.e.end()
	return fail("put tags", b.name, key, b.putTags(ctx, bucket, key, tags, opts))
}

// TagOptions say what must hold for PutTags and DeleteTags. Nil means nothing.
type TagOptions struct {
	// If must hold when the change is committed.
	If *Conditions
}

func (b *Bucket) putTags(ctx context.Context, bucket meta.Bucket, key string, tags map[string]string, opts *TagOptions) error {
	if err := meta.CheckKey(key); err != nil {
		return err
	}
	block, err := meta.AppendTags(nil, tags)
	if err != nil {
		return err
	}
	q := &request{record: meta.Record{Kind: meta.KindTags, Bucket: bucket.ID, Key: key, Tags: block}}
	if opts != nil {
		q.cond = opts.If
	}
	if err := q.cond.compile(); err != nil {
		return err
	}
	if err := b.e.slot(ctx); err != nil {
		return err
	}
	defer b.e.unslot()
	return b.e.change(ctx, q)
}

// Tags returns the tags of key's current version, nil if it has none;
// ErrNotFound if there is no version.
func (b *Bucket) Tags(ctx context.Context, key string) (map[string]string, error) {
	info, err := b.Head(ctx, key, nil)
	if err != nil {
		return nil, err
	}
	return info.Tags, nil
}

// DeleteTags removes all tags of key's current version, like PutTags with none.
func (b *Bucket) DeleteTags(ctx context.Context, key string, opts *TagOptions) error {
	return b.PutTags(ctx, key, nil, opts)
}
