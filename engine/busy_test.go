package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/disk/faultdisk"
)

// slotCalls are all calls that count as a mutation under way, by what errors
// call them.
var slotCalls = map[string]func(ctx context.Context, e *Engine, b *Bucket) error{
	"put":       func(ctx context.Context, _ *Engine, b *Bucket) error { return second(b.PutBytes(ctx, "key", nil, nil)) },
	"put async": func(ctx context.Context, _ *Engine, b *Bucket) error { return second(b.PutAsync(ctx, "key", nil, nil)) },
	"put stream": func(ctx context.Context, _ *Engine, b *Bucket) error {
		return second(b.PutBytes(ctx, "key", make([]byte, PackMax+1), nil))
	},
	"create": func(ctx context.Context, _ *Engine, b *Bucket) error {
		w, err := b.Create(ctx, "key", nil)
		if err == nil {
			w.Abort()
		}
		return err
	},
	"delete": func(ctx context.Context, _ *Engine, b *Bucket) error { return second(b.Delete(ctx, "absent", nil)) },
	"delete many": func(ctx context.Context, _ *Engine, b *Bucket) error {
		res, err := b.DeleteMany(ctx, []DeleteItem{{Key: "absent"}})
		return errors.Join(err, res[0].Err)
	},
	"delete prefix": func(ctx context.Context, _ *Engine, b *Bucket) error { return second(b.DeletePrefix(ctx, "absent")) },
	"put tags":      func(ctx context.Context, _ *Engine, b *Bucket) error { return b.PutTags(ctx, "old", nil, nil) },
	"update bucket settings": func(ctx context.Context, _ *Engine, b *Bucket) error {
		return b.UpdateSettings(ctx, func(*BucketSettings) error { return nil })
	},
	"create bucket": func(ctx context.Context, e *Engine, _ *Bucket) error {
		if err := e.CreateBucket(ctx, "other"); err != nil {
			return err
		}
		return e.DeleteBucket(ctx, "other")
	},
}

// TestBusy fills a queue of two: by option, further mutations fail at once, or
// wait until theirs is the turn or their context ends. Nothing is held by those
// that failed.
func TestBusy(t *testing.T) {
	for _, failing := range []bool{true, false} {
		noLeaks(t, func() {
			r := newRig(t, 2, 1)
			r.opts.MaxQueue, r.opts.FailWhenBusy = 2, failing
			e := r.open()
			b := bucketOf(t, e, "bucket")
			must(b.PutBytes(t.Context(), "old", nil, nil))
			for _, open := range []bool{false, true} { // by writers, by puts on their way
				for _, name := range slices.Sorted(maps.Keys(slotCalls)) {
					free := fillQueue(t, r, e, b, open)
					call := slotCalls[name]
					if failing {
						require.ErrorIs(t, call(t.Context(), e, b), ErrBusy, name)
						_, err := b.Put(t.Context(), "key", readerFunc(func([]byte) (int, error) { panic("it is read") }), nil)
						requireError(t, err, ErrBusy, "put", "bucket", "key")
						require.Len(t, e.slots, 2)
						require.Nil(t, look(t, b, "key"), "reads go on")
						free()
						idle(t, e)
						require.NoError(t, call(t.Context(), e, b), name)
					} else {
						ctx, cancel := context.WithTimeout(t.Context(), 2*time.Millisecond)
						require.ErrorIs(t, call(ctx, e, b), context.DeadlineExceeded, name)
						cancel()
						result := make(chan error, 1)
						go func() { result <- call(t.Context(), e, b) }()
						require.Len(t, e.slots, 2)
						free()
						within(t, time.Minute, name, func() { require.NoError(t, <-result, name) })
					}
					idle(t, e)
					must(b.Delete(t.Context(), "key", nil))
				}
			}
			require.NoError(t, e.Close())
		})
	}
}

// fillQueue has two mutations under way until free is called.
func fillQueue(t testing.TB, r *rig, e *Engine, b *Bucket, writers bool) (free func()) {
	if writers {
		first, second := must(b.Create(t.Context(), "a", nil)), must(b.Create(t.Context(), "b", nil))
		return func() { first.Abort(); second.Abort() }
	}
	h := r.holdSyncs()
	first := must(b.PutAsync(t.Context(), "a", nil, nil))
	<-h.begun
	second := must(b.PutAsync(t.Context(), "b", nil, nil))
	return func() {
		h.now()
		must(first.Wait(t.Context()))
		must(second.Wait(t.Context()))
	}
}

// TestBusyAbandoned: puts that were given up, still in the committer's queue, do
// not make those after them wait for a commit that hangs.
func TestBusyAbandoned(t *testing.T) {
	r := newRig(t, 2, 1)
	r.opts.MaxQueue, r.opts.FailWhenBusy = 2, true
	e := r.open()
	b := bucketOf(t, e, "bucket")
	h := r.holdSyncs()
	first := must(b.PutAsync(t.Context(), "first", nil, nil))
	<-h.begun
	within(t, time.Minute, "puts that are given up", func() {
		busy := 0
		for i := range 10 {
			p, err := b.PutAsync(t.Context(), fmt.Sprint(i), nil, nil)
			if err != nil {
				requireError(t, err, ErrBusy, "put", "bucket", fmt.Sprint(i))
				busy++
				continue
			}
			_, err = p.Wait(canceled())
			require.ErrorIs(t, err, context.Canceled)
		}
		require.Positive(t, busy)
	})
	require.Len(t, e.slots, 1)
	h.now()
	must(first.Wait(t.Context()))
	idle(t, e)
	must(b.PutBytes(t.Context(), "last", nil, nil))
	require.Equal(t, []string{"first", "last"}, keysOf(t, b))
}

// TestBusyStreams: by option, a stream beyond MaxWindows fails at once, small
// objects do not, and the window comes back.
func TestBusyStreams(t *testing.T) {
	noLeaks(t, func() {
		r := newRig(t, 2, 1)
		r.opts.MaxWindows, r.opts.FailWhenBusy = 1, true
		e := r.open()
		b := bucketOf(t, e, "bucket")
		for range 3 {
			w := must(b.Create(t.Context(), "first", nil))
			must(w.Write(content(1, PackMax+1)))
			for _, call := range storeCalls {
				_, err := call.run(t.Context(), b, "second", content(2, PackMax+1), nil)
				requireError(t, err, ErrBusy, "put", "bucket", "second")
				must(call.run(t.Context(), b, "small", content(2, PackMax), nil))
			}
			must(w.Commit())
			for _, call := range storeCalls {
				must(call.run(t.Context(), b, "second", content(2, PackMax+1), nil))
			}
			must(b.Delete(t.Context(), "second", nil))
			idle(t, e)
		}
		require.NoError(t, e.Close())
	})
}

// TestSlotsComeBack ends puts in every way that there is, with a queue of two:
// each gives back what it held.
func TestSlotsComeBack(t *testing.T) {
	noLeaks(t, func() {
		r := newRig(t, 4, 2)
		r.opts.MaxQueue, r.opts.MaxWindows, r.opts.FailWhenBusy = 2, 2, true
		e := r.open()
		b := bucketOf(t, e, "bucket")
		broken := errors.New("broken")
		never := &Conditions{IfMatch: "never"}
		size := int64(5)
		rounds := 12
		if raceEnabled {
			rounds = 3
		}
		for i := range rounds {
			big := content(1, []int{1, PackMax + 1, 5 << 20}[i%3])
			for _, call := range storeCalls {
				for _, opts := range []*PutOptions{{If: never}, {Size: &size}, {Tags: map[string]string{"": ""}}, {Hash: &Hash{}}} {
					require.Error(t, second(call.run(t.Context(), b, "key", big, opts)))
					require.Empty(t, e.slots)
				}
				require.ErrorIs(t, second(call.run(canceled(), b, "key", big, nil)), context.Canceled)
				require.ErrorIs(t, second(call.run(t.Context(), e.Bucket("absent"), "key", big, nil)), ErrNoBucket)
				require.ErrorIs(t, second(call.run(t.Context(), b, "", big, nil)), ErrKey)
				require.Empty(t, e.slots)
			}
			_, err := b.Put(t.Context(), "key", io.MultiReader(bytes.NewReader(big), iotest.ErrReader(broken)), nil)
			require.ErrorIs(t, err, broken)
			require.Empty(t, e.slots)
			require.ErrorIs(t, b.PutTags(t.Context(), "key", nil, nil), ErrNotFound)
			require.ErrorIs(t, second(b.Delete(t.Context(), "key", &DeleteOptions{If: never})), ErrPrecondition)
			require.ErrorIs(t, second(b.Delete(t.Context(), "", nil)), ErrKey)
			require.ErrorIs(t, b.UpdateSettings(t.Context(), func(*BucketSettings) error { return broken }), broken)
			require.Empty(t, e.slots)
			p := must(b.PutAsync(t.Context(), "key", big, nil))
			_, err = p.Wait(canceled())
			require.True(t, err == nil || errors.Is(err, context.Canceled))
			idle(t, e)
			must(b.Delete(t.Context(), "key", nil))
		}
		// Too few disks are left.
		for _, f := range r.faults[:4] {
			f.Lose()
		}
		for range 3 {
			for _, call := range storeCalls {
				for _, n := range []int{1, PackMax + 1, 5 << 20} {
					require.ErrorIs(t, second(call.run(t.Context(), b, "key", content(1, n), nil)), ErrNoQuorum)
					require.Empty(t, e.slots)
				}
			}
			require.ErrorIs(t, second(b.Delete(t.Context(), "key", nil)), ErrNoQuorum)
			require.Empty(t, e.slots)
		}
		_ = e.Close() // reports the disks
		for _, call := range storeCalls {
			require.ErrorIs(t, second(call.run(t.Context(), b, "key", nil, nil)), ErrClosed)
		}
		require.Empty(t, e.slots)
	})
}

// TestSlowReaders has many puts whose bytes come slowly: no more of them than
// MaxQueue are begun to be read, so memory is bounded, and small ones that need
// no more go through as the slow ones end.
func TestSlowReaders(t *testing.T) {
	noLeaks(t, func() {
		r := newRig(t, 2, 1)
		r.opts.MaxQueue = 8
		e := r.open()
		b := bucketOf(t, e, "bucket")
		var reading, most atomic.Int64
		gate := make(chan struct{})
		var wg sync.WaitGroup
		const n = 100
		errs := make([]error, n)
		for i := range n {
			wg.Go(func() {
				p := bytes.NewReader(content(uint64(i), 1000*i))
				began := false
				_, errs[i] = b.Put(t.Context(), fmt.Sprint(i), readerFunc(func(buf []byte) (int, error) {
					if !began {
						began = true
						for now := reading.Add(1); ; {
							if m := most.Load(); m >= now || most.CompareAndSwap(m, now) {
								break
							}
						}
						<-gate
					}
					m, err := p.Read(buf)
					if err == io.EOF {
						reading.Add(-1)
					}
					return m, err
				}), nil)
			})
		}
		await(t, func() bool { return reading.Load() == 8 })
		require.Len(t, e.slots, 8)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, err := b.PutBytes(ctx, "late", nil, nil)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		close(gate)
		within(t, time.Minute, "slow puts", wg.Wait)
		require.NoError(t, errors.Join(errs...))
		require.EqualValues(t, 8, most.Load())
		for i := range n {
			p, err := read(b, fmt.Sprint(i))
			require.NoError(t, err)
			require.True(t, bytes.Equal(content(uint64(i), 1000*i), p))
		}
		idle(t, e)
		require.NoError(t, e.Close())
	})
}

// TestBusyUnderFaults has a crowd of puts with a queue of four and FailWhenBusy
// while disks fail: each is told, whoever is busy tries again, and in the end
// nothing is held.
func TestBusyUnderFaults(t *testing.T) {
	r := newRig(t, 4, 2)
	r.opts.MaxQueue, r.opts.FailWhenBusy = 4, true
	e := r.open()
	b := bucketOf(t, e, "bucket")
	var wg sync.WaitGroup
	var busy atomic.Int64
	for w := range 8 {
		wg.Go(func() {
			for i := range 20 {
				if w == 0 && i == 5 {
					r.faults[0].Add(faultdisk.Rule{Ops: faultdisk.OpSync, Nth: 2, Sticky: true, Err: faultdisk.ErrInjected})
				}
				if w == 0 && i == 10 {
					r.faults[5].Lose()
				}
				for {
					key, call := fmt.Sprint(w, "/", i), storeCalls[(w+i)%len(storeCalls)]
					_, err := call.run(t.Context(), b, key, content(uint64(i), i*5000), nil)
					if err == nil {
						break
					}
					if !errors.Is(err, ErrBusy) {
						t.Error(err)
						return
					}
					busy.Add(1)
					await(t, func() bool { return len(e.slots) < 4 })
				}
			}
		})
	}
	within(t, time.Minute, "a crowd", wg.Wait)
	idle(t, e)
	require.Len(t, keysOf(t, b), 8*20)
	t.Logf("%d times busy", busy.Load())
}

// TestRecentMemory stores small objects with as much metadata as there may be:
// what the committer remembers of the last ones is bounded in bytes, too.
func TestRecentMemory(t *testing.T) {
	o := EdgeOptions()
	dir := t.TempDir()
	o.Disks, o.IndexDir = openDirs(t, dirs(t, 1)), dir
	e, err := Open(t.Context(), &o)
	require.NoError(t, err)
	b := bucketOf(t, e, "bucket")
	live := func() int64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := live()
	n := 500
	if raceEnabled {
		n = 250
	}
	for i := range n {
		long := strings.Repeat(fmt.Sprintf("%08d", i), 8<<10-1)
		must(b.PutAsync(t.Context(), fmt.Sprint(i), nil, &PutOptions{Headers: Headers{ContentType: long}, Metadata: map[string]string{"k": long}}))
	}
	idle(t, e)
	grown := live() - before
	t.Logf("heap grown by %d KiB", grown>>10)
	require.Less(t, grown, int64(40<<20), "of 62 MiB of metadata and what handles it")
	require.NoError(t, e.Close())
}
