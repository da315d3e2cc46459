package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/versioning"
)

// TestReadersSurvive opens objects, reads a part, and goes on after each of them
// has been overwritten, deleted, deleted by prefix, or its bucket is gone, and
// many puts have gone through log, payload segments and index since.
func TestReadersSurvive(t *testing.T) {
	w := pebbleWorld(t, 2, 1, 61)
	w.opts.MemTableBytes, w.opts.CacheBytes, w.opts.chunk = 256<<10, 1<<20, 3
	e := w.open()
	b, other := bucketOf(t, e, "bucket"), bucketOf(t, e, "other")
	type reader struct {
		name string
		o    *Object
		data []byte
		pos  int
	}
	var readers []*reader
	for i, size := range []int{1, 3000, PackMax, PackMax + 1, 1_200_000} {
		data := content(uint64(i), size)
		for _, fate := range []string{"overwritten", "deleted", "prefix", "bucket", "twice"} {
			in := b
			if fate == "bucket" {
				in = other
			}
			key := fmt.Sprint(fate, "/", i)
			_, err := in.PutBytes(t.Context(), key, data, nil)
			require.NoError(t, err)
			for _, part := range []int{0, size / 3} {
				r := &reader{key, mustGet(t, in, key, nil), data, part}
				_, err := io.ReadFull(r.o, make([]byte, part))
				require.NoError(t, err)
				readers = append(readers, r)
			}
		}
	}
	many := func(n int) {
		t.Helper()
		p := content(5, 500)
		manyKeys(t, b, n, func(i int) string { return fmt.Sprintf("many/%d", i) })
		for i := range n / 50 {
			_, err := b.PutBytes(t.Context(), fmt.Sprintf("many/%d", i), p, nil)
			require.NoError(t, err)
		}
		_, err := b.PutBytes(t.Context(), "many/large", content(6, 2_000_000), nil)
		require.NoError(t, err)
	}
	many(500)
	for i := range 5 {
		for _, fate := range []string{"overwritten", "twice"} {
			_, err := b.PutBytes(t.Context(), fmt.Sprint(fate, "/", i), content(77, 90_000), nil)
			require.NoError(t, err)
		}
		for _, fate := range []string{"deleted", "twice"} {
			_, err := b.Delete(t.Context(), fmt.Sprint(fate, "/", i), nil)
			require.NoError(t, err)
		}
	}
	_, err := b.DeletePrefix(t.Context(), "prefix/")
	require.NoError(t, err)
	_, err = other.DeletePrefix(t.Context(), "")
	require.NoError(t, err)
	require.NoError(t, e.DeleteBucket(t.Context(), "other"))
	require.NoError(t, e.index.Flush())
	many(1500)
	w.faults[1].Lose()
	var wg sync.WaitGroup
	for _, r := range readers {
		wg.Go(func() {
			var got bytes.Buffer
			var err error
			if r.pos%2 == 0 {
				_, err = r.o.WriteTo(&got)
			} else {
				_, err = io.Copy(&got, bounded{r.o})
			}
			if err != nil || !bytes.Equal(r.data[r.pos:], got.Bytes()) {
				t.Errorf("%s from %d: %d bytes of %d, %v", r.name, r.pos, got.Len(), len(r.data), err)
			}
			at := make([]byte, min(len(r.data), 100))
			if _, err := r.o.ReadAt(at, 0); err != nil || !bytes.Equal(r.data[:len(at)], at) {
				t.Errorf("%s: ReadAt, %v", r.name, err)
			}
		})
	}
	wg.Wait()
}

// Prefix deletes among other calls, as their callers saw them. What puts make is
// in the order of their sequences.
type sweepKind int

const (
	sweepPut sweepKind = iota
	sweepDelete
	sweepRead
	sweepList
	sweepClear // the prefix delete, which counts
)

const sweepKeys = 4

type sweep struct {
	kind    sweepKind
	key     int
	version string
	count   int64
	listed  [sweepKeys]string
	rank    int
}

type sweepState struct {
	keys [sweepKeys]string
	puts int
}

func (st sweepState) after(s sweep) (sweepState, bool) {
	switch s.kind {
	case sweepPut:
		ok := st.puts == s.rank
		st.puts++
		st.keys[s.key] = s.version
		return st, ok
	case sweepDelete:
		ok := st.keys[s.key] == s.version
		st.keys[s.key] = ""
		return st, ok
	case sweepRead:
		return st, st.keys[s.key] == s.version
	case sweepList:
		return st, st.keys == s.listed
	default:
		n := int64(0)
		for _, v := range st.keys {
			if v != "" {
				n++
			}
		}
		return sweepState{puts: st.puts}, n == s.count
	}
}

var sweepModel = porcupine.Model{
	Init: func() any { return sweepState{} },
	Step: func(state, _, output any) (bool, any) {
		next, ok := state.(sweepState).after(output.(sweep))
		return ok, next
	},
}

// linearizable reports whether the calls have an order that agrees with time.
func linearizable(t *testing.T, calls []porcupine.Operation) bool {
	sequence := func(c porcupine.Operation) uint64 {
		id, err := versioning.ParseID(c.Output.(sweep).version)
		require.NoError(t, err)
		return id.Sequence
	}
	var puts []uint64
	for _, c := range calls {
		if c.Output.(sweep).kind == sweepPut {
			puts = append(puts, sequence(c))
		}
	}
	slices.Sort(puts)
	for i := range calls {
		if s := calls[i].Output.(sweep); s.kind == sweepPut {
			s.rank, _ = slices.BinarySearch(puts, sequence(calls[i]))
			calls[i].Output = s
		}
	}
	return porcupine.CheckOperations(sweepModel, calls)
}

// TestPrefixLinearizable has clients put, delete, read and list the keys under a
// prefix while others delete by it: there is one order of all calls, and each
// prefix delete counts what was there.
func TestPrefixLinearizable(t *testing.T) {
	rounds := 25
	switch {
	case *long:
		rounds = 500
	case raceEnabled:
		rounds = 5
	}
	bothIndexes(t, 2, 1, func(t *testing.T, r *rig) {
		r.opts.chunk = 1
		e := r.open()
		cleared := int64(0)
		for round := range rounds {
			b := bucketOf(t, e, fmt.Sprintf("bucket-%d", round))
			var rec recorder
			var mu sync.Mutex
			var calls []porcupine.Operation
			call := func(client int, fn func() (sweep, error)) {
				start := rec.clock.Add(1)
				s, err := fn()
				end := rec.clock.Add(1)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				calls = append(calls, porcupine.Operation{ClientId: client, Call: start, Output: s, Return: end})
				if s.kind == sweepClear {
					cleared += s.count
				}
			}
			var wg sync.WaitGroup
			for client := range 6 {
				wg.Go(func() {
					for i := range 15 {
						call(client, func() (sweep, error) { return sweepOnce(b, client, i) })
					}
				})
			}
			wg.Wait()
			call(0, func() (sweep, error) { return sweepOnce(b, 4, 0) })
			require.True(t, linearizable(t, calls), "round %d: no order of the %d calls agrees with them", round, len(calls))
		}
		require.Greater(t, cleared, int64(rounds), "prefix deletes found keys")
	})
}

func sweepOnce(b *Bucket, client, i int) (sweep, error) {
	ctx := context.Background()
	s := sweep{key: (client + 3*i) % sweepKeys}
	key := fmt.Sprintf("p/%d", s.key)
	switch {
	case client == 5 && i%3 == 0:
		res, err := b.DeletePrefix(ctx, "p/")
		if err != nil {
			return s, err
		}
		s.kind, s.count = sweepClear, res.Objects
	case client == 4:
		page, err := b.ListPage(ctx, &ListPageOptions{ListOptions: ListOptions{Prefix: "p/"}})
		if err != nil {
			return s, err
		}
		s.kind = sweepList
		for _, o := range page.Objects {
			s.listed[o.Key[2]-'0'] = o.VersionID
		}
	case client == 3 && i%3 == 0:
		res, err := b.Delete(ctx, key, nil)
		if err != nil {
			return s, err
		}
		s.kind, s.version = sweepDelete, res.VersionID
	case client == 3 || client == 5:
		info, err := b.Head(ctx, key, nil)
		s.kind = sweepRead
		switch {
		case err == nil:
			s.version = info.VersionID
		case !errors.Is(err, ErrNotFound):
			return s, err
		}
	default:
		info, err := b.PutBytes(ctx, key, []byte("x"), nil)
		if err != nil {
			return s, err
		}
		s.version = info.VersionID
	}
	return s, nil
}

// TestSweepsTellRightFromWrong: the check above can fail.
func TestSweepsTellRightFromWrong(t *testing.T) {
	v := versioning.ID{Epoch: 1, Sequence: 1}.String()
	put := porcupine.Operation{ClientId: 0, Call: 1, Output: sweep{version: v}, Return: 2}
	at := func(client int, call, ret int64, s sweep) porcupine.Operation {
		return porcupine.Operation{ClientId: client, Call: call, Output: s, Return: ret}
	}
	for i, c := range []struct {
		good  bool
		calls []porcupine.Operation
	}{
		{true, []porcupine.Operation{put, at(1, 3, 4, sweep{kind: sweepClear, count: 1}), at(2, 5, 6, sweep{kind: sweepList})}},
		{true, []porcupine.Operation{put, at(1, 3, 6, sweep{kind: sweepClear, count: 1}), at(2, 4, 5, sweep{kind: sweepRead, version: v})}},
		{false, []porcupine.Operation{put, at(1, 3, 4, sweep{kind: sweepClear})}},
		{false, []porcupine.Operation{put, at(1, 3, 4, sweep{kind: sweepClear, count: 1}), at(2, 5, 6, sweep{kind: sweepRead, version: v})}},
		{false, []porcupine.Operation{put, at(1, 3, 8, sweep{kind: sweepClear, count: 1}), at(2, 4, 5, sweep{kind: sweepRead}), at(2, 6, 7, sweep{kind: sweepRead, version: v})}},
		{false, []porcupine.Operation{put, at(1, 3, 4, sweep{kind: sweepClear, count: 1}), at(2, 5, 6, sweep{kind: sweepDelete, version: v})}},
	} {
		require.Equal(t, c.good, linearizable(t, c.calls), i)
	}
}
