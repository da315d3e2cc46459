package fuzz

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/cairnstore/cairn/engine"
)

// condition draws what must hold of a key, often nothing and often what does
// hold, and returns the error that w would have it fail with.
func (s *script) condition(name, key string) (*engine.Conditions, string, func(twin) error) {
	now := s.twin.at(name, key)
	right := s.tape.one(2)
	c := &engine.Conditions{}
	var holds func(v *value) bool // of a version that is there
	var absent bool               // whether it holds where none is
	var text string
	switch s.tape.n(12) {
	case 0:
		c.IfNoneMatch, absent, text = "*", true, ", if there is none"
		holds = func(*value) bool { return false }
	case 1:
		c.IfMatch, text = "*", ", if there is one"
		holds = func(*value) bool { return true }
	case 2:
		if c.IfMatch = "no such tag"; now != nil && right {
			c.IfMatch = now.etag()
		}
		holds = func(v *value) bool { return v.etag() == c.IfMatch }
		text = ", if-match"
	case 3:
		if c.IfNoneMatch = "no such tag"; now != nil && right {
			c.IfNoneMatch = now.etag()
		}
		absent, holds = true, func(v *value) bool { return v.etag() != c.IfNoneMatch }
		text = ", if-none-match"
	case 4:
		size := int64(1)
		if now != nil && right {
			size = int64(len(now.data))
		}
		c.IfSize, text = &size, ", if-size"
		holds = func(v *value) bool { return int64(len(v.data)) == size }
	case 5:
		if c.IfModified = time.Unix(1, 0); now != nil && right {
			c.IfModified = now.modified
		}
		holds = func(v *value) bool { return v.modified.Unix() == c.IfModified.Unix() }
		text = ", if-modified"
	case 6:
		if now == nil {
			return nil, "", func(twin) error { return nil }
		}
		c.IfVersion, text = now.version, ", if-version"
		holds = func(v *value) bool { return v.version == c.IfVersion }
	default:
		return nil, "", func(twin) error { return nil }
	}
	return c, text, func(w twin) error {
		v := w.at(name, key)
		if v == nil && !absent || v != nil && !holds(v) {
			return engine.ErrPrecondition
		}
		return nil
	}
}

// putting draws a put: the mutation, the value, and the options that make it.
func (s *script) putting(size int) (m mutation, name, key string, v *value, opts *engine.PutOptions) {
	name, key = s.bucket(), s.key()
	s.seed++
	v = newValue(s.seed, size)
	o := &v.opts
	switch s.tape.n(8) {
	case 0:
		o.Metadata = map[string]string{"seed": fmt.Sprint(s.seed), "k": strings.Repeat("m", s.tape.n(300))}
	case 1:
		o.Tags = map[string]string{"seed": fmt.Sprint(s.seed), "é": ""}
	case 2:
		o.ContentType, o.Expires = "text/plain", "never"
	case 3:
		o.ETag = fmt.Sprint("tag", s.seed)
	case 4:
		o.NoHash = true
	}
	cond, text, refuse := s.condition(name, key)
	opts = &engine.PutOptions{}
	*opts = *o
	opts.If = cond
	var wrong error
	switch s.tape.n(12) {
	case 0:
		n := int64(size)
		opts.Size = &n
	case 1:
		opts.Hash = &v.hash
		o.Hash = &v.hash // asked for by this, too
	case 2:
		n := int64(size) + 1
		opts.Size, wrong, text = &n, engine.ErrSize, text+", announced too long"
		opts.If, refuse = nil, func(twin) error { return nil }
	case 3:
		opts.Hash, wrong, text = &engine.Hash{1}, engine.ErrHash, text+", another hash announced"
		opts.If, refuse = nil, func(twin) error { return nil }
	}
	m = mutation{
		text: fmt.Sprintf("put %s/%.20q, %d bytes%s", name, key, size, text),
		want: func(w twin) error {
			if w[name] == nil {
				return engine.ErrNoBucket
			}
			if wrong != nil {
				return wrong
			}
			return refuse(w)
		},
		apply: func(w twin) { w[name].keys[key] = v },
		wrong: wrong,
	}
	return m, name, key, v, opts
}

func (s *script) put(size int) error {
	m, name, key, v, opts := s.putting(size)
	s.say("%s", m.text)
	var info *engine.ObjectInfo
	var err error
	if s.tape.one(2) {
		info, err = s.e.Bucket(name).PutBytes(context.Background(), key, v.data, opts)
	} else {
		// Of unknown length, in pieces.
		r := io.MultiReader(bytes.NewReader(v.data[:size/3]), bytes.NewReader(v.data[size/3:]))
		info, err = s.e.Bucket(name).Put(context.Background(), key, r, opts)
	}
	did, fault := s.did(m, err)
	if !did {
		return fault
	}
	v.note(info)
	return v.is(info)
}

// putMany has some puts on their way together, perhaps of one key.
func (s *script) putMany() error {
	ctx := context.Background()
	n := 2 + s.tape.n(4)
	ms, errs := make([]mutation, n), make([]error, n)
	values, pending := make([]*value, n), make([]*engine.Pending, n)
	for i := range n {
		size := s.smallSize()
		if s.tape.one(8) {
			size = s.largeSize()
		}
		var name, key string
		var opts *engine.PutOptions
		ms[i], name, key, values[i], opts = s.putting(size)
		s.say("async %d of %d: %s", i+1, n, ms[i].text)
		pending[i], errs[i] = s.e.Bucket(name).PutAsync(ctx, key, values[i].data, opts)
		if s.tape.one(8) {
			s.powerGoesSoon()
		}
	}
	infos := make([]*engine.ObjectInfo, n)
	for i, p := range pending {
		if p != nil {
			infos[i], errs[i] = p.Wait(ctx)
		}
	}
	did, fault := s.didAll(ms, errs)
	if fault != nil {
		return fault
	}
	for i := range ms {
		if did[i] {
			values[i].note(infos[i])
			if err := values[i].is(infos[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *script) delete() error {
	name, key := s.bucket(), s.key()
	old := s.twin.at(name, key)
	cond, text, refuse := s.condition(name, key)
	m := deletion(name, key, text, refuse)
	s.say("%s", m.text)
	res, err := s.e.Bucket(name).Delete(context.Background(), key, &engine.DeleteOptions{If: cond})
	did, fault := s.did(m, err)
	if did && (res.Existed != (old != nil) || old != nil && res.VersionID != old.version) {
		return fmt.Errorf("%s: %+v, though the twin had %v", m.text, res, old != nil)
	}
	return fault
}

func deletion(name, key, text string, refuse func(twin) error) mutation {
	return mutation{
		text: fmt.Sprintf("delete %s/%.20q%s", name, key, text),
		want: func(w twin) error {
			if w[name] == nil {
				return engine.ErrNoBucket
			}
			return refuse(w)
		},
		apply: func(w twin) { delete(w[name].keys, key) },
	}
}

func (s *script) deleteMany() error {
	name := s.bucket()
	n := 1 + s.tape.n(5)
	ms, errs, items := make([]mutation, n), make([]error, n), make([]engine.DeleteItem, n)
	for i := range n {
		key := s.key()
		cond, text, refuse := s.condition(name, key)
		ms[i], items[i] = deletion(name, key, text, refuse), engine.DeleteItem{Key: key, If: cond}
		s.say("many %d of %d: %s", i+1, n, ms[i].text)
	}
	results, err := s.e.Bucket(name).DeleteMany(context.Background(), items)
	for i := range n {
		if errs[i] = err; err == nil {
			errs[i] = results[i].Err
		}
	}
	_, fault := s.didAll(ms, errs)
	return fault
}

func (s *script) deletePrefix() error {
	name, prefix := s.bucket(), prefixNames[s.tape.n(len(prefixNames))]
	m := mutation{
		text: fmt.Sprintf("delete all of %s that begins with %.20q", name, prefix),
		want: exists(name),
		apply: func(w twin) {
			for key := range w[name].keys {
				if strings.HasPrefix(key, prefix) {
					delete(w[name].keys, key)
				}
			}
		},
	}
	s.say("%s", m.text)
	before := s.twin.clone()
	res, err := s.e.Bucket(name).DeletePrefix(context.Background(), prefix)
	did, fault := s.did(m, err)
	if !did {
		return fault
	}
	var want engine.DeletePrefixResult
	for key, v := range before[name].keys {
		if s.twin.at(name, key) == nil {
			want.Objects, want.Bytes = want.Objects+1, want.Bytes+int64(len(v.data))
		}
	}
	if *res != want {
		return fmt.Errorf("%s: %+v instead of %+v", m.text, *res, want)
	}
	return nil
}

func (s *script) putTags() error {
	name, key := s.bucket(), s.key()
	var tags map[string]string
	if !s.tape.one(3) {
		s.seed++
		tags = map[string]string{"seed": fmt.Sprint(s.seed)}
	}
	cond, text, refuse := s.condition(name, key)
	m := mutation{
		text: fmt.Sprintf("tag %s/%.20q with %q%s", name, key, tags, text),
		want: func(w twin) error {
			switch {
			case w[name] == nil:
				return engine.ErrNoBucket
			case refuse(w) != nil:
				return refuse(w)
			case w.at(name, key) == nil:
				return engine.ErrNotFound
			}
			return nil
		},
		apply: func(w twin) {
			tagged := *w[name].keys[key]
			tagged.opts.Tags = tags
			w[name].keys[key] = &tagged
		},
	}
	s.say("%s", m.text)
	b, opts := s.e.Bucket(name), &engine.TagOptions{If: cond}
	var err error
	if tags == nil && s.tape.one(2) {
		err = b.DeleteTags(context.Background(), key, opts)
	} else {
		err = b.PutTags(context.Background(), key, tags, opts)
	}
	_, fault := s.did(m, err)
	return fault
}
