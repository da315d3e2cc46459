package meta

import (
	"bytes"
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
	// a key beyond After rolls up into it, unless After is that common prefix:
	// then all of it is left out, as S3 does with a marker that it returned.
	After string
	// Cursor is Next of the page before. Opaque; not necessarily UTF-8.
	Cursor string
	// Limit is the most entries of the page; 0 is DefaultLimit.
	Limit int
	// Metadata asks for the versions' Metadata, Tags and Unknown, which are nil
	// else.
	Metadata bool
}

// ListEntry is a key with its current version, or a common prefix.
type ListEntry struct {
	Key     string
	Version *Version
	Prefix  string // set for a common prefix; then Key is empty and Version nil
}

// ListPage is a part of a listing: keys and common prefixes in one byte order.
// Its entries share memory: a string or a version that is kept keeps some tens
// of KiB of the page with it.
type ListPage struct {
	Entries []ListEntry
	Next    string // where the next page begins, if More
	More    bool

	slabs [][]Version // what the entries' versions lie in
}

// List returns the page that q asks for, as the index is now. Each common
// prefix appears once in all the pages of a listing.
//
// A page visits one entry of the index for each entry that it returns and one
// more, however many keys lie below a common prefix: they are skipped by one
// seek. It allocates a few dozen times, whatever the number of keys.
func List(r Reader, q ListQuery) (*ListPage, error) {
	page := new(ListPage)
	if err := ListInto(r, q, page); err != nil {
		return nil, err
	}
	return page, nil
}

// ListInto is List into a page that may have been used before: its entries and
// their versions are overwritten, so that nothing may refer to them any more.
// Strings of theirs stay what they are. After an error the page has no entries.
func ListInto(r Reader, q ListQuery, page *ListPage) (err error) {
	limit := q.Limit
	if limit <= 0 {
		limit = DefaultLimit
	}
	*page = ListPage{Entries: page.Entries[:0], slabs: page.slabs}
	lower, upper := q.bounds()
	it, err := r.NewIter(lower, upper)
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, it.Close()); err != nil {
			*page = ListPage{Entries: page.Entries[:0], slabs: page.slabs}
		}
	}()

	l := lister{q: &q, delimiter: []byte(q.Delimiter), page: page}
	for found := it.SeekGE(lower); found; {
		key, err := headKeyIn(it.Key(), q.Bucket)
		if err != nil {
			return err
		}
		common := l.commonPrefix(key)
		if len(page.Entries) == limit {
			page.More = true
			page.Next = string(key)
			if common != nil {
				page.Next = string(common)
			}
			break
		}
		if len(page.Entries) == cap(page.Entries) {
			// A short listing stays small, a full page moves but twice.
			page.Entries = slices.Grow(page.Entries, min(limit, max(32, 7*cap(page.Entries)))-len(page.Entries))
		}
		if common != nil {
			page.Entries = append(page.Entries, ListEntry{Prefix: l.text.keep(common)})
			// The prefix of keys is not empty and its last byte, which is part
			// of a key, not 0xFF: there is a successor.
			lower = successor(append(lower[:headKeyStart], common...))
			found = it.SeekGE(lower)
			continue
		}
		e := ListEntry{Key: l.text.keep(key)}
		if e.Version, err = l.version(it, limit-len(page.Entries)); err != nil {
			return err
		}
		page.Entries = append(page.Entries, e)
		found = it.Next()
	}
	return it.Error()
}

// bounds returns the index keys between which the page lies.
func (q *ListQuery) bounds() (lower, upper []byte) {
	lower = AppendHeadKey(nil, q.Bucket, max(q.Prefix, q.Cursor))
	if q.After != "" {
		after := AppendHeadKey(nil, q.Bucket, q.After)
		if q.afterIsCommon() {
			after = successor(after)
		} else {
			after = append(after, 0) // the least key beyond After
		}
		if bytes.Compare(after, lower) > 0 {
			lower = after
		}
	}
	return lower, successor(AppendHeadKey(nil, q.Bucket, q.Prefix))
}

// afterIsCommon reports whether After is a common prefix of this listing.
func (q *ListQuery) afterIsCommon() bool {
	rest, ok := strings.CutPrefix(q.After, q.Prefix)
	if !ok || q.Delimiter == "" {
		return false
	}
	i := strings.Index(rest, q.Delimiter)
	return i >= 0 && i+len(q.Delimiter) == len(rest)
}

// lister holds what the entries of a page share.
type lister struct {
	q         *ListQuery
	delimiter []byte
	text      text
	page      *ListPage
	slab      []Version // room for the next versions
	slabs     int       // of the page that are in use
	like      *Headers  // of the last version
}

// commonPrefix returns the part of key that it rolls up into, nil if it does
// not.
func (l *lister) commonPrefix(key []byte) []byte {
	if len(l.delimiter) == 0 {
		return nil
	}
	i := bytes.Index(key[len(l.q.Prefix):], l.delimiter)
	if i < 0 {
		return nil
	}
	return key[:len(l.q.Prefix)+i+len(l.delimiter)]
}

// version reads the version under an iterator, and keeps nothing of the
// iterator's. At most left more are asked for, this one included.
func (l *lister) version(it Iterator, left int) (*Version, error) {
	value, err := it.Value()
	if err != nil {
		return nil, err
	}
	if len(l.slab) == 0 {
		if l.slabs == len(l.page.slabs) {
			// A short listing stays small, a long one allocates seldom.
			l.page.slabs = append(l.page.slabs, make([]Version, min(left, 4<<min(l.slabs, 4))))
		}
		l.slab = l.page.slabs[l.slabs]
		l.slabs++
	}
	v := &l.slab[0]
	l.slab = l.slab[1:]
	*v = Version{}
	d := decoder{b: value, skim: !l.q.Metadata, text: &l.text, like: l.like}
	if err := d.version(v); err != nil {
		return nil, err
	}
	l.like = &v.Headers
	v.Metadata, v.Tags, v.Unknown = slices.Clone(v.Metadata), slices.Clone(v.Tags), slices.Clone(v.Unknown)
	return v, nil
}
