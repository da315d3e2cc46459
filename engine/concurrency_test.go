package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/disk/faultdisk"
	"github.com/cairnstore/cairn/versioning"
)

// seen is one call on one key as its caller saw it. Times are drawn from one
// counter: what ended before something else began has the smaller number.
type seen struct {
	write      bool   // a put, or a delete that deleted something
	version    string // put: what it made; delete: what it deleted; read: what it returned; "": no object
	put        bool
	start, end int64
}

// history is all calls on one key.
type keyHistory struct {
	mu    sync.Mutex
	calls []seen
}

func (h *keyHistory) add(s seen) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls = append(h.calls, s)
}

// check reports whether the calls have an order that agrees with time, in which
// each read returns what the write before it left. The order of the writes is
// known: puts by the sequences in their version ids, each delete right behind
// the put that it says it deleted. So each call sees one state of a known row of
// states, and they are linearizable exactly if no call sees a state older than
// one that a call before it saw, or one whose write had not begun.
func (h *keyHistory) check() error {
	var puts []seen
	deleted := map[string]seen{}
	for _, c := range h.calls {
		switch {
		case c.put:
			puts = append(puts, c)
		case c.write:
			if other, twice := deleted[c.version]; twice {
				return fmt.Errorf("version %s was deleted twice: %+v and %+v", c.version, other, c)
			}
			deleted[c.version] = c
		}
	}
	slices.SortFunc(puts, func(a, b seen) int { return int(sequenceOf(a.version)) - int(sequenceOf(b.version)) })
	type state struct {
		version string
		begun   int64 // when its write began
	}
	states := []state{{}} // nothing at first
	at := map[string]int{}
	gone := map[string]int{}
	for _, p := range puts {
		if at[p.version] != 0 {
			return fmt.Errorf("two puts have version %s", p.version)
		}
		at[p.version] = len(states)
		states = append(states, state{p.version, p.start})
		if d, ok := deleted[p.version]; ok {
			gone[p.version] = len(states)
			states = append(states, state{"", d.start})
			delete(deleted, p.version)
		}
	}
	if len(deleted) > 0 {
		return fmt.Errorf("deletes of versions that no put made: %v", deleted)
	}
	calls := slices.Clone(h.calls)
	slices.SortFunc(calls, func(a, b seen) int { return int(a.start - b.start) })
	type ended struct {
		at    int64
		state int
	}
	var open []ended // calls looked at that had not ended yet
	floor := 0       // newest state that a call saw which has ended
	for _, c := range calls {
		open = slices.DeleteFunc(open, func(e ended) bool {
			if e.at < c.start {
				floor = max(floor, e.state)
				return true
			}
			return false
		})
		i := -1
		switch {
		case c.put:
			i = at[c.version]
		case c.write:
			i = gone[c.version]
		case c.version != "":
			var ok bool
			if i, ok = at[c.version]; !ok {
				return fmt.Errorf("%+v returned a version that no put made", c)
			}
		default: // the first state without an object that is not too old
			for i = floor; i < len(states) && states[i].version != ""; i++ {
			}
			if i == len(states) {
				return fmt.Errorf("%+v found nothing, after state %d of %d was seen", c, floor, len(states))
			}
		}
		if i < floor || (c.write && i == floor) {
			return fmt.Errorf("%+v saw state %d, after state %d was seen", c, i, floor)
		}
		if states[i].begun > c.end {
			return fmt.Errorf("%+v saw state %d, whose write had not begun", c, i)
		}
		open = append(open, ended{c.end, i})
	}
	return nil
}

func sequenceOf(version string) uint64 {
	id, err := versioning.ParseID(version)
	if err != nil {
		panic(err)
	}
	return id.Sequence
}

// TestKeyHistoryCheck shows that the checker tells right from wrong.
func TestKeyHistoryCheck(t *testing.T) {
	v := func(seq uint64) string { return versioning.ID{Epoch: 1, Sequence: seq}.String() }
	put := func(seq uint64, start, end int64) seen {
		return seen{write: true, put: true, version: v(seq), start: start, end: end}
	}
	get := func(seq uint64, start, end int64) seen { return seen{version: v(seq), start: start, end: end} }
	miss := func(start, end int64) seen { return seen{start: start, end: end} }
	del := func(seq uint64, start, end int64) seen {
		return seen{write: true, version: v(seq), start: start, end: end}
	}
	for _, c := range []struct {
		good  bool
		calls []seen
	}{
		{true, []seen{put(1, 1, 2), get(1, 3, 4), put(2, 5, 6), get(2, 7, 8)}},
		{true, []seen{put(1, 1, 10), get(1, 2, 3), put(2, 4, 9), get(2, 5, 6)}},
		{true, []seen{miss(1, 4), put(1, 2, 3)}},
		{true, []seen{put(1, 1, 2), del(1, 3, 6), miss(4, 5), put(2, 7, 8)}},
		{false, []seen{put(1, 1, 2), put(2, 3, 4), get(1, 5, 6)}},
		{false, []seen{put(1, 1, 2), miss(3, 4)}},
		{false, []seen{put(2, 1, 2), put(1, 3, 4)}},
		{false, []seen{put(1, 1, 2), get(2, 3, 4), put(2, 5, 6)}},
		{false, []seen{put(1, 1, 10), put(2, 2, 10), get(2, 3, 4), get(1, 5, 6)}},
		{false, []seen{put(1, 1, 2), del(1, 3, 4), get(1, 5, 6)}},
		{false, []seen{put(1, 1, 2), del(1, 3, 4), del(1, 5, 6)}},
		{false, []seen{put(1, 1, 2), del(3, 3, 4)}},
	} {
		err := (&keyHistory{calls: c.calls}).check()
		require.Equal(t, c.good, err == nil, "%+v: %v", c.calls, err)
	}
}

// crowd is what many goroutines do to few keys.
type crowd struct {
	t     *testing.T
	e     *Engine
	b     *Bucket
	clock atomic.Int64
	keys  []*keyHistory
	calls atomic.Int64

	puts, deletes atomic.Int64
}

func crowdKey(i int) string { return fmt.Sprintf("key/%d", i) }

// crowdBody is the content that belongs to a put's number.
func crowdBody(id uint64) []byte {
	n := int(id * 2654435761 % 9000)
	if id%17 == 0 {
		n += 70 << 10 // striped
	}
	return content(id, n)
}

func (c *crowd) call(fn func() (seen, error)) (seen, error) {
	start := c.clock.Add(1)
	s, err := fn()
	s.start, s.end = start, c.clock.Add(1)
	c.calls.Add(1)
	return s, err
}

// once does one random thing to one key.
func (c *crowd) once(r *rand.Rand, id uint64) error {
	ctx := context.Background()
	i := r.IntN(len(c.keys))
	key := crowdKey(i)
	var s seen
	var err error
	switch n := r.IntN(20); {
	case n < 8:
		s, err = c.call(func() (seen, error) {
			meta := map[string]string{"id": strconv.FormatUint(id, 10)}
			info, err := c.b.PutBytes(ctx, key, crowdBody(id), &PutOptions{Metadata: meta})
			if err != nil {
				return seen{}, err
			}
			c.puts.Add(1)
			return seen{write: true, put: true, version: info.VersionID}, nil
		})
	case n < 11:
		s, err = c.call(func() (seen, error) {
			res, err := c.b.Delete(ctx, key, nil)
			if err != nil {
				return seen{}, err
			}
			c.deletes.Add(1)
			return seen{write: res.Existed, version: res.VersionID}, nil
		})
	case n < 13:
		s, err = c.call(func() (seen, error) {
			info, err := c.b.Head(ctx, key, nil)
			if errors.Is(err, ErrNotFound) {
				return seen{}, nil
			}
			if err != nil {
				return seen{}, err
			}
			return seen{version: info.VersionID}, nil
		})
	case n < 15:
		return c.list(r)
	default:
		var o *Object
		s, err = c.call(func() (seen, error) {
			var err error
			o, err = c.b.Get(ctx, key, nil)
			if errors.Is(err, ErrNotFound) {
				return seen{}, nil
			}
			if err != nil {
				return seen{}, err
			}
			return seen{version: o.Info().VersionID}, nil
		})
		if o != nil {
			err = errors.Join(err, wholeBody(o, r), o.Close())
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	c.keys[i].add(s)
	return nil
}

// wholeBody reads an object, which may have been replaced or deleted meanwhile,
// in pieces, and compares it with what its metadata says it is.
func wholeBody(o *Object, r *rand.Rand) error {
	id, err := strconv.ParseUint(o.Info().Metadata["id"], 10, 64)
	if err != nil {
		return err
	}
	want := crowdBody(id)
	got := make([]byte, 0, len(want))
	for {
		p := make([]byte, 1+r.IntN(40<<10))
		n, err := o.Read(p)
		got = append(got, p[:n]...)
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	if o.Size() != int64(len(want)) || !bytes.Equal(got, want) {
		return fmt.Errorf("content is not that of put %d", id)
	}
	return nil
}

// list lists all keys: a page is a read of all of them as of one moment.
func (c *crowd) list(r *rand.Rand) error {
	var page *ListPage
	all, err := c.call(func() (s seen, err error) {
		opts := &ListPageOptions{ListOptions: ListOptions{Prefix: "key/"}}
		if r.IntN(2) == 0 {
			opts = nil
		}
		page, err = c.b.ListPage(context.Background(), opts)
		return s, err
	})
	if err != nil {
		return err
	}
	found := map[string]string{}
	for i, o := range page.Objects {
		if i > 0 && page.Objects[i-1].Key >= o.Key {
			return fmt.Errorf("%q is listed before %q", page.Objects[i-1].Key, o.Key)
		}
		found[o.Key] = o.VersionID
	}
	for i, h := range c.keys {
		h.add(seen{version: found[crowdKey(i)], start: all.start, end: all.end})
		delete(found, crowdKey(i))
	}
	if len(found) > 0 {
		return fmt.Errorf("listed, though nobody put them: %v", found)
	}
	return nil
}

// run has workers do n things each, and meanwhile at the given numbers of calls
// what events say; it checks the histories and the counters.
func (c *crowd) run(workers, n int, events ...func()) {
	var wg sync.WaitGroup
	errs := make([]error, workers)
	for w := range workers {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 7))
			for i := range n {
				if errs[w] = c.once(r, uint64(w)<<20|uint64(i)); errs[w] != nil {
					return
				}
				if w == 0 && len(events) > 0 && i%(n/(len(events)+1)+1) == n/(len(events)+1) {
					events[0]()
					events = events[1:]
				}
			}
		})
	}
	wg.Wait()
	require.NoError(c.t, errors.Join(errs...))
	for i, h := range c.keys {
		require.NoError(c.t, h.check(), crowdKey(i))
	}
	m := c.e.Metrics()
	require.Equal(c.t, c.puts.Load(), m.Puts)
	require.Equal(c.t, c.deletes.Load(), m.Deletes)
	c.usage()
}

// usage compares the bucket's counters with what is there.
func (c *crowd) usage() {
	var objects, size int64
	for o, err := range c.b.List(context.Background(), nil) {
		require.NoError(c.t, err)
		objects, size = objects+1, size+o.Size
		p, err := read(c.b, o.Key)
		require.NoError(c.t, err)
		require.Len(c.t, p, int(o.Size))
	}
	buckets, err := c.e.Buckets(context.Background())
	require.NoError(c.t, err)
	require.Len(c.t, buckets, 1)
	require.Equal(c.t, objects, buckets[0].Objects)
	require.Equal(c.t, size, buckets[0].Bytes)
}

// TestLinearizable runs 32 goroutines on few keys, on both indexes, without and
// with disks that fail meanwhile.
func TestLinearizable(t *testing.T) {
	for _, plain := range []bool{true, false} {
		for _, failing := range []bool{false, true} {
			t.Run(fmt.Sprintf("plain=%v failing=%v", plain, failing), func(t *testing.T) {
				r := newRig(t, 4, 2)
				r.opts.plainIndex = plain
				r.opts.LogSegmentSize = 256 << 10 // it rolls
				e := r.open()
				c := &crowd{t: t, e: e, b: bucketOf(t, e, "bucket")}
				for range 5 {
					c.keys = append(c.keys, &keyHistory{})
				}
				n := 60
				if *long {
					n = 2000
				}
				var events []func()
				if failing {
					events = []func(){
						func() {
							r.faults[1].Add(faultdisk.Rule{Ops: faultdisk.OpRead, Prob: 0.2, Err: faultdisk.ErrInjected})
						},
						func() { r.faults[1].Add(faultdisk.Rule{Ops: faultdisk.OpSync, Err: faultdisk.ErrInjected}) },
						func() { r.faults[4].Lose() },
						e.checkDisks,
					}
				}
				c.run(32, n, events...)
				if failing {
					require.EqualValues(t, 2, e.Metrics().DisksFailed)
				} else {
					require.Zero(t, e.Metrics().DisksFailed)
				}
				if failing {
					_ = e.Close() // may report the disks
					c.e = r.open()
				} else {
					c.e = r.reopen(e)
				}
				c.b = c.e.Bucket("bucket")
				c.usage()
				// The last state is what the writes leave.
				for i, h := range c.keys {
					s, err := c.call(func() (seen, error) {
						info, err := c.b.Head(context.Background(), crowdKey(i), nil)
						if err != nil {
							return seen{}, nil
						}
						return seen{version: info.VersionID}, nil
					})
					require.NoError(t, err)
					h.add(s)
					require.NoError(t, h.check(), "after a reopen")
				}
			})
		}
	}
}

// TestBucketRaces has goroutines create and delete one bucket, and put and
// delete in it: a bucket with objects is never deleted, one that was deleted
// comes back empty, and its counters are right.
func TestBucketRaces(t *testing.T) {
	r := newRig(t, 2, 1)
	e := r.open()
	ctx := context.Background()
	b := e.Bucket("bucket")
	var created, dropped, lost atomic.Int64
	errs := make(chan error, 4096)
	var putters atomic.Int64
	putters.Store(4)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for putters.Load() > 0 {
				if err := e.CreateBucket(ctx, "bucket"); err == nil {
					created.Add(1)
				} else if !errors.Is(err, ErrBucketExists) {
					errs <- err
				}
			}
		})
		wg.Go(func() {
			for putters.Load() > 0 {
				if err := e.DeleteBucket(ctx, "bucket"); err == nil {
					dropped.Add(1)
				} else if !errors.Is(err, ErrBucketNotEmpty) && !errors.Is(err, ErrNoBucket) {
					errs <- err
				}
			}
		})
		// Each putter has a key: between its put and its delete the bucket stays.
		wg.Go(func() {
			defer putters.Add(-1)
			key := fmt.Sprint(w)
			for done := 0; done < 30; {
				p := content(uint64(done), 100*done)
				if _, err := b.PutBytes(ctx, key, p, nil); errors.Is(err, ErrNoBucket) {
					lost.Add(1)
					continue
				} else if err != nil {
					errs <- err
					return
				}
				done++
				if got, err := read(b, key); err != nil || !bytes.Equal(got, p) {
					errs <- fmt.Errorf("%d bytes read after a put of %d: %w", len(got), len(p), err)
				}
				if res, err := b.Delete(ctx, key, nil); err != nil || !res.Existed {
					errs <- fmt.Errorf("delete after a put: %+v, %w", res, err)
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		require.NoError(t, err)
	}
	t.Logf("%d created, %d deleted, %d puts without a bucket", created.Load(), dropped.Load(), lost.Load())
	buckets, err := e.Buckets(ctx)
	require.NoError(t, err)
	require.EqualValues(t, created.Load()-dropped.Load(), len(buckets))
	for range 2 {
		for _, b := range buckets {
			require.Zero(t, b.Objects)
			require.Zero(t, b.Bytes)
			for o := range e.Bucket(b.Name).List(ctx, nil) {
				t.Errorf("%q is listed", o.Key)
			}
		}
		e = r.reopen(e)
		again, err := e.Buckets(ctx)
		require.NoError(t, err)
		require.Equal(t, buckets, again)
	}
}
