package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"

	"github.com/zeebo/blake3"
)

// object is what a key holds.
type object struct {
	data    []byte
	hash    Hash
	version string // empty until known
}

func newObject(seed uint64, size int) *object {
	p := content(seed, size)
	return &object{data: p, hash: blake3.Sum256(p)}
}

// step is one mutation. With neither object nor whole it deletes the key.
type step struct {
	bucket, key string
	object      *object // put
	whole       bool    // of the bucket: made if create, else deleted
	create      bool
}

func (s *step) String() string {
	switch {
	case s.create:
		return "create bucket " + s.bucket
	case s.whole:
		return "delete bucket " + s.bucket
	case s.object != nil:
		return fmt.Sprintf("put %s/%s, %d bytes", s.bucket, s.key, len(s.object.data))
	default:
		return "delete " + s.bucket + "/" + s.key
	}
}

// model is what a store must hold: by bucket and key.
type model struct {
	buckets map[string]map[string]*object
	// doubt is a mutation of which nobody knows whether it happened.
	doubt *step
}

func newModel() *model { return &model{buckets: map[string]map[string]*object{}} }

// legal reports whether s can succeed.
func (m *model) legal(s *step) bool {
	objects, exists := m.buckets[s.bucket]
	switch {
	case s.create:
		return !exists
	case s.whole:
		return exists && len(objects) == 0
	default:
		return exists
	}
}

// did records a mutation that happened.
func (m *model) did(s *step) {
	switch {
	case s.create:
		m.buckets[s.bucket] = map[string]*object{}
	case s.whole:
		delete(m.buckets, s.bucket)
	case s.object != nil:
		m.buckets[s.bucket][s.key] = s.object
	default:
		delete(m.buckets[s.bucket], s.key)
	}
}

// do runs s on the store and records it: what fails is in doubt.
func (m *model) do(e *Engine, s *step) error {
	if m.doubt != nil {
		panic("model: a mutation while another is in doubt")
	}
	ctx := context.Background()
	b := e.Bucket(s.bucket)
	var err error
	var res *DeleteResult
	var info *ObjectInfo
	switch {
	case s.create:
		err = e.CreateBucket(ctx, s.bucket)
	case s.whole:
		err = e.DeleteBucket(ctx, s.bucket)
	case s.object != nil:
		// Not PutBytes: a stream of unknown length is the general case.
		info, err = b.Put(ctx, s.key, bytes.NewReader(s.object.data), nil)
	default:
		res, err = b.Delete(ctx, s.key, nil)
	}
	if err != nil {
		m.doubt = s
		return err
	}
	if res != nil {
		old := m.buckets[s.bucket][s.key]
		if res.Existed != (old != nil) || (old != nil && res.VersionID != old.version) {
			return fmt.Errorf("%v: deleted %+v, but %+v was there", s, res, old)
		}
	}
	m.did(s)
	if info != nil {
		s.object.version = info.VersionID
	}
	return nil
}

// settle decides the mutation in doubt by what the store shows.
func (m *model) settle(e *Engine) error {
	s := m.doubt
	if s == nil {
		return nil
	}
	happened, err := s.happened(e)
	if err != nil {
		return fmt.Errorf("in doubt, %v: %w", s, err)
	}
	if happened {
		m.did(s)
	}
	m.doubt = nil
	return nil
}

// happened reports whether the store shows s.
func (s *step) happened(e *Engine) (bool, error) {
	ctx := context.Background()
	if s.whole {
		all, err := e.Buckets(ctx)
		exists := slices.ContainsFunc(all, func(b BucketInfo) bool { return b.Name == s.bucket })
		return exists == s.create, err
	}
	info, err := e.Bucket(s.bucket).Head(ctx, s.key, nil)
	switch {
	case errors.Is(err, ErrNotFound):
		return s.object == nil, nil
	case err != nil || s.object == nil:
		return false, err
	}
	if info.Hash != s.object.hash || info.Size != int64(len(s.object.data)) {
		return false, nil
	}
	s.object.version = info.VersionID
	return true, nil
}

// check compares everything that the store shows with the model. Doubt is
// decided for this check alone if keep is set: a store that is read-only may
// still take it back.
func (m *model) check(e *Engine, keep bool) error {
	if m.doubt != nil && keep {
		c := &model{buckets: maps.Clone(m.buckets), doubt: m.doubt}
		if objects := c.buckets[m.doubt.bucket]; objects != nil {
			c.buckets[m.doubt.bucket] = maps.Clone(objects)
		}
		m = c
	}
	if err := m.settle(e); err != nil {
		return err
	}
	ctx := context.Background()
	all, err := e.Buckets(ctx)
	if err != nil {
		return err
	}
	var have []string
	for _, b := range all {
		have = append(have, b.Name)
	}
	if want := slices.Sorted(maps.Keys(m.buckets)); !slices.Equal(have, want) {
		return fmt.Errorf("buckets %q, want %q", have, want)
	}
	for _, b := range all {
		objects := m.buckets[b.Name]
		var size int64
		for _, o := range objects {
			size += int64(len(o.data))
		}
		if b.Objects != int64(len(objects)) || b.Bytes != size {
			return fmt.Errorf("bucket %s has %d objects of %d bytes, want %d of %d", b.Name, b.Objects, b.Bytes, len(objects), size)
		}
		if err := checkBucket(e.Bucket(b.Name), objects); err != nil {
			return err
		}
	}
	return nil
}

func checkBucket(b *Bucket, objects map[string]*object) error {
	ctx := context.Background()
	want := slices.Sorted(maps.Keys(objects))
	n := 0
	for info, err := range b.List(ctx, nil) {
		if err != nil {
			return err
		}
		if n == len(want) || info.Key != want[n] {
			return fmt.Errorf("listing of %s: entry %d is %q, want those of %q", b.Name(), n, info.Key, want)
		}
		n++
		o := objects[info.Key]
		head, err := b.Head(ctx, info.Key, nil)
		if err != nil {
			return err
		}
		for _, i := range []*ObjectInfo{info, head} {
			if i.Size != int64(len(o.data)) || i.Hash != o.hash || (o.version != "" && i.VersionID != o.version) {
				return fmt.Errorf("%s/%s: %+v, want %d bytes, hash %v, version %s", b.Name(), info.Key, i, len(o.data), o.hash, o.version)
			}
		}
		if err := checkObject(b, info.Key, o); err != nil {
			return err
		}
	}
	if n != len(want) {
		return fmt.Errorf("listing of %s has %d entries, want %q", b.Name(), n, want)
	}
	return nil
}

func checkObject(b *Bucket, key string, o *object) error {
	got, err := b.Get(context.Background(), key, nil)
	if err != nil {
		return err
	}
	defer got.Close()
	p := make([]byte, len(o.data)+1)
	n, err := io.ReadFull(got, p)
	if err != io.EOF && err != io.ErrUnexpectedEOF {
		return fmt.Errorf("%s/%s: after %d bytes of %d: %w", b.Name(), key, n, len(o.data), err)
	}
	if !bytes.Equal(p[:n], o.data) {
		return fmt.Errorf("%s/%s: other bytes, %d of them instead of %d", b.Name(), key, n, len(o.data))
	}
	return nil
}

// generator makes random mutations that can succeed.
type generator struct {
	r    *rand.Rand
	m    *model // kept up to date by whoever runs the steps
	seed uint64 // of the next content
	keys int
	big  int // one put of big is striped, of up to 1 MiB
}

func newGenerator(r *rand.Rand, m *model) *generator {
	return &generator{r: r, m: m, seed: r.Uint64(), keys: 12, big: 12}
}

func (g *generator) next() *step {
	buckets := slices.Sorted(maps.Keys(g.m.buckets))
	if len(buckets) == 0 || (len(buckets) < 4 && g.r.IntN(20) == 0) {
		s := &step{bucket: fmt.Sprintf("bucket-%d", g.r.IntN(6)), whole: true, create: true}
		if g.m.legal(s) {
			return s
		}
	}
	s := &step{bucket: buckets[g.r.IntN(len(buckets))]}
	objects := g.m.buckets[s.bucket]
	if len(objects) == 0 && g.r.IntN(4) == 0 {
		s.whole = true
		return s
	}
	s.key = fmt.Sprintf("key/%d", g.r.IntN(g.keys))
	if g.r.IntN(4) == 0 {
		return s // of an absent key too
	}
	g.seed++
	s.object = newObject(g.seed, g.size())
	return s
}

func (g *generator) size() int {
	if g.r.IntN(g.big) == 0 {
		return 70<<10 + g.r.IntN(1+g.r.IntN(1<<20-70<<10)) // most of them small
	}
	switch g.r.IntN(8) {
	case 0:
		return 0
	case 1:
		return PackMax - g.r.IntN(2)
	case 2:
		return 1 + g.r.IntN(PackMax)
	default:
		return 1 + g.r.IntN(5000)
	}
}

// history returns n mutations to run on an empty store.
func history(seed uint64, n int) []*step {
	m := newModel()
	g := newGenerator(rand.New(rand.NewPCG(seed, 1)), m)
	steps := make([]*step, n)
	for i := range steps {
		steps[i] = g.next()
		m.did(steps[i])
	}
	return steps
}

func errorsIsAny(err error, targets ...error) bool {
	return slices.ContainsFunc(targets, func(t error) bool { return errors.Is(err, t) })
}
