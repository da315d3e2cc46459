package engine

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// asyncPut is one of a history of puts and deletes of few keys.
type asyncPut struct {
	key  string
	size int // -1: a delete
}

// asyncHistory is the same for every run.
func asyncHistory(w *world, n int) (all []asyncPut) {
	for range n {
		p := asyncPut{fmt.Sprint("key/", w.rand.IntN(5)), 1 + w.rand.IntN(3000)}
		switch w.rand.IntN(12) {
		case 0:
			p.size = PackMax + 1 + w.rand.IntN(30<<10)
		case 1, 2:
			p.size = -1
		}
		all = append(all, p)
	}
	return all
}

// asyncState is what the first n of a history leave.
func asyncState(history []asyncPut, n int) map[string][]byte {
	state := map[string][]byte{}
	for i, p := range history[:n] {
		if p.size < 0 {
			delete(state, p.key)
		} else {
			state[p.key] = content(uint64(i), p.size)
		}
	}
	return state
}

// runAsync makes the history from the one at from on, with up to 12 mutations on
// their way, until the power goes. It returns up to which they were
// acknowledged, and up to which they had been sent.
func runAsync(e *Engine, history []asyncPut, from int) (acked, sent int) {
	b := e.Bucket("bucket")
	var waits []func() error
	wait := func() bool {
		if waits[acked-from]() != nil {
			return false
		}
		acked++
		return true
	}
	ctx := context.Background()
	acked, sent = from, from
	for i := from; i < len(history); i++ {
		p := history[i]
		if from+len(waits)-acked >= 12 && !wait() {
			return acked, sent
		}
		sent = i + 1 // what fails may have happened, too
		if p.size < 0 {
			bucket, _ := e.state.Bucket("bucket")
			q, err := b.deleteAsync(ctx, bucket, DeleteItem{Key: p.key})
			if err != nil {
				break
			}
			waits = append(waits, func() error { return e.wait(ctx, q) })
			continue
		}
		pending, err := b.PutAsync(ctx, p.key, content(uint64(i), p.size), nil)
		if err != nil {
			break
		}
		waits = append(waits, func() error { return second(pending.Wait(ctx)) })
	}
	for acked < from+len(waits) && wait() {
	}
	// One that failed is the end: no later one may succeed.
	for _, w := range waits[acked-from:] {
		if w() == nil {
			panic("a mutation after one that failed was acknowledged")
		}
	}
	return acked, sent
}

// shows returns how many of the history the store shows; -1: no number of them
// leaves what it shows.
func shows(t testing.TB, e *Engine, history []asyncPut, from, to int) int {
	b := e.Bucket("bucket")
	now := map[string][]byte{}
	for _, key := range keysOf(t, b) {
		p, err := read(b, key)
		require.NoError(t, err)
		now[key] = p
	}
	for n := from; n <= to; n++ {
		same := true
		want := asyncState(history, n)
		for key, p := range want {
			q, ok := now[key]
			same = same && ok && bytes.Equal(p, q)
		}
		if same && len(want) == len(now) {
			return n
		}
	}
	return -1
}

// TestCrashWithPutsInFlight cuts the power at every disk operation of a history
// that one goroutine makes with many mutations on their way, so that groups
// overlap. What was acknowledged is there, the rest in order up to some place
// and not beyond, whole, whichever m disks are absent afterwards; and so after
// going on from there, and another cut.
func TestCrashWithPutsInFlight(t *testing.T) {
	for _, g := range []struct {
		k, m   int
		stride int64
	}{{1, 0, 1}, {2, 1, 2}, {4, 2, 3}} {
		stride := g.stride
		switch {
		case *long:
			stride = 1
		case raceEnabled:
			stride *= 6
		}
		cuts, overlap := 0, 0
		for cut, done := int64(1), false; !done; cut += stride {
			w := newWorld(t, g.k, g.m, uint64(cut))
			w.opts.GroupRecords = 4
			history := asyncHistory(w, 50)
			e, err := w.enter()
			require.NoError(t, err)
			bucketOf(t, e, "bucket")
			from := 0
			for round := range 2 {
				w.machine.CutAt(w.machine.Ops() + cut)
				acked, to := runAsync(e, history, from)
				done = done || round == 0 && acked == len(history)
				if to-acked > 4 {
					overlap++
				}
				w.machine.Cut()
				_ = e.Close()
				w.restart()
				for _, absent := range [][]int{w.some(g.m), w.some(g.m)} {
					e, err = w.enter(absent...)
					require.NoError(t, err, "%d+%d cut at %d", g.k, g.m, cut)
					n := shows(t, e, history, acked, to)
					require.GreaterOrEqual(t, n, acked, "%d+%d cut at %d, round %d, without %v: %d acknowledged, %d sent", g.k, g.m, cut, round, absent, acked, to)
					if !e.Status().ReadOnly {
						acked, to = n, n // it stays so
					}
					require.NoError(t, e.Close())
				}
				e, err = w.enter()
				require.NoError(t, err)
				from = shows(t, e, history, acked, to)
				require.GreaterOrEqual(t, from, acked)
				cuts++
			}
			require.NoError(t, e.Close())
		}
		t.Logf("%d+%d: %d cuts, %d of them with more than a group in flight", g.k, g.m, cuts, overlap)
		require.Positive(t, overlap)
	}
}
