package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/disk/faultdisk"
	"github.com/cairnstore/cairn/erasure"
)

// mutations are all kinds of calls that change something. Each changes what
// another cannot see, so that present tells whether it happened.
var mutations = []struct {
	name    string
	prepare func(ctx context.Context, e *Engine) error
	run     func(ctx context.Context, e *Engine) error
	present func(e *Engine) (bool, error)
}{
	{"put packed", nothing, putOf("packed", 3000), hasKey("packed")},
	{"put striped", nothing, putOf("striped", 300<<10), hasKey("striped")},
	{"delete", putOf("doomed", 100), func(ctx context.Context, e *Engine) error {
		_, err := e.Bucket("bucket").Delete(ctx, "doomed", nil)
		return err
	}, not(hasKey("doomed"))},
	{"create bucket", nothing, func(ctx context.Context, e *Engine) error { return e.CreateBucket(ctx, "created") }, hasBucket("created")},
	{"delete bucket", func(ctx context.Context, e *Engine) error { return e.CreateBucket(ctx, "deleted") },
		func(ctx context.Context, e *Engine) error { return e.DeleteBucket(ctx, "deleted") }, not(hasBucket("deleted"))},
}

func nothing(context.Context, *Engine) error { return nil }

func putOf(key string, n int) func(ctx context.Context, e *Engine) error {
	return func(ctx context.Context, e *Engine) error {
		_, err := e.Bucket("bucket").PutBytes(ctx, key, content(1, n), nil)
		return err
	}
}

func hasKey(key string) func(e *Engine) (bool, error) {
	return func(e *Engine) (bool, error) {
		_, err := e.Bucket("bucket").Head(context.Background(), key, nil)
		if errors.Is(err, ErrNotFound) {
			return false, nil
		}
		return err == nil, err
	}
}

func hasBucket(name string) func(e *Engine) (bool, error) {
	return func(e *Engine) (bool, error) {
		buckets, err := e.Buckets(context.Background())
		for _, b := range buckets {
			if b.Name == name {
				return true, err
			}
		}
		return false, err
	}
}

func not(fn func(e *Engine) (bool, error)) func(e *Engine) (bool, error) {
	return func(e *Engine) (bool, error) {
		is, err := fn(e)
		return !is, err
	}
}

// cancelRig opens a store of 2+1 with a bucket.
func cancelRig(t *testing.T, change func(o *Options)) (*rig, *Engine) {
	r := newRig(t, 2, 1)
	if change != nil {
		change(&r.opts)
	}
	e := r.open()
	bucketOf(t, e, "bucket")
	return r, e
}

// block holds the next sync of every disk back. began receives once for each
// that waits; release lets them go on.
func (r *rig) block() (began <-chan struct{}, release func()) {
	gate, b := make(chan struct{}), make(chan struct{}, 64)
	var remove []func()
	for _, d := range r.faults {
		remove = append(remove, d.Add(faultdisk.Rule{
			Ops: faultdisk.OpSync, Nth: 1, Block: gate, Hook: func(faultdisk.Call) { b <- struct{}{} },
		}))
	}
	return b, func() {
		close(gate)
		for _, fn := range remove {
			fn()
		}
	}
}

func TestCancelBefore(t *testing.T) {
	r, e := cancelRig(t, nil)
	b := e.Bucket("bucket")
	for _, m := range mutations {
		require.NoError(t, m.prepare(context.Background(), e))
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, m := range mutations {
		require.ErrorIs(t, m.run(ctx, e), context.Canceled, m.name)
	}
	_, err := b.Get(ctx, "doomed", nil)
	require.ErrorIs(t, err, context.Canceled)
	_, err = b.Head(ctx, "doomed", nil)
	require.ErrorIs(t, err, context.Canceled)
	_, err = b.ListPage(ctx, nil)
	require.ErrorIs(t, err, context.Canceled)
	_, err = e.Buckets(ctx)
	require.ErrorIs(t, err, context.Canceled)
	n := 0
	for o, err := range b.List(ctx, nil) {
		require.Nil(t, o)
		require.ErrorIs(t, err, context.Canceled)
		n++
	}
	require.Equal(t, 1, n)
	for range 2 {
		for _, m := range mutations {
			is, err := m.present(e)
			require.NoError(t, err)
			require.False(t, is, m.name)
		}
		e = r.reopen(e)
	}
	deadline, cancel := context.WithTimeout(context.Background(), -time.Second)
	defer cancel()
	require.ErrorIs(t, mutations[0].run(deadline, e), context.DeadlineExceeded)
}

// TestCancelQueued cancels each mutation while it waits behind a commit that is
// held up: it returns at once, and never happens.
func TestCancelQueued(t *testing.T) {
	for _, queue := range []int{1, 64} { // 1: the last ones wait outside
		r, e := cancelRig(t, func(o *Options) { o.MaxQueue = queue })
		for _, m := range mutations {
			require.NoError(t, m.prepare(context.Background(), e))
		}
		began, release := r.block()
		first := make(chan error, 1)
		go func() { first <- putOf("first", 100)(context.Background(), e) }()
		<-began
		ctx, cancel := context.WithCancel(context.Background())
		results := make(chan error, 8)
		for _, m := range mutations {
			// A stream would wait for its own sync before it queues.
			if m.name != "put striped" {
				go func() { results <- m.run(ctx, e) }()
			}
		}
		if queue > 1 {
			for len(e.queue) < len(mutations)-1 {
				runtime.Gosched()
			}
		}
		cancel()
		within(t, time.Minute, "a cancelled call behind a commit", func() {
			for range len(mutations) - 1 {
				require.ErrorIs(t, <-results, context.Canceled)
			}
		})
		require.Empty(t, first)
		release()
		require.NoError(t, <-first)
		for range 2 {
			for _, m := range mutations {
				is, err := m.present(e)
				require.NoError(t, err)
				require.False(t, is, m.name)
			}
			is, err := hasKey("first")(e)
			require.NoError(t, err)
			require.True(t, is)
			e = r.reopen(e)
		}
	}
}

// TestCancelCommitting cancels each mutation when its commit has begun: it
// waits for the outcome, and tells the truth.
func TestCancelCommitting(t *testing.T) {
	r, e := cancelRig(t, nil)
	for _, m := range mutations {
		if m.name == "put striped" {
			continue // see TestCancelBody
		}
		require.NoError(t, m.prepare(context.Background(), e))
		began, release := r.block()
		ctx, cancel := context.WithCancel(context.Background())
		result := make(chan error, 1)
		go func() { result <- m.run(ctx, e) }()
		<-began
		cancel()
		is, err := m.present(e)
		require.NoError(t, err)
		require.False(t, is, "%s is shown before it is durable", m.name)
		require.Empty(t, result)
		release()
		require.NoError(t, <-result, m.name)
	}
	for range 2 {
		for _, m := range mutations {
			if m.name != "put striped" {
				is, err := m.present(e)
				require.NoError(t, err)
				require.True(t, is, m.name)
			}
		}
		e = r.reopen(e)
	}
}

// trip calls fn once at bytes have been read.
type trip struct {
	r  io.Reader
	at int64
	fn func()
}

func (r *trip) Read(p []byte) (int, error) {
	if r.at == 0 {
		r.at = -1
		r.fn()
	}
	if r.at > 0 {
		p = p[:min(int64(len(p)), r.at)]
	}
	n, err := r.r.Read(p)
	if r.at > 0 {
		r.at -= int64(n)
	}
	return n, err
}

// bodyPlaces calls fn with sizes of objects and places in them.
func bodyPlaces(fn func(size, at int)) {
	for _, size := range []int{1, 4 << 10, 64 << 10, 64<<10 + 1, 300 << 10, 5 << 20} {
		for _, at := range []int{0, 1, 4095, 64 << 10, 64<<10 + 1, 100 << 10, 320 << 10, 4 << 20, size - 1, size} {
			if at <= size {
				fn(size, at)
			}
		}
	}
}

// TestCancelBody cancels a put when it has read so many bytes of its body.
func TestCancelBody(t *testing.T) {
	noLeaks(t, func() {
		r, e := cancelRig(t, nil)
		want := map[string]bool{}
		bodyPlaces(func(size, at int) {
			key := fmt.Sprintf("%d-%d", size, at)
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			_, err := e.Bucket("bucket").Put(ctx, key, &trip{bytes.NewReader(content(1, size)), int64(at), cancel}, nil)
			if err != nil {
				require.ErrorIs(t, err, context.Canceled)
			}
			if at < size {
				require.Error(t, err, "%s: the context ended and the body did not", key)
			}
			want[key] = err == nil
		})
		for range 2 {
			for key, there := range want {
				is, err := hasKey(key)(e)
				require.NoError(t, err)
				require.Equal(t, there, is, key)
			}
			e = r.reopen(e)
		}
		require.NoError(t, e.Close())
	})
}

// TestCancelWaitingForWindow cancels a large put that waits for memory.
func TestCancelWaitingForWindow(t *testing.T) {
	_, e := cancelRig(t, func(o *Options) { o.MaxWindows = 1 })
	b := e.Bucket("bucket")
	gate, began, result := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	p := content(3, 6<<20)
	go func() {
		_, err := b.Put(context.Background(), "first", &trip{bytes.NewReader(p), 5 << 20, func() {
			close(began)
			<-gate
		}}, nil)
		result <- err
	}()
	<-began
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	within(t, time.Minute, "a put that waits for a window", func() {
		_, err := b.PutBytes(ctx, "second", p, nil)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
	close(gate)
	require.NoError(t, <-result)
	got, err := read(b, "first")
	require.NoError(t, err)
	require.True(t, bytes.Equal(p, got))
	_, err = b.Head(context.Background(), "second", nil)
	require.ErrorIs(t, err, ErrNotFound)
	// The window is free again.
	_, err = b.PutBytes(context.Background(), "third", p, nil)
	require.NoError(t, err)
}

// writerFunc is an io.Writer.
type writerFunc func(p []byte) (int, error)

func (fn writerFunc) Write(p []byte) (int, error) { return fn(p) }

// TestCancelReading cancels gets under way, and a listing.
func TestCancelReading(t *testing.T) {
	_, e := cancelRig(t, nil)
	b := e.Bucket("bucket")
	p := content(1, 12<<20)
	_, err := b.PutBytes(context.Background(), "key", p, nil)
	require.NoError(t, err)
	noLeaks(t, func() {
		ctx, cancel := context.WithCancel(context.Background())
		o, err := b.Get(ctx, "key", nil)
		require.NoError(t, err)
		n, err := o.WriteTo(writerFunc(func(p []byte) (int, error) {
			cancel()
			return len(p), nil
		}))
		require.ErrorIs(t, err, context.Canceled)
		require.Less(t, n, int64(len(p)))
		_, err = o.ReadAt(make([]byte, 100), 11<<20)
		require.ErrorIs(t, err, context.Canceled)
		_, err = o.Seek(8<<20, io.SeekStart)
		require.NoError(t, err)
		_, err = o.Read(make([]byte, 100))
		require.ErrorIs(t, err, context.Canceled)
		require.NoError(t, o.Close())
	})
	for i := range 1500 {
		require.NoError(t, putOf(fmt.Sprintf("k%04d", i), 1)(context.Background(), e))
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	n, failed := 0, 0
	for o, err := range b.List(ctx, nil) {
		if err != nil {
			require.ErrorIs(t, err, context.Canceled)
			require.Nil(t, o)
			failed++
			continue
		}
		require.Zero(t, failed, "an error is the last")
		n++
		cancel()
	}
	require.Equal(t, 1, failed)
	require.LessOrEqual(t, n, MaxListLimit)
}

// TestFailingReader has the body end in an error at any byte.
func TestFailingReader(t *testing.T) {
	noLeaks(t, func() {
		r, e := cancelRig(t, nil)
		b := e.Bucket("bucket")
		broken := errors.New("the line went dead")
		bodyPlaces(func(size, at int) {
			for i, fail := range []io.Reader{iotest.ErrReader(broken), iotest.ErrReader(io.ErrUnexpectedEOF)} {
				dead := e.Metrics().BytesDead
				body := io.MultiReader(bytes.NewReader(content(1, size)[:at]), fail)
				_, err := b.Put(context.Background(), "key", body, nil)
				require.ErrorIs(t, err, []error{broken, io.ErrUnexpectedEOF}[i])
				var typed *Error
				require.ErrorAs(t, err, &typed)
				require.Equal(t, "put", typed.Op)
				_, err = b.Head(context.Background(), "key", nil)
				require.ErrorIs(t, err, ErrNotFound)
				if at <= 64<<10 {
					require.Equal(t, dead, e.Metrics().BytesDead, "nothing was written for %d bytes", at)
				}
			}
		})
		// The bytes that reached the disks are counted.
		dead, before := e.Metrics().BytesDead, e.Metrics().BytesWritten
		body := io.MultiReader(&trip{bytes.NewReader(content(1, 5<<20)), 9 << 19, func() {
			for e.Metrics().BytesWritten < before+4<<20 {
				runtime.Gosched()
			}
		}}, iotest.ErrReader(broken))
		_, err := b.Put(context.Background(), "key", body, nil)
		require.ErrorIs(t, err, broken)
		require.GreaterOrEqual(t, e.Metrics().BytesDead-dead, int64(6<<20-6<<17), "a window of 4 MiB, with parity")
		// What is no reader.
		_, err = b.Put(context.Background(), "key", lyingReader{}, nil)
		require.Error(t, err)
		e = r.reopen(e)
		is, err := hasKey("key")(e)
		require.NoError(t, err)
		require.False(t, is)
		require.NoError(t, e.Close())
	})
}

// lyingReader claims more than it was given room for.
type lyingReader struct{}

func (lyingReader) Read(p []byte) (int, error) { return len(p) + 1, nil }

// TestPanickingReader has the body panic, or end its goroutine: that is its
// caller's affair, and the store goes on without a lock or a window held.
func TestPanickingReader(t *testing.T) {
	noLeaks(t, func() {
		_, e := cancelRig(t, func(o *Options) { o.MaxWindows = 1 })
		b := e.Bucket("bucket")
		bodyPlaces(func(size, at int) {
			for _, end := range []func(){func() { panic("reader") }, runtime.Goexit} {
				done := make(chan any)
				go func() {
					defer func() { done <- recover() }()
					_, _ = b.Put(context.Background(), "key", &trip{bytes.NewReader(content(1, size)), int64(at), end}, nil)
				}()
				within(t, time.Minute, "a put whose reader panics", func() { <-done })
			}
		})
		is, err := hasKey("key")(e)
		require.NoError(t, err)
		require.False(t, is)
		_, err = b.PutBytes(context.Background(), "key", content(2, 6<<20), nil)
		require.NoError(t, err)
		// A writer that panics while an object is copied to it.
		o, err := b.Get(context.Background(), "key", nil)
		require.NoError(t, err)
		require.Panics(t, func() {
			_, _ = o.WriteTo(writerFunc(func([]byte) (int, error) { panic("writer") }))
		})
		require.NoError(t, o.Close())
		within(t, time.Minute, "close", func() { require.NoError(t, e.Close()) })
	})
}

// TestCloseWaits closes the store while calls are under way: they end well, or
// with ErrClosed.
func TestCloseWaits(t *testing.T) {
	noLeaks(t, func() {
		for _, g := range []erasure.Geometry{{Data: 2, Parity: 1}, {Data: 1}} {
			r := newRig(t, g.Data, g.Parity)
			e := r.open()
			b := bucketOf(t, e, "bucket")
			began, release := r.block()
			results := make(chan error, 16)
			done := map[int]bool{}
			type outcome struct {
				i   int
				err error
			}
			outcomes := make(chan outcome, 16)
			for i := range 16 {
				go func() {
					_, err := b.PutBytes(context.Background(), fmt.Sprint(i), content(uint64(i), 1+20<<10*i), nil)
					outcomes <- outcome{i, err}
				}()
			}
			<-began
			go func() { results <- e.Close() }()
			release()
			within(t, time.Minute, "close beside puts", func() {
				for range 16 {
					o := <-outcomes
					if o.err != nil {
						require.ErrorIs(t, o.err, ErrClosed)
					}
					done[o.i] = o.err == nil
				}
				require.NoError(t, <-results)
			})
			e = r.open()
			for i, there := range done {
				is, err := hasKey(fmt.Sprint(i))(e)
				require.NoError(t, err)
				require.Equal(t, there, is)
			}
			require.NoError(t, e.Close())
		}
	})
}
