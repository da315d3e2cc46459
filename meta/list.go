package meta

import (
	"errors"
	"slices"
	"strings"
)

// DefaultLimit is the size of a page whose query sets none.
const DefaultLimit = 1000

// ListQuery says which keys of a bucket to list.
type ListQuery struct {
	Bucket uint64
	// Prefix keeps to the keys that begin with it.
	Prefix string
	// Delimiter, if not empty, rolls all keys up into one common prefix that
	// are equal up to and with its first occurrence after Prefix.
	Delimiter string
	// After leaves out all keys up to and with it. A common prefix is there if
	// a key beyond After rolls up into it.
	After string
	// Cursor is Next of the page before. Opaque; not necessarily UTF-8.
	Cursor string
	// Limit is the most entries of the page; 0 is DefaultLimit.
	Limit int
}

// ListEntry is a key with its current version, or a common prefix.
type ListEntry struct {
	Key     string
	Version *Version
	Prefix  string // set for a common prefix; then Key is empty and Version nil
}

// ListPage is a part of a listing: keys and common prefixes in one byte order.
type ListPage struct {
	Entries []ListEntry
	Next    string // where the next page begins, if More
	More    bool
}

// List returns the page that q asks for, as the index is now. Each common
// prefix appears once in all the pages of a listing.
//
// A page visits one entry of the index for each entry that it returns and one
// more, however many keys lie below a common prefix: they are skipped by one
// seek.
func List(r Reader, q ListQuery) (page *ListPage, err error) {
	limit := q.Limit
	if limit <= 0 {
		limit = DefaultLimit
	}
	lower, upper := q.bounds()
	it, err := r.NewIter(lower, upper)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err = errors.Join(err, it.Close()); err != nil {
			page = nil
		}
	}()

	page = &ListPage{Entries: make([]ListEntry, 0, min(limit, DefaultLimit))}
	var slab []Version // versions are made a few dozen at a time
	for found := it.SeekGE(lower); found; {
		_, key, err := DecodeHeadKey(it.Key())
		if err != nil {
			return nil, err
		}
		common := q.commonPrefix(key)
		if len(page.Entries) == limit {
			page.More = true
			page.Next = key
			if common != "" {
				page.Next = common
			}
			break
		}
		if common != "" {
			page.Entries = append(page.Entries, ListEntry{Prefix: common})
			// The prefix of keys is not empty and its last byte, which is part
			// of a key, not 0xFF: there is a successor.
			lower = successor(AppendHeadKey(lower[:0], q.Bucket, common))
			found = it.SeekGE(lower)
			continue
		}
		if len(slab) == 0 {
			slab = make([]Version, min(32, limit-len(page.Entries)))
		}
		v := &slab[0]
		slab = slab[1:]
		if err := readVersion(it, v); err != nil {
			return nil, err
		}
		page.Entries = append(page.Entries, ListEntry{Key: key, Version: v})
		found = it.Next()
	}
	return page, it.Error()
}

// bounds returns the index keys between which the page lies.
func (q *ListQuery) bounds() (lower, upper []byte) {
	from := max(q.Prefix, q.Cursor)
	if q.After != "" {
		from = max(from, q.After+"\x00") // the least string beyond After
	}
	lower = AppendHeadKey(nil, q.Bucket, from)
	return lower, successor(AppendHeadKey(nil, q.Bucket, q.Prefix))
}

// commonPrefix returns the common prefix that key rolls up into, "" if none.
func (q *ListQuery) commonPrefix(key string) string {
	if q.Delimiter == "" {
		return ""
	}
	i := strings.Index(key[len(q.Prefix):], q.Delimiter)
	if i < 0 {
		return ""
	}
	return key[:len(q.Prefix)+i+len(q.Delimiter)]
}

// readVersion reads the version under an iterator into v, which must be zero,
// and keeps nothing of the iterator's.
func readVersion(it Iterator, v *Version) error {
	value, err := it.Value()
	if err != nil {
		return err
	}
	if err := decodeVersion(v, value); err != nil {
		return err
	}
	v.Metadata = slices.Clone(v.Metadata)
	v.Unknown = slices.Clone(v.Unknown)
	return nil
}
