package fuzz

import (
	"bytes"
	"context"
	"fmt"

	"github.com/cairnstore/cairn/engine"
)

// reading is a version that was opened, and may be gone by the time it is read.
type reading struct {
	text   string
	object *engine.Object
	value  *value
}

// readLater opens an object, or reads one that was opened before.
func (s *script) readLater() error {
	if len(s.reading) > 0 && s.tape.one(2) {
		r := s.reading[0]
		s.reading = s.reading[1:]
		s.say("read the %s", r.text)
		p, err := readAll(r.object)
		if err == nil && !bytes.Equal(p, r.value.data) {
			return fmt.Errorf("%s: other bytes, %d of them instead of %d", r.text, len(p), len(r.value.data))
		}
		return s.read(err)
	}
	name, key := s.bucket(), s.key()
	v := s.twin.at(name, key)
	if v == nil || len(s.reading) == 3 {
		return nil
	}
	r := reading{text: fmt.Sprintf("%s/%.20q of %d bytes that was opened", name, key, len(v.data)), value: v}
	s.say("open %s/%.20q for later", name, key)
	var err error
	if r.object, err = s.e.Bucket(name).Get(context.Background(), key, nil); err != nil {
		return s.read(err)
	}
	s.reading = append(s.reading, r)
	return v.is(r.object.Info())
}

// writing is an object that is written piece by piece.
type writing struct {
	m     mutation
	w     *engine.Writer
	value *value
}

// write begins an object, or commits or aborts one that was begun before: what
// its condition says is decided then.
func (s *script) write() error {
	if len(s.writing) > 0 && s.tape.one(2) {
		w := s.writing[0]
		s.writing = s.writing[1:]
		if s.tape.one(4) {
			s.say("abort what was begun, %s", w.m.text)
			w.w.Abort()
			return nil
		}
		s.say("commit what was begun, %s", w.m.text)
		info, err := w.w.Commit()
		did, fault := s.did(w.m, err)
		if !did {
			return fault
		}
		w.value.note(info)
		return w.value.is(info)
	}
	if len(s.writing) == 3 {
		return nil
	}
	size := s.smallSize()
	if s.tape.one(3) {
		size = s.largeSize()
	}
	m, name, key, v, opts := s.putting(size)
	s.say("begin %s", m.text)
	if s.twin[name] == nil {
		return nil // a bucket that is made meanwhile would not count
	}
	w, err := s.e.Bucket(name).Create(context.Background(), key, opts)
	for at := 0; err == nil && at < size; {
		n := min(size-at, 1+s.tape.n(1<<16)*3)
		_, err = w.Write(v.data[at : at+n])
		at += n
	}
	if err != nil {
		if w != nil {
			w.Abort()
		}
		// It was told early what the commit would have said; none of it is there.
		if want := m.want(s.twin); want != nil || s.dark() || s.excused() {
			return nil
		}
		return fmt.Errorf("%s: %w", m.text, err)
	}
	if m.wrong != nil { // which is found before the bucket is looked at again
		m.want = func(twin) error { return m.wrong }
	}
	s.writing = append(s.writing, writing{m, w, v})
	return nil
}
