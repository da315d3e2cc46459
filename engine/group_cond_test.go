package engine

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/meta"
)

// condChange is one conditional mutation that was queued, and what must come of it.
type condChange struct {
	key  string
	cond *Conditions
	put  *PutOptions // nil: none
	body []byte
	tags map[string]string // set; nil: none. With neither it deletes

	pending *Pending
	queued  *request
}

func (c *condChange) String() string {
	what := "delete"
	switch {
	case c.put != nil:
		what = fmt.Sprintf("put of %d bytes", len(c.body))
	case c.tags != nil:
		what = "tags"
	}
	return fmt.Sprintf("%s of %s if %+v", what, c.key, c.cond)
}

// changes makes conditional mutations of few keys.
type changes struct {
	r    *rand.Rand
	b    *Bucket
	now  map[string]*ObjectInfo // as the mutations decided so far leave them
	body map[string][]byte
	n    int
}

// next returns a mutation whose conditions speak of what there is now, of what
// those that are queued before it may make, or of nothing.
func (g *changes) next(tags []string) *condChange {
	g.n++
	c := &condChange{key: fmt.Sprint("key/", g.r.IntN(3)), cond: &Conditions{}}
	now := g.now[c.key]
	if now == nil {
		now = &ObjectInfo{ETag: "none"}
	}
	size := int64(g.r.IntN(4))
	switch g.r.IntN(9) {
	case 0:
		c.cond = nil
	case 1, 2:
		c.cond.IfNoneMatch = "*"
	case 3:
		c.cond.IfMatch = "*"
	case 4, 5:
		c.cond.IfMatch = tags[g.r.IntN(len(tags))]
	case 6:
		c.cond.IfNoneMatch = tags[g.r.IntN(len(tags))]
	case 7:
		c.cond.IfVersion = now.VersionID
	case 8:
		c.cond.IfSize = &size
		if g.r.IntN(2) == 0 {
			c.cond.IfModified = now.Modified
		}
	}
	switch g.r.IntN(6) {
	case 0:
		return c
	case 1:
		c.tags = map[string]string{"n": fmt.Sprint(g.n)}
		return c
	}
	c.put = &PutOptions{ETag: tags[g.r.IntN(len(tags))], If: c.cond, Tags: map[string]string{"put": fmt.Sprint(g.n)}}
	c.body = content(uint64(g.n), g.r.IntN(4))
	if g.r.IntN(12) == 0 {
		c.body = content(uint64(g.n), PackMax+1+g.r.IntN(100<<10))
	}
	return c
}

// send queues c and returns when it is queued.
func (g *changes) send(t testing.TB, c *condChange) {
	ctx, e := t.Context(), g.b.e
	switch {
	case c.put != nil:
		c.pending = must(g.b.PutAsync(ctx, c.key, c.body, c.put))
	case c.tags != nil:
		// PutTags, but for the waiting.
		bucket, _ := e.state.Bucket(g.b.name)
		block := must(meta.AppendTags(nil, c.tags))
		c.queued = &request{cond: c.cond, record: meta.Record{Kind: meta.KindTags, Bucket: bucket.ID, Key: c.key, Tags: block}}
		require.NoError(t, e.slot(ctx))
		require.NoError(t, e.changeAsync(ctx, c.queued))
	default:
		bucket, _ := e.state.Bucket(g.b.name)
		var err error
		c.queued, err = g.b.deleteAsync(ctx, bucket, DeleteItem{Key: c.key, If: c.cond})
		require.NoError(t, err)
	}
}

// settle waits for c and compares with what the ones before it leave.
func (g *changes) settle(t testing.TB, c *condChange, stamp time.Time) {
	ctx := t.Context()
	now := g.now[c.key]
	cond := c.cond
	if cond == nil {
		cond = &Conditions{}
	}
	var err error
	var info *ObjectInfo
	op := "put"
	switch {
	case c.pending != nil:
		info, err = c.pending.Wait(ctx)
	case c.tags != nil:
		op = "put tags"
		err = fail(op, g.b.name, c.key, g.b.e.wait(ctx, c.queued))
	default:
		op = "delete"
		err = fail(op, g.b.name, c.key, g.b.e.wait(ctx, c.queued))
	}
	switch {
	case !holds(cond, now):
		requireError(t, err, ErrPrecondition, op, g.b.name, c.key, "%v, there is %+v", c, now)
		return
	case c.tags != nil && c.put == nil && now == nil:
		requireError(t, err, ErrNotFound, op, g.b.name, c.key, "%v", c)
		require.NotErrorIs(t, err, ErrPrecondition)
		return
	}
	require.NoError(t, err, "%v, there is %+v", c, now)
	switch {
	case c.put != nil:
		require.Equal(t, c.put.ETag, info.ETag)
		require.Equal(t, stamp, info.Modified)
		info.Survives = 0
		g.now[c.key], g.body[c.key] = info, c.body
	case c.tags != nil:
		v := *now
		v.Tags = c.tags
		g.now[c.key] = &v
	default:
		res := c.queued.result()
		require.Equal(t, now != nil, res.Existed, "%v", c)
		if now != nil {
			require.Equal(t, now.VersionID, res.VersionID, "%v", c)
		}
		delete(g.now, c.key)
	}
}

// check compares what the store shows; the counters too, when nothing is on its
// way.
func (g *changes) check(t testing.TB, quiet bool) {
	var size int64
	for i := range 3 {
		key := fmt.Sprint("key/", i)
		v, want := look(t, g.b, key), g.now[key]
		if want == nil {
			require.Nil(t, v, key)
			continue
		}
		require.NotNil(t, v, key)
		require.Equal(t, want, v.info)
		require.True(t, bytes.Equal(g.body[key], v.body), key)
		size += want.Size
	}
	if !quiet {
		return
	}
	objects := int64(len(g.now))
	for o, err := range g.b.List(t.Context(), &ListOptions{Prefix: "filler/"}) {
		require.NoError(t, err)
		objects, size = objects+1, size+o.Size
	}
	info := must(g.b.e.Buckets(t.Context()))[0]
	require.Equal(t, objects, info.Objects)
	require.Equal(t, size, info.Bytes)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestConditionsInOneGroup queues conditional puts, deletes and tags of three
// keys behind groups that are durable and not shown yet, so that most are
// decided in one group. Each is decided by what the ones before it leave, as if
// they had come one after the other.
func TestConditionsInOneGroup(t *testing.T) {
	rounds := 60
	if raceEnabled {
		rounds = 15
	}
	if *long {
		rounds = 5000
	}
	for _, plain := range []bool{true, false} {
		clock := newStoreClock()
		r := newRig(t, 2, 1).defaults()
		r.opts.plainIndex, r.opts.Clock = plain, clock.Now
		e := r.open()
		s := stall(e)
		g := &changes{r: rand.New(rand.NewPCG(3, 4)), b: bucketOf(t, e, "bucket"), now: map[string]*ObjectInfo{}, body: map[string][]byte{}}
		tags := []string{"a", "b", "c", `W/"d"`, "*x"}
		shared := 0
		for round := range rounds {
			clock.advance(time.Minute)
			stamp := clock.Now()
			before := maps.Clone(g.now)
			release := s.holdApplies(t, e, g.b)
			groups := e.Metrics().Groups
			var all []*condChange
			for range 2 + g.r.IntN(30) {
				c := g.next(tags)
				all = append(all, c)
				g.send(t, c)
			}
			g.check(t, false) // nothing is shown before its time
			require.Equal(t, before, g.now)
			release()
			for _, c := range all {
				g.settle(t, c, stamp)
			}
			if e.Metrics().Groups-groups <= 2 {
				shared++
			}
			g.check(t, true)
			idle(t, e)
			if round%8 == 7 {
				if round%16 == 7 {
					r.restart(g.r)
					_ = e.Close()
					e = r.open()
				} else {
					e = r.reopen(e)
				}
				s = stall(e)
				g.b = e.Bucket("bucket")
				g.check(t, true)
			}
		}
		require.Equal(t, rounds, shared, "those queued were in one group")
	}
}

// TestSwapsInOneGroup makes a chain of puts in one group each of which asks for
// the one before it: all of them succeed, and their doubles do not.
func TestSwapsInOneGroup(t *testing.T) {
	e := newRig(t, 2, 1).defaults().open()
	s := stall(e)
	b := bucketOf(t, e, "bucket")
	release := s.holdApplies(t, e, b)
	var all []*Pending
	const n = 40
	for i := range n {
		c := &Conditions{IfMatch: fmt.Sprint(i - 1)}
		if i == 0 {
			c = &Conditions{IfNoneMatch: "*"}
		}
		for range 2 {
			all = append(all, must(b.PutAsync(t.Context(), "key", content(uint64(i), 10), &PutOptions{ETag: fmt.Sprint(i), If: c})))
		}
	}
	groups := e.Metrics().Groups
	release()
	for i, p := range all {
		_, err := p.Wait(t.Context())
		if i%2 == 0 {
			require.NoError(t, err)
			continue
		}
		requireError(t, err, ErrPrecondition, "put", "bucket", "key")
		require.NotErrorIs(t, err, ErrNotFound)
	}
	require.LessOrEqual(t, e.Metrics().Groups-groups, int64(2))
	require.Equal(t, fmt.Sprint(n-1), look(t, b, "key").info.ETag)
}
