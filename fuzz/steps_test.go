package fuzz

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/cairnstore/cairn/engine"
)

// once does what the next numbers of the tape say.
func (s *script) once() error {
	switch op := s.tape.n(80); {
	case op < 16:
		return s.put(s.smallSize())
	case op < 20:
		return s.put(s.largeSize())
	case op < 25:
		return s.delete()
	case op < 27:
		return s.look()
	case op < 28:
		return s.lookMany()
	case op < 31:
		return s.readRange()
	case op < 34:
		return s.list()
	case op < 37:
		return s.bucketStep()
	case op < 40:
		s.say("check all")
		return s.checkAll()
	case op < 46:
		return s.disturb()
	case op < 49:
		s.powerGoesSoon()
		return nil
	case op < 53:
		return s.reenter()
	case op < 60:
		return s.putMany()
	case op < 63:
		return s.deleteMany()
	case op < 65:
		return s.deletePrefix()
	case op < 69:
		return s.putTags()
	case op < 72:
		return s.write()
	case op < 75:
		return s.readLater()
	default:
		return s.put(s.smallSize())
	}
}

func (s *script) smallSize() int {
	switch s.tape.n(8) {
	case 0:
		return 0
	case 1:
		return engine.PackMax
	case 2:
		return 1 + s.tape.n(engine.PackMax)
	default:
		return 1 + s.tape.n(4096)
	}
}

func (s *script) largeSize() int {
	switch s.tape.n(8) {
	case 0:
		return engine.PackMax + 1
	case 1:
		return 700<<10 + s.tape.n(1<<16)*8
	default:
		return engine.PackMax + 1 + s.tape.n(1<<16)*4
	}
}

func (s *script) bucket() string {
	if s.tape.one(8) {
		return bucketNames[2] // often not there
	}
	return bucketNames[s.tape.n(2)]
}

func (s *script) key() string { return keyNames[s.tape.n(len(keyNames))] }

func (s *script) createBucket(name string) error {
	s.say("create bucket %s", name)
	m := mutation{
		text: "create bucket " + name,
		want: func(w twin) error {
			if w[name] != nil {
				return engine.ErrBucketExists
			}
			return nil
		},
		apply: func(w twin) { w[name] = &bucket{keys: map[string]*value{}} },
	}
	_, err := s.did(m, s.e.CreateBucket(context.Background(), name))
	return err
}

// bucketStep makes, deletes or marks a bucket.
func (s *script) bucketStep() error {
	name := s.bucket()
	switch s.tape.n(3) {
	case 0:
		return s.createBucket(name)
	case 1:
		s.seed++
		note := fmt.Sprint(s.seed)
		m := mutation{
			text:  fmt.Sprintf("bucket %s: note %s", name, note),
			want:  exists(name),
			apply: func(w twin) { w[name].note = note },
		}
		s.say("%s", m.text)
		err := s.e.Bucket(name).UpdateSettings(context.Background(), func(b *engine.BucketSettings) error {
			b.Tags = map[string]string{"note": note}
			return nil
		})
		_, err = s.did(m, err)
		return err
	}
	s.say("delete bucket %s", name)
	m := mutation{
		text: "delete bucket " + name,
		want: func(w twin) error {
			if w[name] != nil && len(w[name].keys) > 0 {
				return engine.ErrBucketNotEmpty
			}
			return exists(name)(w)
		},
		apply: func(w twin) { delete(w, name) },
	}
	_, err := s.did(m, s.e.DeleteBucket(context.Background(), name))
	return err
}

// exists is the want of what needs the bucket alone.
func exists(name string) func(twin) error {
	return func(w twin) error {
		if w[name] == nil {
			return engine.ErrNoBucket
		}
		return nil
	}
}

// look compares one key, also one that is not there.
func (s *script) look() error {
	bucket, key := s.bucket(), s.key()
	s.say("look at %s/%.20q", bucket, key)
	if s.twin[bucket] == nil {
		if _, err := s.e.Bucket(bucket).Head(context.Background(), key, nil); !errors.Is(err, engine.ErrNoBucket) {
			return fmt.Errorf("head in no bucket: %w", err)
		}
		return nil
	}
	return s.read(compareObject(s.e.Bucket(bucket), key, s.twin.at(bucket, key)))
}

// lookMany reads and looks up some keys at once, also twice and such as are not
// there.
func (s *script) lookMany() error {
	ctx := context.Background()
	name := s.bucket()
	keys := make([]string, 1+s.tape.n(12))
	for i := range keys {
		keys[i] = s.key()
	}
	opts := &engine.GetManyOptions{Parallel: 1 + s.tape.n(4), Memory: 1 << (10 + s.tape.n(10))}
	s.say("read %d keys of %s at once: %.10q", len(keys), name, keys)
	// The nth answer, of which all but absent keys and buckets are checked by is.
	check := func(n int, err error, is func(v *value) error) error {
		switch v := s.twin.at(name, keys[n]); {
		case s.twin[name] == nil && errors.Is(err, engine.ErrNoBucket):
		case s.twin[name] != nil && v == nil && errors.Is(err, engine.ErrNotFound):
		case err != nil || v == nil:
			if err := s.read(err); err != nil || v == nil {
				return fmt.Errorf("key %d of many, %.20q, which is there (%v): %w", n, keys[n], v != nil, err)
			}
		default:
			return is(v)
		}
		return nil
	}
	n := 0
	for o, err := range s.e.Bucket(name).GetMany(ctx, slices.Values(keys), opts) {
		fault := check(n, err, func(v *value) error {
			p, err := io.ReadAll(o)
			if err == nil && !bytes.Equal(p, v.data) {
				return fmt.Errorf("key %d of many, %.20q: other bytes, %d of them instead of %d", n, keys[n], len(p), len(v.data))
			}
			return errors.Join(s.read(err), v.is(o.Info()))
		})
		if fault != nil {
			return fault
		}
		n++
	}
	m := 0
	for info, err := range s.e.Bucket(name).HeadMany(ctx, slices.Values(keys)) {
		if fault := check(m, err, func(v *value) error { return v.is(info) }); fault != nil {
			return fault
		}
		m++
	}
	if n != len(keys) || m != len(keys) {
		return fmt.Errorf("%d and %d answers for %d keys", n, m, len(keys))
	}
	return nil
}

func (s *script) readRange() error {
	bucket, key := s.bucket(), s.key()
	v := s.twin.at(bucket, key)
	if v == nil {
		return nil
	}
	from := s.tape.n(1<<16) * 16 % (len(v.data) + 2)
	opts := &engine.GetOptions{Offset: int64(from), Length: int64(s.tape.n(1 << 16))}
	s.say("read %s/%.20q from %d on, %d bytes", bucket, key, opts.Offset, opts.Length)
	o, err := s.e.Bucket(bucket).Get(context.Background(), key, opts)
	if from > 0 && from >= len(v.data) {
		if !errors.Is(err, engine.ErrRange) {
			return fmt.Errorf("a range behind the end of %d bytes: %w", len(v.data), err)
		}
		return nil
	}
	if err != nil {
		return s.read(fmt.Errorf("range of %.20q: %w", key, err))
	}
	want := v.data[from:]
	if opts.Length > 0 {
		want = want[:min(int64(len(want)), opts.Length)]
	}
	p, err := readAll(o)
	if err == nil && !bytes.Equal(p, want) {
		err = fmt.Errorf("range of %.20q: other bytes, %d of them instead of %d", key, len(p), len(want))
		return err // wrong bytes are wrong in the dark too
	}
	return s.read(err)
}

func (s *script) list() error {
	bucket := s.bucket()
	pick := func(names []string) string { return names[s.tape.n(len(names))] }
	l := listing{prefix: pick(prefixNames), delimiter: pick(delimiterNames)}
	if s.tape.one(2) {
		l.after = pick(slices.Concat(keyNames, prefixNames))
	}
	limit := 1 + s.tape.n(8)
	s.say("list %s: %.20q, %d a page", bucket, l, limit)
	if s.twin[bucket] == nil {
		return nil
	}
	want, rolled := s.twin[bucket].list(l)
	q := &engine.ListPageOptions{Limit: limit}
	q.Prefix, q.Delimiter, q.StartAfter = l.prefix, l.delimiter, l.after
	for n := 0; ; {
		page, err := s.e.Bucket(bucket).ListPage(context.Background(), q)
		if err != nil {
			return s.read(fmt.Errorf("list: %w", err))
		}
		if len(page.Objects) > limit || len(page.Objects) < limit && page.Token != "" {
			return fmt.Errorf("a page of %d entries, limit %d, token %q", len(page.Objects), limit, page.Token)
		}
		for _, o := range page.Objects {
			if n == len(want) || o.Key != want[n] || o.IsPrefix != rolled[n] {
				return fmt.Errorf("entry %d is %.40q (prefix: %v), want those of %.40q", n, o.Key, o.IsPrefix, want)
			}
			if !o.IsPrefix {
				if err := s.twin.at(bucket, o.Key).is(o); err != nil {
					return err
				}
			}
			n++
		}
		if q.Token = page.Token; page.Token == "" {
			if n != len(want) {
				return fmt.Errorf("%d entries, want %.40q", n, want)
			}
			return nil
		}
	}
}

// disturb loses a disk, gives one back or lets one rot.
func (s *script) disturb() error {
	if s.tape.one(2) && len(s.lost) > 0 {
		i := s.lost[0]
		s.lost, s.returned = s.lost[1:], append(s.returned, i)
		s.say("return d%d", i)
		s.happen("returned")
		s.faults[i].Return()
		return nil
	}
	i, rot := s.tape.n(len(s.mems)), s.tape.one(2)
	all := s.disturbed()
	if !slices.Contains(all, i) && len(all) >= s.geometry.Parity || slices.Contains(s.absent, i) {
		return nil
	}
	if rot {
		what, err := s.rot(i, s.tape)
		if err != nil {
			return nil // nothing to rot yet
		}
		s.say("%s", what)
		s.happen("rot")
		if !slices.Contains(s.rotten, i) {
			s.rotten = append(s.rotten, i)
		}
		return nil
	}
	// One disk of two that goes on alone promises nothing about its loss.
	if slices.Contains(s.lost, i) || slices.Contains(s.returned, i) || len(s.mems) <= 2 {
		return nil
	}
	s.say("lose d%d", i)
	s.happen("lost")
	s.faults[i].Lose()
	s.lost = append(s.lost, i)
	return nil
}

func (s *script) powerGoesSoon() {
	if s.cutAt > 0 {
		return
	}
	s.cutAt = s.machine.Ops() + 1 + int64(s.tape.n(60))
	s.say("the power goes %d operations from now", s.cutAt-s.machine.Ops())
	s.machine.CutAt(s.cutAt)
}
