package engine

import (
	"context"
	"encoding/base64"
	"fmt"
	"iter"

	"github.com/cairnstore/cairn/meta"
)

// ListOptions say what to list. Nil means everything.
type ListOptions struct {
	Prefix string // keys that begin with it
	// Delimiter, if not empty, rolls keys up into common prefixes: all that
	// are equal up to and with its first occurrence after Prefix.
	Delimiter string
	// StartAfter leaves out keys up to and with it; if it is a common prefix of
	// the listing, all keys that this stands for.
	StartAfter string
}

// ListPageOptions say which page of a listing to return.
type ListPageOptions struct {
	ListOptions
	Token string // of the page before; empty: the first page
	Limit int    // keys and common prefixes, at most 1000; 0: 1000
}

// ListPage is a page of a listing.
type ListPage struct {
	Objects []*ObjectInfo // keys and common prefixes (IsPrefix), in byte order
	Token   string        // of the next page; empty: this is the last one
}

// MaxListLimit is the most entries of a page.
const MaxListLimit = 1000

// List lists the bucket's objects and common prefixes in byte order. It yields
// at most one error, last, beside a nil pointer. The listing is read in pages,
// each as of one moment: what was there before it began and stays is listed
// exactly once.
func (b *Bucket) List(ctx context.Context, opts *ListOptions) iter.Seq2[*ObjectInfo, error] {
	return func(yield func(*ObjectInfo, error) bool) {
		q := ListPageOptions{}
		if opts != nil {
			q.ListOptions = *opts
		}
		for {
			page, err := b.ListPage(ctx, &q)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, o := range page.Objects {
				if !yield(o, nil) {
					return
				}
			}
			if page.Token == "" {
				return
			}
			q.Token = page.Token
		}
	}
}

// ListPage returns one page of a listing. It visits one entry of the index for
// each that it returns and one more, however many keys lie below a common
// prefix. A token that is none is ErrToken.
func (b *Bucket) ListPage(ctx context.Context, opts *ListPageOptions) (*ListPage, error) {
	bucket, err := b.open(ctx, "list", "")
	if err != nil {
		return nil, err
	}
	defer b.e.end()
	if opts == nil {
		opts = &ListPageOptions{}
	}
	q := meta.ListQuery{Bucket: bucket.ID, Prefix: opts.Prefix, Delimiter: opts.Delimiter, After: opts.StartAfter, Limit: opts.Limit}
	if q.Limit <= 0 || q.Limit > MaxListLimit {
		q.Limit = MaxListLimit
	}
	if opts.Token != "" {
		cursor, err := base64.RawURLEncoding.DecodeString(opts.Token)
		if err != nil || len(cursor) == 0 {
			return nil, fail("list", b.name, "", fmt.Errorf("%w: %.80q", ErrToken, opts.Token))
		}
		q.Cursor = string(cursor)
	}
	var found *meta.ListPage
	err = b.e.read(func(r meta.Reader) (err error) {
		found, err = meta.List(r, q)
		return err
	})
	if err != nil {
		return nil, fail("list", b.name, "", err)
	}
	b.e.metrics.lists.Add(1)
	page := &ListPage{Objects: make([]*ObjectInfo, len(found.Entries))}
	infos := make([]ObjectInfo, len(found.Entries))
	for i := range found.Entries {
		f := &found.Entries[i]
		page.Objects[i] = &infos[i]
		if f.Prefix != "" {
			infos[i] = ObjectInfo{Bucket: b.name, Key: f.Prefix, IsPrefix: true}
		} else {
			describe(&infos[i], b.name, f.Key, f.Version)
		}
	}
	if found.More {
		page.Token = base64.RawURLEncoding.EncodeToString([]byte(found.Next))
	}
	return page, nil
}
