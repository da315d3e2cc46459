package meta

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/cairnstore/cairn/erasure"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var testPool = erasure.PoolID{1, 2, 3}

// kind of index under test, and how to crash one.
type indexKind struct {
	open  func(testing.TB) Index
	crash func(testing.TB, Index) Index // what is left; the old one stays open
}

func indexKinds() map[string]indexKind {
	fses := sync.Map{} // of open indexes
	openOn := func(t testing.TB, fs *vfs.MemFS) Index {
		x, err := OpenPebble(PebbleOptions{Dir: "/index", Pool: testPool, CacheBytes: 1 << 20, MemTableBytes: 256 << 10, fs: fs})
		require.NoError(t, err)
		t.Cleanup(func() { x.Close() })
		fses.Store(x, fs)
		return x
	}
	return map[string]indexKind{
		"memory": {
			open:  func(testing.TB) Index { return NewMemory() },
			crash: func(_ testing.TB, x Index) Index { return x.(*Memory).Crash() },
		},
		"pebble": {
			open: func(t testing.TB) Index { return openOn(t, vfs.NewCrashableMem()) },
			crash: func(t testing.TB, x Index) Index {
				fs, _ := fses.Load(x)
				rng := rand.New(rand.NewPCG(1, x.Position().Seq))
				return openOn(t, fs.(*vfs.MemFS).CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rng}))
			},
		},
	}
}

// TestIndex is the conformance suite: what every index promises.
func TestIndex(t *testing.T) {
	for name, kind := range indexKinds() {
		t.Run(name, func(t *testing.T) {
			t.Run("Entries", func(t *testing.T) { testEntries(t, kind.open(t)) })
			t.Run("Positions", func(t *testing.T) { testPositions(t, kind) })
			t.Run("Iterators", func(t *testing.T) { testIterators(t, kind.open(t)) })
			t.Run("Atomic", func(t *testing.T) { testAtomic(t, kind.open(t)) })
			t.Run("CrashPrefix", func(t *testing.T) { testCrashPrefix(t, kind) })
			t.Run("Closed", func(t *testing.T) { testClosed(t, kind.open(t)) })
			t.Run("Snapshots", func(t *testing.T) { testSnapshots(t, kind.open(t)) })
			t.Run("Large", func(t *testing.T) { testLarge(t, kind) })
			t.Run("LargeCrash", func(t *testing.T) { testLargeCrash(t, kind) })
			t.Run("HeadCost", func(t *testing.T) { testHeadCost(t, kind.open(t)) })
			t.Run("List", func(t *testing.T) { testList(t, kind.open) })
			t.Run("ListModel", func(t *testing.T) { testListModel(t, kind.open) })
			t.Run("ListSkips", func(t *testing.T) { testListSkips(t, kind.open) })
		})
	}
}

func apply(t testing.TB, x Index, seq uint64, change func(*Batch)) {
	t.Helper()
	b := NewBatch()
	change(b)
	require.NoError(t, x.Apply(b, Position{Seq: seq, Hash: [32]byte{byte(seq)}, Segment: erasure.SegmentID{Epoch: seq}}))
}

func testEntries(t *testing.T, x Index) {
	_, err := x.Get([]byte("a"), nil)
	require.ErrorIs(t, err, ErrNoEntry)
	key, value := []byte("b"), []byte("one")
	apply(t, x, 1, func(b *Batch) {
		b.Set(key, value)
		b.Set([]byte("a"), nil)
		b.Set([]byte("c"), []byte("gone"))
		b.Delete([]byte("c"))
		b.Delete([]byte("never"))
		b.Set([]byte("d"), []byte("first"))
		b.Set([]byte("d"), []byte("last"))
		require.Equal(t, 7, b.Len())
		copy(key, "x") // copied: the caller may reuse what it passed
		copy(value, "xxx")
	})
	scratch := make([]byte, 2, 64)
	got, err := x.Get([]byte("b"), scratch)
	require.NoError(t, err)
	require.Equal(t, "one", string(got))
	require.Same(t, &scratch[0], &got[0], "the value belongs into dst")
	_, err = x.Get([]byte("c"), nil)
	require.ErrorIs(t, err, ErrNoEntry)
	got, err = x.Get([]byte("d"), nil)
	require.NoError(t, err)
	require.Equal(t, "last", string(got))
	got, err = x.Get([]byte("a"), nil)
	require.NoError(t, err)
	require.Empty(t, got)
	require.EqualValues(t, 5, x.Metrics().Gets)
}

func testPositions(t *testing.T, kind indexKind) {
	x := kind.open(t)
	require.Zero(t, x.Position())
	require.Zero(t, x.Durable())
	require.NoError(t, x.Flush(), "nothing to flush")
	apply(t, x, 5, func(b *Batch) { b.Set([]byte("k"), []byte("5")) })
	require.EqualValues(t, 5, x.Position().Seq)
	require.Zero(t, x.Durable(), "durable before a flush")
	require.NoError(t, x.Flush())
	require.Equal(t, x.Position(), x.Durable())
	require.EqualValues(t, 1, x.Metrics().Flushes)
	apply(t, x, 9, func(b *Batch) { b.Set([]byte("k"), []byte("9")) })
	require.ErrorIs(t, x.Apply(NewBatch(), Position{Seq: 8}), ErrApply)
	require.EqualValues(t, 9, x.Position().Seq)
	require.EqualValues(t, 5, x.Durable().Seq)

	y := kind.crash(t, x)
	require.Equal(t, x.Durable(), y.Position())
	require.Equal(t, y.Position(), y.Durable())
	got, err := y.Get([]byte("k"), nil)
	require.NoError(t, err)
	require.Equal(t, "5", string(got))
	require.NoError(t, x.Flush())
	require.NoError(t, x.Close(), "closing flushes")
	z := kind.crash(t, x)
	require.EqualValues(t, 9, z.Position().Seq)
	require.Equal(t, erasure.SegmentID{Epoch: 9}, z.Position().Segment)
	require.Equal(t, [32]byte{9}, z.Position().Hash)
}

func testIterators(t *testing.T, x Index) {
	apply(t, x, 1, func(b *Batch) {
		for _, k := range []string{"b", "d", "f", "h"} {
			b.Set([]byte(k), []byte("old "+k))
		}
	})
	it, err := x.NewIter([]byte("b"), []byte("h"))
	require.NoError(t, err)
	require.False(t, it.Valid())
	apply(t, x, 2, func(b *Batch) {
		b.Set([]byte("b"), []byte("new"))
		b.Set([]byte("c"), []byte("new"))
		b.Delete([]byte("d"))
	})
	require.NoError(t, x.Flush())
	read := func() (got string) {
		for ok := it.Valid(); ok; ok = it.Next() {
			v, err := it.Value()
			require.NoError(t, err)
			require.Equal(t, "old "+string(it.Key()), string(v))
			got += string(it.Key())
		}
		return got
	}
	require.True(t, it.Next())
	require.Equal(t, "bdf", read(), "as of its opening, within its bounds")
	require.False(t, it.Valid())
	require.True(t, it.SeekGE([]byte("c")))
	require.Equal(t, "df", read())
	require.True(t, it.SeekGE([]byte("a")), "below the lower bound is at it")
	require.Equal(t, "bdf", read())
	require.False(t, it.SeekGE([]byte("g")), "h is out of bounds")
	require.NoError(t, it.Error())
	before := x.Metrics()
	require.NoError(t, it.Close())
	after := x.Metrics()
	require.EqualValues(t, 3, after.Seeks-before.Seeks)
	require.EqualValues(t, 9, after.Steps-before.Steps)
	require.Equal(t, "new", dump(t, x)["c"])

	for _, upper := range []string{"b", "d"} {
		it, err := x.NewIter([]byte("d"), []byte(upper))
		require.NoError(t, err)
		require.False(t, it.Next(), "from d up to %s", upper)
		require.False(t, it.SeekGE([]byte("a")))
		require.False(t, it.SeekGE([]byte("d")))
		require.False(t, it.SeekGE([]byte("z")))
		require.NoError(t, it.Close())
	}
}

// testSnapshots: a snapshot shows its moment until it is closed, to many at
// once; its iterators outlive it.
func testSnapshots(t *testing.T, x Index) {
	apply(t, x, 1, func(b *Batch) {
		b.Set([]byte("a"), []byte("old"))
		b.Set([]byte("b"), []byte("old"))
	})
	first := dump(t, x)
	s, err := x.Snapshot()
	require.NoError(t, err)
	defer func(s Snapshot) { _ = s.Close() }(s) // or the readers of a failed test go on
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for {
				v, err := s.Get([]byte("a"), nil)
				if errors.Is(err, ErrClosed) {
					return
				}
				if err != nil || string(v) != "old" {
					t.Errorf("a is %q, %v", v, err)
					return
				}
				it, err := s.NewIter([]byte("a"), []byte("b\x00"))
				if errors.Is(err, ErrClosed) {
					return
				}
				n := 0
				for it.Next() {
					n++
				}
				if err := it.Close(); err != nil || n != 2 {
					t.Errorf("%d entries, %v", n, err)
				}
			}
		})
	}
	for seq := uint64(2); seq < 40; seq++ {
		apply(t, x, seq, func(b *Batch) {
			b.Set([]byte("a"), []byte("new"))
			b.Delete([]byte("b"))
			b.Set(fmt.Appendf(nil, "c%d", seq), nil)
		})
		if seq%8 == 0 {
			require.NoError(t, x.Flush())
		}
	}
	require.Equal(t, first, dump(t, s))
	_, err = s.Get([]byte("c2"), nil)
	require.ErrorIs(t, err, ErrNoEntry)
	before := x.Metrics()
	scratch := make([]byte, 0, 64)
	v, err := s.Get([]byte("b"), scratch)
	require.NoError(t, err)
	require.Same(t, &scratch[:1][0], &v[0], "the value belongs into dst")
	require.Greater(t, x.Metrics().Gets, before.Gets)

	it, err := s.NewIter([]byte("b"), nil)
	require.NoError(t, err)
	require.NoError(t, s.Close())
	require.NoError(t, s.Close(), "twice")
	readers.Wait()
	_, err = s.Get([]byte("a"), nil)
	require.ErrorIs(t, err, ErrClosed)
	_, err = s.NewIter(nil, nil)
	require.ErrorIs(t, err, ErrClosed)
	apply(t, x, 40, func(b *Batch) { b.Set([]byte("b"), []byte("newer")) })
	require.NoError(t, x.Flush())
	require.True(t, it.Next())
	v, err = it.Value()
	require.NoError(t, err)
	require.Equal(t, "b old", string(it.Key())+" "+string(v))
	require.False(t, it.Next())
	require.NoError(t, it.Close())
	s, err = x.Snapshot()
	require.NoError(t, err)
	require.Equal(t, dump(t, x), dump(t, s))
	require.NoError(t, s.Close())
}

// testAtomic: readers beside Apply see whole batches, and never go back.
func testAtomic(t *testing.T, x Index) {
	keys := []string{"a", "m", "z"}
	const rounds = 300
	apply(t, x, 1, func(b *Batch) {
		for _, k := range keys {
			b.Set([]byte(k), []byte("0001"))
		}
	})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for last := ""; last != fmt.Sprintf("%04d", rounds); {
				it, err := x.NewIter([]byte("a"), nil)
				if err != nil {
					t.Error(err)
					return
				}
				seen := map[string]bool{}
				n := 0
				for it.Next() {
					v, _ := it.Value()
					seen[string(v)] = true
					if n++; string(v) < last {
						t.Errorf("saw %s after %s", v, last)
					}
				}
				if err := it.Close(); err != nil || n != len(keys) || len(seen) != 1 {
					t.Errorf("saw %v in %d entries, %v", seen, n, err)
					return
				}
				for v := range seen {
					last = v
				}
			}
		})
	}
	for seq := uint64(2); seq <= rounds; seq++ {
		apply(t, x, seq, func(b *Batch) {
			for _, k := range keys {
				b.Set([]byte(k), fmt.Appendf(nil, "%04d", seq))
			}
		})
		if seq%50 == 0 {
			require.NoError(t, x.Flush())
		}
	}
	readers.Wait()
}

// history is a random sequence of batches with the state after each.
func randomBatch(rng *rand.Rand, state map[string]string, b *Batch) {
	for range 1 + rng.IntN(5) {
		key := fmt.Sprintf("k%02d", rng.IntN(40))
		if rng.IntN(4) == 0 {
			delete(state, key)
			b.Delete([]byte(key))
			continue
		}
		state[key] = fmt.Sprintf("%d", rng.Uint64())
		b.Set([]byte(key), []byte(state[key]))
	}
}

// entries is all that is in x, but the index's own.
func entries(t interface{ Fatal(...any) }, x Reader) map[string]string {
	all := dump(t, x)
	maps.DeleteFunc(all, func(k, _ string) bool { return k[0] == spaceMeta })
	return all
}

// testCrashPrefix: after a crash at any time the index is exactly the state at
// its position, at or beyond what was reported as durable.
func testCrashPrefix(t *testing.T, kind indexKind) {
	rng := rand.New(rand.NewPCG(7, 7))
	x := kind.open(t)
	states := []map[string]string{{}}
	for seq := uint64(1); seq <= 400; seq++ {
		state := maps.Clone(states[seq-1])
		apply(t, x, seq, func(b *Batch) { randomBatch(rng, state, b) })
		states = append(states, state)
		if rng.IntN(10) == 0 {
			require.NoError(t, x.Flush())
		}
		if rng.IntN(8) > 0 {
			continue
		}
		durable := x.Durable()
		y := kind.crash(t, x)
		at := y.Position().Seq
		require.GreaterOrEqual(t, at, durable.Seq)
		require.LessOrEqual(t, at, seq)
		require.Equal(t, states[at], entries(t, y), "after a crash at %d back to %d", seq, at)
		if rng.IntN(3) == 0 { // go on with what is left
			require.NoError(t, x.Close())
			x, states, seq = y, states[:at+1], at
			continue
		}
		require.NoError(t, y.Close())
	}
}

func testClosed(t *testing.T, x Index) {
	apply(t, x, 1, func(b *Batch) { b.Set([]byte("k"), nil) })
	require.NoError(t, x.Close())
	require.NoError(t, x.Close(), "twice")
	_, err := x.Get([]byte("k"), nil)
	require.ErrorIs(t, err, ErrClosed)
	_, err = x.NewIter(nil, nil)
	require.ErrorIs(t, err, ErrClosed)
	_, err = x.Snapshot()
	require.ErrorIs(t, err, ErrClosed)
	require.ErrorIs(t, x.Apply(NewBatch(), Position{Seq: 2}), ErrClosed)
	require.ErrorIs(t, x.Flush(), ErrClosed)
	require.EqualValues(t, 1, x.Position().Seq)
	_, err = List(x, ListQuery{Bucket: 1})
	require.ErrorIs(t, err, ErrClosed)
	_, err = LoadState(x)
	require.ErrorIs(t, err, ErrClosed)
}

// testHeadCost: a head costs one lookup, and few allocations.
func testHeadCost(t *testing.T, x Index) {
	fill(t, x, []string{"a", "b"})
	scratch := make([]byte, 0, 1024)
	before := x.Metrics()
	v, err := HeadOf(x, 7, "b", scratch)
	require.NoError(t, err)
	require.Equal(t, "b", v.Headers.ContentType)
	_, err = HeadOf(x, 7, "c", scratch)
	require.True(t, errors.Is(err, ErrNoEntry))
	after := x.Metrics()
	require.EqualValues(t, 2, after.Gets-before.Gets)
	require.Equal(t, before.Seeks+before.Steps, after.Seeks+after.Steps)
	allocs := testing.AllocsPerRun(100, func() { _, err = HeadOf(x, 7, "b", scratch) })
	require.NoError(t, err)
	require.LessOrEqual(t, allocs, 4.0)
}
