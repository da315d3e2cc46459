package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/disk/faultdisk"
)

// manyRig is a store with objects of which the size is in the key.
func manyRig(t *testing.T, sizes ...int) (*rig, *Engine, *Bucket) {
	r := newRig(t, 2, 1)
	e := r.open()
	b := bucketOf(t, e, "bucket")
	for _, size := range sizes {
		_, err := b.PutBytes(t.Context(), fmt.Sprint(size), content(uint64(size), size), nil)
		require.NoError(t, err)
	}
	return r, e, b
}

// onRead adds a rule for reads to all disks.
func (r *rig) onRead(rule faultdisk.Rule) (remove func()) {
	rule.Ops = faultdisk.OpRead
	var all []func()
	for _, f := range r.faults {
		all = append(all, f.Add(rule))
	}
	return func() {
		for _, fn := range all {
			fn()
		}
	}
}

// TestGetManyOrder: results are in the order of keys, whatever is wrong with
// some, and the loop goes on.
func TestGetManyOrder(t *testing.T) {
	_, e, b := manyRig(t, 0, 1, 3000, 64<<10, 65<<10, 300_000, 1<<20)
	keys := []string{"3000", "absent", "0", "", "300000", "1", "\xff", "1048576", "3000", "66560", "65536", "absent", "300000"}
	for _, opts := range []*GetManyOptions{nil, {}, {Parallel: 1}, {Parallel: 100, Memory: 1}, {Parallel: 3, Memory: 100_000}, {Parallel: -1, Memory: -1}, {Parallel: 5, Memory: 100 << 20}} {
		i := 0
		for o, err := range b.GetMany(t.Context(), slices.Values(keys), opts) {
			key := keys[i]
			i++
			switch key {
			case "absent":
				requireError(t, err, ErrNotFound, "get", "bucket", key)
				require.Nil(t, o)
			case "", "\xff":
				requireError(t, err, ErrKey, "get", "bucket", key)
				require.Nil(t, o)
			default:
				require.NoError(t, err)
				require.Equal(t, key, o.Info().Key)
				var size int
				_, err := fmt.Sscan(key, &size)
				require.NoError(t, err)
				got, err := io.ReadAll(o)
				require.NoError(t, err)
				require.True(t, bytes.Equal(content(uint64(size), size), got), "%s with %+v", key, opts)
				defer func() { // it was the loop's for one turn
					_, err := o.Read(make([]byte, 1))
					require.ErrorIs(t, err, ErrClosed)
				}()
			}
		}
		require.Equal(t, len(keys), i)
	}
	i := 0
	for info, err := range b.HeadMany(t.Context(), slices.Values(keys)) {
		key := keys[i]
		i++
		switch key {
		case "absent":
			requireError(t, err, ErrNotFound, "head", "bucket", key)
			require.Nil(t, info)
		case "", "\xff":
			requireError(t, err, ErrKey, "head", "bucket", key)
			require.Nil(t, info)
		default:
			require.NoError(t, err)
			require.Equal(t, key, info.Key)
			require.Equal(t, key, fmt.Sprint(info.Size))
		}
	}
	require.Equal(t, len(keys), i)
	for o, err := range e.Bucket("nowhere").GetMany(t.Context(), slices.Values(keys[:3]), nil) {
		require.Nil(t, o)
		require.ErrorIs(t, err, ErrNoBucket)
		i--
	}
	for range b.GetMany(t.Context(), slices.Values([]string(nil)), nil) {
		t.Error("something for no keys")
	}
	require.Equal(t, len(keys)-3, i)
}

// TestGetManyLeft leaves the loop at every place, by break and by panic: no
// goroutine is left, and no more keys are drawn.
func TestGetManyLeft(t *testing.T) {
	noLeaks(t, func() {
		_, e, b := manyRig(t, 0, 3000, 65<<10, 300_000)
		keys := []string{"300000", "3000", "absent", "66560", "0", "300000", "66560", "3000"}
		for leave := range len(keys) {
			for _, panics := range []bool{false, true} {
				drawn, stopped := 0, false
				seq := func(yield func(string) bool) {
					defer func() { stopped = true }()
					for _, key := range keys {
						drawn++
						if !yield(key) {
							return
						}
					}
				}
				leftAt := func(each iter.Seq[error]) {
					drawn, stopped = 0, false
					n := 0
					defer func() {
						require.Equal(t, panics, recover() != nil)
						require.Equal(t, leave, n)
						require.True(t, stopped, "the keys' iterator ended")
					}()
					for range each {
						if n == leave {
							if panics {
								panic("boom")
							}
							return
						}
						n++
					}
				}
				leftAt(errorsOf(b.GetMany(context.Background(), seq, &GetManyOptions{Parallel: 3})))
				require.LessOrEqual(t, drawn, leave+3)
				leftAt(errorsOf(b.HeadMany(context.Background(), seq)))
			}
		}
		require.Panics(t, func() {
			for range b.GetMany(context.Background(), func(yield func(string) bool) {
				yield("300000")
				panic("no more keys")
			}, nil) {
			}
		})
		require.NoError(t, e.Close())
		n := 0
		for o, err := range b.GetMany(context.Background(), slices.Values(keys), nil) {
			require.Nil(t, o)
			require.ErrorIs(t, err, ErrClosed)
			n++
		}
		require.Equal(t, len(keys), n)
	})
}

func errorsOf[T any](seq iter.Seq2[T, error]) iter.Seq[error] {
	return func(yield func(error) bool) {
		for _, err := range seq {
			if !yield(err) {
				return
			}
		}
	}
}

// TestGetManyCancelled: a done context ends the loop with its error, once, and
// what was yielded before is a beginning of the keys.
func TestGetManyCancelled(t *testing.T) {
	_, _, b := manyRig(t, 3000, 300_000)
	keys := slices.Repeat([]string{"3000", "300000", "absent"}, 20)
	loops := map[string]func(ctx context.Context) iter.Seq[error]{
		"GetMany":  func(ctx context.Context) iter.Seq[error] { return errorsOf(b.GetMany(ctx, slices.Values(keys), nil)) },
		"HeadMany": func(ctx context.Context) iter.Seq[error] { return errorsOf(b.HeadMany(ctx, slices.Values(keys))) },
	}
	for name, loop := range loops {
		for _, at := range []int{-1, 0, 1, 2, 17, len(keys) - 1} {
			ctx, cancel := context.WithCancel(t.Context())
			if at < 0 {
				cancel()
			}
			n, ended := 0, 0
			for err := range loop(ctx) {
				require.Zero(t, ended, "%s goes on after the context's error", name)
				if errors.Is(err, context.Canceled) {
					ended++
					continue
				}
				if n%3 == 2 {
					require.ErrorIs(t, err, ErrNotFound)
				} else {
					require.NoError(t, err)
				}
				if n == at {
					cancel()
				}
				n++
			}
			cancel()
			require.Equal(t, n < len(keys), ended == 1, "%s, cancelled at %d: %d of %d and %d errors of the context", name, at, n, len(keys), ended)
			if at < 40 {
				require.Less(t, n, len(keys))
			}
		}
	}
}

// TestGetManyParallel: Parallel objects are fetched at once, and no more.
func TestGetManyParallel(t *testing.T) {
	r, _, b := manyRig(t, 3000)
	const parallel = 6
	var inside, most atomic.Int32
	gate := make(chan struct{})
	var open sync.Once
	r.onRead(faultdisk.Rule{Hook: func(faultdisk.Call) {
		n := inside.Add(1)
		if n > most.Load() {
			most.Store(n)
		}
		if n == parallel {
			open.Do(func() { close(gate) })
		}
		<-gate // the first ones wait for each other
		inside.Add(-1)
	}})
	n := 0
	within(t, time.Minute, "a fetch that waits for the others", func() {
		for o, err := range b.GetMany(t.Context(), slices.Values(slices.Repeat([]string{"3000"}, 50)), &GetManyOptions{Parallel: parallel}) {
			if err != nil || o.Size() != 3000 {
				t.Error(err)
			}
			n++
		}
	})
	require.Equal(t, 50, n)
	require.EqualValues(t, parallel, most.Load())
}

// TestGetManyMemory counts the bytes that are read from the disks: never more
// than Memory ahead of what the loop is at.
func TestGetManyMemory(t *testing.T) {
	for _, c := range []struct {
		size, parallel int
		memory         int64
	}{{1 << 20, 4, 1 << 20}, {1 << 20, 16, 2 << 20}, {64 << 10, 16, 128 << 10}, {64 << 10, 100, 1 << 20}, {1 << 20, 3, 30 << 20}} {
		r, _, b := manyRig(t, c.size)
		var fetched atomic.Int64
		r.onRead(faultdisk.Rule{Hook: func(c faultdisk.Call) { fetched.Add(c.Size) }})
		const frame = 2 * 64 << 10 // what a range of a stripe may take more
		slack := int64(c.parallel+1) * frame
		if c.size <= PackMax {
			slack = 0
		}
		n := int64(0)
		per := min(c.memory/int64(c.parallel), int64(c.size))
		for o, err := range b.GetMany(t.Context(), slices.Values(slices.Repeat([]string{fmt.Sprint(c.size)}, 20)), &GetManyOptions{Parallel: c.parallel, Memory: c.memory}) {
			require.NoError(t, err)
			n++
			if c.size <= PackMax {
				per = int64(c.size)
			}
			require.LessOrEqual(t, fetched.Load(), n*(per+frame)+c.memory+slack, "%+v at %d", c, n)
			if c.size <= PackMax {
				require.LessOrEqual(t, fetched.Load(), (n-1)*per+c.memory, "%+v at %d", c, n)
			}
			_ = o
		}
	}
}

// TestManyKeys is over 10,000 keys.
func TestManyKeys(t *testing.T) {
	r := newRig(t, 2, 1)
	b := bucketOf(t, r.open(), "bucket")
	n := 10_000
	if raceEnabled {
		n = 1000
	}
	manyKeys(t, b, n, func(i int) string { return fmt.Sprintf("%05d", i) })
	seq := func(yield func(string) bool) {
		for i := range n {
			if !yield(fmt.Sprintf("%05d", i)) {
				return
			}
		}
	}
	i := 0
	for info, err := range b.HeadMany(t.Context(), seq) {
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintf("%05d", i), info.Key)
		i++
	}
	for o, err := range b.GetMany(t.Context(), seq, nil) {
		require.NoError(t, err)
		i--
		require.Equal(t, fmt.Sprintf("%05d", n-1-i), o.Info().Key)
	}
	require.Zero(t, i)
}
