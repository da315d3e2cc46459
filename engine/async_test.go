package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestAsyncMany has one goroutine put 10,000 objects without waiting for any of
// them: they share fdatasyncs, and all of them are there when Wait has said so.
func TestAsyncMany(t *testing.T) {
	n := 10_000
	if raceEnabled {
		n = 3000
	}
	r := newRig(t, 4, 2).defaults()
	e := r.open()
	b := bucketOf(t, e, "bucket")
	before := e.Metrics()
	all := make([]*Pending, n)
	for i := range all {
		all[i] = must(b.PutAsync(t.Context(), fmt.Sprintf("%05d", i), content(uint64(i), 100+i%50), nil))
	}
	for i, p := range all {
		info := must(p.Wait(t.Context()))
		require.EqualValues(t, 100+i%50, info.Size)
	}
	after := e.Metrics()
	syncs := float64(after.Syncs-before.Syncs) / float64(n)
	t.Logf("%d puts in %d groups, %.3f fdatasyncs each", n, after.Groups-before.Groups, syncs)
	require.Less(t, syncs, 0.2)
	require.EqualValues(t, n, after.Puts-before.Puts)
	idle(t, e)
	e = r.reopen(e)
	b = e.Bucket("bucket")
	for i := range n {
		p, err := read(b, fmt.Sprintf("%05d", i))
		require.NoError(t, err)
		require.True(t, bytes.Equal(content(uint64(i), 100+i%50), p))
	}
}

// TestAsyncOrder puts a few keys again and again without waiting, with deletes
// between: what comes last is what stays, and versions are in the order of the
// calls, in one group and over groups that are durable and not shown yet.
func TestAsyncOrder(t *testing.T) {
	for _, held := range []bool{false, true} {
		r := newRig(t, 2, 1).defaults()
		r.opts.GroupRecords = 7 // one key in several groups in flight
		r.opts.plainIndex = held
		e := r.open()
		s := stall(e)
		b := bucketOf(t, e, "bucket")
		rng := rand.New(rand.NewPCG(1, 1))
		for round := range 20 {
			release := func() {}
			if held {
				release = s.holdApplies(t, e, b)
			}
			want := map[string][]byte{}
			var puts []*Pending
			var deletes []*request
			for i := range 60 {
				key := fmt.Sprint("key/", rng.IntN(3))
				if rng.IntN(3) == 0 {
					bucket, _ := e.state.Bucket("bucket")
					deletes = append(deletes, must(b.deleteAsync(t.Context(), bucket, DeleteItem{Key: key})))
					delete(want, key)
					continue
				}
				size := rng.IntN(200)
				if rng.IntN(20) == 0 {
					size += PackMax
				}
				want[key] = content(uint64(1000*round+i), size)
				puts = append(puts, must(b.PutAsync(t.Context(), key, want[key], nil)))
			}
			release()
			last := uint64(0)
			for _, p := range puts {
				info := must(p.Wait(t.Context()))
				seq := seen{kind: callPut, version: info.VersionID}.sequence()
				require.Greater(t, seq, last)
				last = seq
			}
			for _, q := range deletes {
				require.NoError(t, e.wait(t.Context(), q))
			}
			if round%5 == 4 {
				e = r.reopen(e)
				s = stall(e)
				b = e.Bucket("bucket")
			}
			for i := range 3 {
				key := fmt.Sprint("key/", i)
				v, p := look(t, b, key), want[key]
				require.Equal(t, p == nil, v == nil, key)
				if v != nil {
					require.True(t, bytes.Equal(p, v.body), key)
				}
			}
		}
	}
}

// TestAsyncNotWaited: puts whose Wait nobody calls are made all the same, and
// hold nothing.
func TestAsyncNotWaited(t *testing.T) {
	noLeaks(t, func() {
		r := newRig(t, 2, 1)
		r.opts.MaxQueue = 4
		e := r.open()
		b := bucketOf(t, e, "bucket")
		put := func(from, to int) {
			for i := range to - from {
				must(b.PutAsync(t.Context(), fmt.Sprint(from+i), content(1, []int{0, 100, PackMax, PackMax + 1}[i%4]), nil))
			}
		}
		put(0, 20)
		idle(t, e)
		require.Len(t, keysOf(t, b), 20)
		put(20, 40)
		require.NoError(t, e.Close())
		e = r.open()
		require.Len(t, keysOf(t, e.Bucket("bucket")), 40)
		require.NoError(t, e.Close())
	})
}

// TestAsyncClose closes the store over puts that nobody has waited for yet: they
// are all made, and Wait says so afterwards. Later ones get ErrClosed.
func TestAsyncClose(t *testing.T) {
	noLeaks(t, func() {
		r := newRig(t, 2, 1)
		e := r.open()
		s := stall(e)
		b := bucketOf(t, e, "bucket")
		release := s.holdApplies(t, e, b)
		var all []*Pending
		for i := range 50 {
			all = append(all, must(b.PutAsync(t.Context(), fmt.Sprint(i), content(uint64(i), 2000*i), nil)))
		}
		closed := make(chan error)
		go func() { closed <- e.Close() }()
		await(t, func() bool {
			_, err := b.PutAsync(t.Context(), "late", nil, nil)
			return errors.Is(err, ErrClosed)
		})
		_, err := b.PutAsync(t.Context(), "late", nil, nil)
		requireError(t, err, ErrClosed, "put", "bucket", "late")
		release()
		for i, p := range all {
			if i%2 == 0 {
				must(p.Wait(t.Context()))
			}
		}
		within(t, time.Minute, "close beside pending puts", func() { require.NoError(t, <-closed) })
		for i, p := range all {
			info := must(p.Wait(t.Context()))
			require.EqualValues(t, 2000*i, info.Size)
			require.Equal(t, 1, info.Survives)
		}
		require.Empty(t, e.slots)
		e = r.open()
		for i := range all {
			p, err := read(e.Bucket("bucket"), fmt.Sprint(i))
			require.NoError(t, err)
			require.True(t, bytes.Equal(content(uint64(i), 2000*i), p))
		}
		require.NoError(t, e.Close())
	})
}

// TestAsyncWaitCanceled gives up waiting: a put that the committer has taken is
// told as it ends, one that it has not never happens. Either is told again by
// the next Wait, and the caller's bytes are the caller's again.
func TestAsyncWaitCanceled(t *testing.T) {
	for _, size := range []int{0, 100, PackMax, PackMax + 1} {
		r := newRig(t, 2, 1).defaults()
		e := r.open()
		s := stall(e)
		b := bucketOf(t, e, "bucket")
		bufs := make([][]byte, 6)
		for i := range bufs {
			bufs[i] = content(uint64(i), size)
		}
		gate := make(chan struct{})
		open := sync.OnceFunc(func() { close(gate) })
		t.Cleanup(open)
		s.mu.Lock()
		s.gate = gate
		s.mu.Unlock()
		taken := must(b.PutAsync(t.Context(), "taken", bufs[0], nil))
		await(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.waiting == 1 })
		early := make(chan error, 1)
		go func() {
			_, err := taken.Wait(canceled())
			early <- err
		}()
		s.mu.Lock()
		s.gate = nil
		s.mu.Unlock()
		require.Empty(t, early)
		open()
		require.NoError(t, <-early)
		require.NoError(t, second(taken.Wait(canceled())))

		release := s.holdApplies(t, e, b)
		var all []*Pending
		for i, p := range bufs {
			all = append(all, must(b.PutAsync(t.Context(), fmt.Sprint(i), p, nil)))
		}
		before := e.Metrics()
		slots := len(e.slots)
		gone := map[int]bool{}
		for i, p := range all {
			if i%2 == 1 {
				continue
			}
			gone[i] = true
			for range 2 {
				_, err := p.Wait(canceled())
				require.ErrorIs(t, err, context.Canceled)
			}
			_, err := p.Wait(t.Context())
			require.ErrorIs(t, err, context.Canceled, "it is told once")
			for j := range bufs[i] {
				bufs[i][j] = 0xee
			}
		}
		require.Equal(t, slots-len(gone), len(e.slots))
		if size > PackMax {
			require.Greater(t, e.Metrics().BytesDead, before.BytesDead)
		} else {
			require.Equal(t, before.BytesDead, e.Metrics().BytesDead)
		}
		release()
		for i, p := range all {
			if !gone[i] {
				first := must(p.Wait(t.Context()))
				for j := range bufs[i] {
					bufs[i][j] = 0xee
				}
				require.Equal(t, first, must(p.Wait(t.Context())))
			}
		}
		idle(t, e)
		for range 2 {
			for i := range all {
				v := look(t, b, fmt.Sprint(i))
				require.Equal(t, gone[i], v == nil)
				if v != nil {
					require.True(t, bytes.Equal(content(uint64(i), size), v.body))
				}
			}
			e = r.reopen(e)
			b = e.Bucket("bucket")
		}
	}
}

func second[A, B any](_ A, b B) B { return b }
