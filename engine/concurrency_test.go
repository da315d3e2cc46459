package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/disk/faultdisk"
)

// crowd is what many goroutines do to few keys.
type crowd struct {
	t *testing.T
	e *Engine
	b *Bucket
	recorder

	puts, deletes atomic.Int64
}

// crowdBody is the content that belongs to a put's number.
func crowdBody(id uint64) []byte {
	n := int(id * 2654435761 % 9000)
	if id%17 == 0 {
		n += 70 << 10 // striped
	}
	return content(id, n)
}

// once does one random thing to one key.
func (c *crowd) once(client int, r *rand.Rand, id uint64) error {
	ctx := context.Background()
	i := r.IntN(crowdKeys)
	key := crowdKey(i)
	var err error
	switch n := r.IntN(24); {
	case n < 8:
		_, err = c.call(client, func() (seen, error) {
			meta := map[string]string{"id": strconv.FormatUint(id, 10)}
			info, err := c.b.PutBytes(ctx, key, crowdBody(id), &PutOptions{Metadata: meta})
			if err != nil {
				return seen{}, err
			}
			c.puts.Add(1)
			return seen{kind: callPut, key: i, version: info.VersionID}, nil
		})
	case n < 11:
		_, err = c.call(client, func() (seen, error) {
			res, err := c.b.Delete(ctx, key, nil)
			if err != nil {
				return seen{}, err
			}
			c.deletes.Add(1)
			return seen{kind: callDelete, key: i, version: res.VersionID}, nil
		})
	case n < 14:
		return c.onceIf(client, r, i, id)
	case n < 16:
		_, err = c.call(client, func() (seen, error) {
			info, err := c.b.Head(ctx, key, nil)
			if errors.Is(err, ErrNotFound) {
				return seen{kind: callRead, key: i}, nil
			}
			if err != nil {
				return seen{}, err
			}
			return seen{kind: callRead, key: i, version: info.VersionID}, nil
		})
	case n < 18:
		return c.list(client, r)
	default:
		var o *Object
		_, err = c.call(client, func() (seen, error) {
			var err error
			o, err = c.b.Get(ctx, key, nil)
			if errors.Is(err, ErrNotFound) {
				return seen{kind: callRead, key: i}, nil
			}
			if err != nil {
				return seen{}, err
			}
			return seen{kind: callRead, key: i, version: o.Info().VersionID}, nil
		})
		if o != nil {
			err = errors.Join(err, wholeBody(o, r), o.Close())
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}

// onceIf puts or deletes a key if it has no version, or still has the one that a
// look at it shows.
func (c *crowd) onceIf(client int, r *rand.Rand, i int, id uint64) error {
	ctx := context.Background()
	key := crowdKey(i)
	want := seen{key: i, conditional: true}
	cond := &Conditions{IfNoneMatch: "*"}
	if r.IntN(3) > 0 {
		info, err := c.b.Head(ctx, key, nil)
		if err == nil {
			want.expected, cond = info.VersionID, &Conditions{IfVersion: info.VersionID}
		} else if !errors.Is(err, ErrNotFound) {
			return err
		}
	}
	_, err := c.call(client, func() (seen, error) {
		s := want
		var err error
		if r.IntN(4) > 0 {
			meta := map[string]string{"id": strconv.FormatUint(id, 10)}
			var info *ObjectInfo
			if info, err = c.b.PutBytes(ctx, key, crowdBody(id), &PutOptions{Metadata: meta, If: cond}); err == nil {
				c.puts.Add(1)
				s.kind, s.version = callPut, info.VersionID
			}
		} else {
			var res *DeleteResult
			if res, err = c.b.Delete(ctx, key, &DeleteOptions{If: cond}); err == nil {
				c.deletes.Add(1)
				s.kind, s.version = callDelete, res.VersionID
			}
		}
		if errors.Is(err, ErrPrecondition) {
			s.kind = callRefused
			return s, nil
		}
		return s, err
	})
	return err
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
func (c *crowd) list(client int, r *rand.Rand) error {
	opts := &ListPageOptions{ListOptions: ListOptions{Prefix: "key/"}}
	if r.IntN(2) == 0 {
		opts = nil
	}
	_, err := c.call(client, func() (seen, error) {
		page, err := c.b.ListPage(context.Background(), opts)
		if err != nil {
			return seen{}, err
		}
		s := seen{kind: callList}
		for i, o := range page.Objects {
			if i > 0 && page.Objects[i-1].Key >= o.Key {
				return s, fmt.Errorf("%q is listed before %q", page.Objects[i-1].Key, o.Key)
			}
			at := -1
			for i := range crowdKeys {
				if crowdKey(i) == o.Key {
					at = i
				}
			}
			if at < 0 {
				return s, fmt.Errorf("%q is listed, though nobody put it", o.Key)
			}
			s.listed[at] = o.VersionID
		}
		return s, nil
	})
	return err
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
				if errs[w] = c.once(w, r, uint64(w)<<20|uint64(i)); errs[w] != nil {
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
	if workers <= 8 {
		require.NoError(c.t, c.checkWhole())
	} else {
		require.NoError(c.t, c.check())
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
// with disks that fail meanwhile; and 8, whose listings are checked to show all
// keys as of one moment.
func TestLinearizable(t *testing.T) {
	for _, tt := range []struct {
		clients        int
		plain, failing bool
	}{
		{32, true, false}, {32, true, true}, {32, false, false}, {32, false, true},
		{8, true, false}, {8, false, true},
	} {
		t.Run(fmt.Sprintf("clients=%d plain=%v failing=%v", tt.clients, tt.plain, tt.failing), func(t *testing.T) {
			r := newRig(t, 4, 2)
			r.opts.plainIndex = tt.plain
			r.opts.LogSegmentSize = 256 << 10 // it rolls
			e := r.open()
			c := &crowd{t: t, e: e, b: bucketOf(t, e, "bucket")}
			n := 2000 / tt.clients
			if *long {
				n = 2000
			}
			var events []func()
			if tt.failing {
				events = []func(){
					func() {
						r.faults[1].Add(faultdisk.Rule{Ops: faultdisk.OpRead, Prob: 0.2, Err: faultdisk.ErrInjected})
					},
					func() { r.faults[1].Add(faultdisk.Rule{Ops: faultdisk.OpSync, Err: faultdisk.ErrInjected}) },
					func() { r.faults[4].Lose() },
					e.checkDisks,
				}
			}
			c.run(tt.clients, n, events...)
			if tt.failing {
				require.EqualValues(t, 2, e.Metrics().DisksFailed)
				_ = e.Close() // may report the disks
				c.e = r.open()
			} else {
				require.Zero(t, e.Metrics().DisksFailed)
				c.e = r.reopen(e)
			}
			c.b = c.e.Bucket("bucket")
			c.usage()
			// The last state is what the writes leave.
			require.NoError(t, c.list(0, rand.New(rand.NewPCG(1, 7))))
			require.NoError(t, c.check(), "after a reopen")
		})
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
