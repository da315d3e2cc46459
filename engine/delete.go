package engine

import (
	"context"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/cairnstore/cairn/meta"
)

// DeleteOptions say what must hold for a delete. Nil means nothing.
type DeleteOptions struct {
	// If must hold when the delete is committed.
	If *Conditions
}

// DeleteResult says what a delete did.
type DeleteResult struct {
	Key       string
	Existed   bool   // the key had a current version
	VersionID string // of the version that was deleted, if Existed
	Err       error  // DeleteMany: why this key was not deleted
}

// Delete deletes the current version of key; durable when it returns nil. A key
// that does not exist is no error, as in S3, unless a condition asks for it.
func (b *Bucket) Delete(ctx context.Context, key string, opts *DeleteOptions) (*DeleteResult, error) {
	bucket, err := b.open(ctx, "delete", key)
	if err != nil {
		return nil, err
	}
	defer b.e.end()
	var cond *Conditions
	if opts != nil {
		cond = opts.If
	}
	q, err := deletion(bucket, key, cond)
	if err == nil {
		err = b.e.slot(ctx)
	}
	if err == nil {
		defer b.e.unslot()
		err = b.e.change(ctx, q)
	}
	if err != nil {
		return nil, fail("delete", b.name, key, err)
	}
	res := q.result()
	return &res, nil
}

func deletion(bucket meta.Bucket, key string, cond *Conditions) (*request, error) {
	if err := meta.CheckKey(key); err != nil {
		return nil, err
	}
	if err := cond.compile(); err != nil {
		return nil, err
	}
	return &request{record: meta.Record{Kind: meta.KindDelete, Bucket: bucket.ID, Key: key}, cond: cond}, nil
}

func (q *request) result() DeleteResult {
	res := DeleteResult{Key: q.record.Key}
	if !q.replaced.IsZero() {
		res.Existed, res.VersionID = true, q.replaced.String()
	}
	return res
}

// DeleteItem is one key to delete.
type DeleteItem struct {
	Key string
	If  *Conditions // nil: none
}

// DeleteMany deletes many keys, which share fdatasyncs. Each is deleted or not
// on its own: the results, in the order of the items, say which, those that are
// nil in Err being durable. The error is that of the whole call; when a done ctx
// ends it, the results say what had been done.
func (b *Bucket) DeleteMany(ctx context.Context, items []DeleteItem) ([]DeleteResult, error) {
	bucket, err := b.open(ctx, "delete", "")
	if err != nil {
		return nil, err
	}
	defer b.e.end()
	results := make([]DeleteResult, len(items))
	sent := make([]*request, len(items))
	var ended error // why no more is sent
	waited := 0     // the items before it have their outcome
	wait := func() {
		i := waited
		waited++
		if sent[i] == nil {
			return
		}
		err := b.e.wait(ctx, sent[i])
		if err == nil {
			results[i] = sent[i].result()
			return
		}
		results[i].Err = fail("delete", b.name, items[i].Key, err)
		if endedBy(ctx, err) {
			ended = err
		}
	}
	for i, item := range items {
		results[i].Key = item.Key
		err := ended
		if err == nil {
			sent[i], err = b.deleteAsync(ctx, bucket, item)
		}
		for errors.Is(err, ErrBusy) && waited < i {
			wait() // it may be the call itself that fills the queue
			sent[i], err = b.deleteAsync(ctx, bucket, item)
		}
		if endedBy(ctx, err) {
			ended = err
		}
		results[i].Err = fail("delete", b.name, item.Key, err)
	}
	for waited < len(items) {
		wait()
	}
	return results, fail("delete", b.name, "", ended)
}

// deleteAsync queues one delete; nil if it failed.
func (b *Bucket) deleteAsync(ctx context.Context, bucket meta.Bucket, item DeleteItem) (*request, error) {
	q, err := deletion(bucket, item.Key, item.If)
	if err != nil {
		return nil, err
	}
	if err := b.e.slot(ctx); err != nil {
		return nil, err
	}
	if err := b.e.changeAsync(ctx, q); err != nil {
		b.e.unslot()
		return nil, err
	}
	return q, nil
}

// DeletePrefixResult says what DeletePrefix deleted.
type DeletePrefixResult struct {
	Objects int64
	Bytes   int64
}

// DeletePrefix deletes the current versions of all keys that begin with prefix,
// as one commit: everybody sees all of them or none, also after a crash. An empty
// prefix empties the bucket. It is one record of the log, however many keys
// there are; while a very large one is applied, readers see the state before it
// and other mutations wait. More than Options.MaxTransactionKeys keys are
// ErrTooManyKeys, and nothing is deleted.
func (b *Bucket) DeletePrefix(ctx context.Context, prefix string) (*DeletePrefixResult, error) {
	bucket, err := b.open(ctx, "delete prefix", prefix)
	if err != nil {
		return nil, err
	}
	defer b.e.end()
	res, err := b.deletePrefix(ctx, bucket, prefix)
	return res, fail("delete prefix", b.name, prefix, err)
}

func (b *Bucket) deletePrefix(ctx context.Context, bucket meta.Bucket, prefix string) (*DeletePrefixResult, error) {
	e := b.e
	if len(prefix) > meta.MaxKey || !utf8.ValidString(prefix) {
		return nil, fmt.Errorf("%w: prefix of %d bytes", ErrKey, len(prefix))
	}
	if err := e.slot(ctx); err != nil {
		return nil, err
	}
	defer e.unslot()
	if limit := e.opts.MaxTransactionKeys; bucket.Usage.Objects > limit {
		// A limit of memory and time, not of meaning: keys that come meanwhile
		// are deleted with the others.
		var n int64
		err := e.read(func(r meta.Reader) (err error) {
			n, err = meta.CountPrefix(r, bucket.ID, prefix, limit)
			return err
		})
		if err != nil {
			return nil, err
		}
		if n > limit {
			return nil, fmt.Errorf("%w: more than %d below %.80q", ErrTooManyKeys, limit, prefix)
		}
	}
	q := &request{record: meta.Record{Kind: meta.KindDeletePrefix, Bucket: bucket.ID, Prefix: prefix}}
	if err := e.submit(ctx, q); err != nil {
		return nil, err
	}
	return &DeletePrefixResult{Objects: q.deleted.Objects, Bytes: q.deleted.Bytes}, nil
}
