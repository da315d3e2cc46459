package engine

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/meta"
)

// TestCloseBesideOpenWriter: calls that wait for what an open Writer holds do not
// hold Close up.
func TestCloseBesideOpenWriter(t *testing.T) {
	for name, c := range map[string]struct {
		set  func(*Options)
		size int
	}{
		"slot":   {func(o *Options) { o.MaxQueue = 1 }, 10},
		"window": {func(o *Options) { o.MaxWindows = 1 }, 200 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 2, 1)
			c.set(&r.opts)
			e := r.open()
			b := bucketOf(t, e, "bucket")
			w := must(b.Create(t.Context(), "open", nil))
			defer w.Abort()
			must(w.Write(content(1, c.size)))
			put := make(chan error, 1)
			go func() {
				_, err := b.PutBytes(context.Background(), "waits", content(2, c.size), nil)
				put <- err
			}()
			closed := make(chan error, 1)
			go func() { closed <- e.Close() }()
			for _, done := range []chan error{put, closed} {
				select {
				case err := <-done:
					if done == put {
						require.ErrorIs(t, err, ErrClosed)
					} else {
						require.NoError(t, err)
					}
				case <-time.After(time.Minute):
					t.Fatal("Close waits for the writer")
				}
			}
			_, err := w.Write([]byte("x"))
			require.ErrorIs(t, err, ErrClosed)
		})
	}
}

// TestRefusedStreamLeavesNothing: what a large put wrote to segments of its own is
// gone when the commit refuses it, whether or not anybody waits.
func TestRefusedStreamLeavesNothing(t *testing.T) {
	r := newRig(t, 2, 1)
	r.opts.PayloadSegmentSize, r.opts.PayloadAhead = 64<<20, 1<<20
	e := r.open()
	b := bucketOf(t, e, "bucket")
	must(b.PutBytes(t.Context(), "key", []byte("there"), nil))
	used := func() (n int64) {
		for _, f := range must(r.mems[0].List()) {
			n += f.Size
		}
		return n
	}
	before := used()
	p := content(1, 70<<20)
	refused := &PutOptions{If: &Conditions{IfNoneMatch: "*"}}
	left := func(what string) {
		t.Helper()
		idle(t, e)
		require.Less(t, used()-before, int64(10<<20), what)
	}
	_, err := must(b.PutAsync(t.Context(), "key", p, refused)).Wait(t.Context())
	require.ErrorIs(t, err, ErrPrecondition)
	left("waited for")
	must(b.PutAsync(t.Context(), "key", p, refused))
	left("not waited for")
	size := int64(len(p)) // else the first 64 MiB go to a segment that others use too
	w := must(b.Create(t.Context(), "race", &PutOptions{Size: &size, If: refused.If}))
	must(w.Write(p))
	must(b.PutBytes(t.Context(), "race", []byte("first"), nil))
	_, err = w.Commit()
	require.ErrorIs(t, err, ErrPrecondition)
	left("overtaken")
	must(b.PutBytes(t.Context(), "stays", p, nil))
	require.Equal(t, p, must(read(b, "stays")))
	require.Greater(t, used()-before, int64(30<<20))
}

// TestBulkGroupOnNearlyFullDisk: a large group asks for no more than it needs
// where there is no more.
func TestBulkGroupOnNearlyFullDisk(t *testing.T) {
	r := newRig(t, 1, 0)
	r.opts.LogSegmentSize, r.opts.LogAhead = 64<<20, 1<<20
	e := r.open()
	b := bucketOf(t, e, "bucket")
	var used int64
	for _, f := range must(r.mems[0].List()) {
		used += f.Size
	}
	r.mems[0].SetCapacity(used + 3<<20)
	release := r.holdSyncs()
	var all []*Pending
	for i := range 33 {
		all = append(all, must(b.PutAsync(t.Context(), string(rune('a'+i)), content(1, PackMax), nil)))
		if i == 0 {
			<-release.begun
		}
	}
	release.now()
	for _, p := range all {
		must(p.Wait(t.Context()))
	}
}

// TestRecentCountsWhatItKeeps: new tags keep the whole version, metadata included.
func TestRecentCountsWhatItKeeps(t *testing.T) {
	r := newRecent(0)
	var kept int64
	for i := range 400 {
		v := &meta.Version{Object: meta.Object{Metadata: make([]byte, 60<<10)}}
		q := &request{record: meta.Record{Kind: meta.KindTags, Bucket: 1, Key: string(rune('a' + i)), Tags: []byte{1}}, prev: v, current: v}
		q.id.Sequence = uint64(i + 1)
		r.note(nil, q)
		r.endGroup(uint64(i + 1))
		kept = 0
		for _, c := range r.keys {
			kept += int64(len(c.version.Metadata))
		}
	}
	require.LessOrEqual(t, kept, int64(recentBytes)+inFlight*64<<10)
}

// brokenIndex fails the third batch from now on; its snapshots close when told.
type brokenIndex struct {
	meta.Index
	batches int
	closing chan struct{}
	hold    chan struct{}
}

func (x *brokenIndex) Apply(b *meta.Batch, pos meta.Position) error {
	if x.batches++; x.batches > 2 {
		return errors.New("planted")
	}
	return x.Index.Apply(b, pos)
}

func (x *brokenIndex) Snapshot() (meta.Snapshot, error) {
	s, err := x.Index.Snapshot()
	return &heldSnapshot{s, x}, err
}

type heldSnapshot struct {
	meta.Snapshot
	x *brokenIndex
}

func (s *heldSnapshot) Close() error {
	close(s.x.closing)
	<-s.x.hold
	return s.Snapshot.Close()
}

// TestTransactionFailsMidway: nobody sees the part that was applied.
func TestTransactionFailsMidway(t *testing.T) {
	r := newRig(t, 2, 1)
	r.opts.chunk = 10
	e := r.open()
	b := bucketOf(t, e, "bucket")
	manyKeys(t, b, 50, func(i int) string { return "k" + string(rune('a'+i)) })
	x := &brokenIndex{Index: e.index, closing: make(chan struct{}), hold: make(chan struct{})}
	idle(t, e)
	e.index = x
	done := make(chan error, 1)
	go func() {
		_, err := b.DeletePrefix(context.Background(), "")
		done <- err
	}()
	<-x.closing
	bucket, _ := e.state.Bucket("bucket")
	err := e.read(func(r meta.Reader) error {
		page, err := meta.List(r, meta.ListQuery{Bucket: bucket.ID})
		if err == nil {
			require.Len(t, page.Entries, 30, "the test must be able to see a part")
		}
		return err
	})
	require.ErrorIs(t, err, ErrIndexFailed)
	var v meta.Version
	require.ErrorIs(t, e.head(bucket.ID, "ka", nil, &v), ErrIndexFailed)
	close(x.hold)
	require.ErrorIs(t, <-done, ErrIndexFailed)
	e = r.reopenFailed(e)
	require.Empty(t, keysOf(t, e.Bucket("bucket")))
}

// reopenFailed is reopen of a store that failed.
func (r *rig) reopenFailed(e *Engine) *Engine {
	_ = e.Close()
	return r.open()
}

// TestReadAheadOfLargeReads: reads of any size that go straight on find the next
// piece on its way.
func TestReadAheadOfLargeReads(t *testing.T) {
	b := bucketOf(t, newRig(t, 2, 1).open(), "bucket")
	want := content(1, 20<<20)
	must(b.PutBytes(t.Context(), "key", want, nil))
	for _, size := range []int{32 << 10, 256 << 10, 1 << 20} {
		o := must(b.Get(t.Context(), "key", nil))
		p := make([]byte, size)
		ahead, reads := 0, 0
		for at := 0; at < 16<<20; reads++ {
			n := must(o.Read(p))
			require.Equal(t, want[at:at+n], p[:n])
			at += n
			if o.ahead.next != nil {
				ahead++
			}
		}
		require.Greater(t, ahead, reads/2, size)
		require.NoError(t, o.Close())
	}
}
