package fuzz

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/zeebo/blake3"

	"github.com/cairnstore/cairn/engine"
)

// value is a version of an object. It never changes, but for what the store
// gives it, which is filled in once it is known.
type value struct {
	data []byte
	hash engine.Hash
	opts engine.PutOptions // metadata, tags, headers, etag and whether there is a hash

	version  string
	modified time.Time
}

func newValue(seed uint64, size int) *value {
	p := content(seed, size)
	return &value{data: p, hash: blake3.Sum256(p)}
}

// etag returns the entity tag; the version must be known.
func (v *value) etag() string {
	switch {
	case v.opts.ETag != "":
		return v.opts.ETag
	case v.hashed():
		return v.hash.String()
	default:
		return v.version
	}
}

func (v *value) hashed() bool {
	return !v.opts.NoHash || v.opts.Hash != nil || len(v.data) <= engine.PackMax
}

// bucket is what a bucket holds.
type bucket struct {
	keys map[string]*value
	note string // a tag of the bucket's own
}

// twin is what a store must hold: buckets by name.
type twin map[string]*bucket

// at returns the value of a key, nil for none.
func (w twin) at(name, key string) *value {
	if w[name] == nil {
		return nil
	}
	return w[name].keys[key]
}

// clone returns a copy that shares the values.
func (w twin) clone() twin {
	c := make(twin, len(w))
	for name, b := range w {
		c[name] = &bucket{maps.Clone(b.keys), b.note}
	}
	return c
}

// mutation is one change of a store.
type mutation struct {
	text  string
	want  func(twin) error // what it must fail with; nil: it must succeed
	apply func(twin)       // what it does if so
	wrong error            // want, where the content is not as announced
	// certain marks one among mutations in doubt that is known to have happened.
	certain bool
}

// do makes the change, if it does not fail.
func (m *mutation) do(w twin) {
	if m.want(w) == nil {
		m.apply(w)
	}
}

// possible returns what the store may hold if only some of doubts happened, in
// their order, all of one or nothing of it.
func (w twin) possible(doubts []mutation) []twin {
	all := []twin{w.clone()}
	for _, m := range doubts {
		var next []twin
		for _, c := range all {
			if !m.certain {
				next = append(next, c.clone())
			}
			m.do(c)
			next = append(next, c)
		}
		all = next
	}
	return all
}

// listing is what to list.
type listing struct{ prefix, delimiter, after string }

// list returns keys and common prefixes (which end in the delimiter and are
// marked by a true) in order.
func (b *bucket) list(l listing) (names []string, prefixes []bool) {
	for _, key := range slices.Sorted(maps.Keys(b.keys)) {
		if !strings.HasPrefix(key, l.prefix) || key <= l.after {
			continue
		}
		name, rolled := key, false
		if l.delimiter != "" {
			if i := strings.Index(key[len(l.prefix):], l.delimiter); i >= 0 {
				name, rolled = key[:len(l.prefix)+i+len(l.delimiter)], true
			}
		}
		// A listing that goes on behind a common prefix skips all below it.
		if rolled && name == l.after {
			continue
		}
		if n := len(names); n > 0 && rolled && names[n-1] == name && prefixes[n-1] {
			continue
		}
		names, prefixes = append(names, name), append(prefixes, rolled)
	}
	return names, prefixes
}
