package meta

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/erasure"
)

// largeStore is an index with two buckets, 1 and 2, of keys of every kind, and
// the group that deletes what is under a prefix of bucket 1.
func largeStore(t testing.TB, x Index, prefix string) (*State, *Group, *Record, Position) {
	s := NewState()
	recs := []Record{
		{Kind: KindCreateBucket, Name: "one"}, {Kind: KindCreateBucket, Name: "two"},
		{Kind: KindSegment, Segment: sampleSegment, Descriptor: []byte("d")},
	}
	for i := range 9 {
		recs = append(recs, put(1, fmt.Sprintf("p/%d", i), int64(i)), put(2, fmt.Sprintf("p/%d", i), 1))
	}
	for _, key := range []string{"a", "p", "p.", "p/\x00", "p/\U0010ffff", "p0", "q"} {
		recs = append(recs, put(1, key, 7))
	}
	extents := []erasure.Extent{{Segment: sampleSegment, Length: 20}, {Segment: sampleSegment, Offset: 8192, Length: 30}}
	recs = append(recs, Record{Kind: KindPut, Epoch: 1, Bucket: 1, Key: "p/large", Object: &Object{Size: 50, Extents: extents}})
	g := groupOf(1, recs, 100)
	require.NoError(t, applyTo(s, x, g, recs))
	rec := &Record{Kind: KindDeletePrefix, Epoch: 1, Bucket: 1, Prefix: prefix}
	large := groupOf(g.Last+1, recs[:1], 0)
	return s, large, rec, Position{Seq: large.Last, Hash: large.Hash, Segment: large.Segment}
}

// checkWhole compares the entries of x with each other: usage and references are
// those of the heads.
func checkWhole(t testing.TB, x Reader) {
	t.Helper()
	all := dump(t, x)
	usage := map[uint64]Usage{}
	refs := map[string]bool{}
	for k, value := range only(all, spaceHead) {
		bucket, key, err := DecodeHeadKey([]byte(k))
		require.NoError(t, err)
		v, err := DecodeVersion([]byte(value))
		require.NoError(t, err)
		u := usage[bucket]
		usage[bucket] = Usage{u.Objects + 1, u.Bytes + v.Size}
		v.eachRef(nil, bucket, key, func(ref []byte, _ int64) { refs[string(ref)] = true })
	}
	for k := range only(all, spaceRef) {
		require.True(t, refs[k], "%x refers from nothing", k)
		delete(refs, k)
	}
	require.Empty(t, refs, "references are missing")
	s, err := LoadState(x)
	require.NoError(t, err)
	for _, k := range s.Buckets() {
		require.Equal(t, usage[k.ID], k.Usage, k.Name)
	}
}

var errStopped = errors.New("stopped")

// stoppingIndex takes a number of batches and refuses the next.
type stoppingIndex struct {
	Index
	left int
}

func (x *stoppingIndex) Apply(b *Batch, pos Position) error {
	if x.left == 0 {
		return errStopped
	}
	x.left--
	return x.Index.Apply(b, pos)
}

// testLarge: a prefix delete leaves what the deletes of the keys would, however
// it is cut up, and readers on the snapshot see nothing of it.
func testLarge(t *testing.T, kind indexKind) {
	for _, prefix := range []string{"", "p/", "p/3", "none", "p/\U0010ffff"} {
		twin := kind.open(t)
		s, g, rec, pos := largeStore(t, twin, prefix)
		before := entries(t, twin)
		var recs []Record
		var want Deleted
		for key := range only(before, spaceHead) {
			bucket, key, err := DecodeHeadKey([]byte(key))
			require.NoError(t, err)
			if bucket == 1 && strings.HasPrefix(key, prefix) {
				v, err := HeadOf(twin, 1, key, nil)
				require.NoError(t, err)
				want = Deleted{want.Objects + 1, want.Bytes + v.Size}
				recs = append(recs, Record{Kind: KindDelete, Bucket: 1, Key: key})
			}
		}
		if len(recs) > 0 {
			require.NoError(t, applyTo(s, twin, groupOf(g.First, recs, 0), recs))
		}
		left := entries(t, twin)
		delete(left, string(AppendGroupKey(nil, g.First)))

		for _, chunk := range []int{1, 2, 5, len(recs), 0} {
			x := kind.open(t)
			s, g, rec, pos := largeStore(t, x, prefix)
			var hidden Snapshot
			defer func() {
				if hidden != nil {
					require.NoError(t, hidden.Close())
				}
			}()
			l := Large{Chunk: chunk, Hide: func() (err error) {
				require.Nil(t, hidden, "hidden twice")
				require.Equal(t, before, entries(t, x), "hidden too late")
				hidden, err = x.Snapshot()
				return err
			}, Final: func(b *Batch) { b.Set(StampKey, []byte("now")) }}
			b := NewBatch()
			b.Set([]byte("mine"), nil)
			got, err := s.ApplyLarge(x, b, g, rec, pos, l)
			require.NoError(t, err)
			require.Equal(t, want, got)
			require.Equal(t, len(recs) > max(chunk, 1) && chunk > 0, hidden != nil, "prefix %q, chunks of %d", prefix, chunk)
			if hidden != nil {
				require.Equal(t, before, entries(t, hidden), "a snapshot shows a change")
			}
			require.Equal(t, pos, x.Position())
			_, begun, err := Pending(x)
			require.NoError(t, err)
			require.False(t, begun)
			after := entries(t, x)
			_, mine := after["mine"]
			require.True(t, mine)
			delete(after, "mine")
			require.Equal(t, string(g.Append(nil)), after[string(AppendGroupKey(nil, g.First))])
			delete(after, string(AppendGroupKey(nil, g.First)))
			require.Equal(t, left, after)
			stamp, err := x.Get(StampKey, nil)
			require.NoError(t, err)
			require.Equal(t, "now", string(stamp))
			checkWhole(t, x)
			loaded, err := LoadState(x)
			require.NoError(t, err)
			require.Equal(t, factsOf(loaded), factsOf(s))
		}
		_, err := s.ApplyLarge(twin, NewBatch(), g, rec, pos, Large{})
		if len(recs) > 0 {
			require.ErrorIs(t, err, ErrApply, "applied before")
		}
	}
}

// testLargeCrash: after a crash behind any batch, and another one in the second
// attempt, the same group ends in the same index.
func testLargeCrash(t *testing.T, kind indexKind) {
	twin := kind.open(t)
	s, g, rec, pos := largeStore(t, twin, "p/")
	_, err := s.ApplyLarge(twin, NewBatch(), g, rec, pos, Large{Chunk: 5})
	require.NoError(t, err)
	want := dump(t, twin)

	// part applies n batches and crashes.
	part := func(x Index, s *State, chunk, n int) (Index, *State, error) {
		_, err := s.ApplyLarge(&stoppingIndex{x, n}, NewBatch(), g, rec, pos, Large{Chunk: chunk})
		require.NoError(t, x.Flush())
		y := kind.crash(t, x)
		checkWhole(t, y)
		loaded, lerr := LoadState(y)
		require.NoError(t, lerr)
		seq, begun, perr := Pending(y)
		require.NoError(t, perr)
		if err != nil {
			require.ErrorIs(t, err, errStopped)
			require.Equal(t, g.First-1, y.Position().Seq)
			if begun {
				require.Equal(t, g.First, seq)
			}
			require.Equal(t, n > 0, begun)
		}
		return y, loaded, err
	}
	for chunk := 1; chunk <= 13; chunk++ {
		for n := 0; ; n++ {
			x := kind.open(t)
			s, _, _, _ := largeStore(t, x, "p/")
			y, loaded, err := part(x, s, chunk, n)
			if err == nil {
				require.Equal(t, want, dump(t, y))
				break
			}
			if n > 0 {
				_, err = loaded.ApplyLarge(&stoppingIndex{y, 1}, NewBatch(), g, rec, pos, Large{Chunk: 3})
				if err != nil {
					require.ErrorIs(t, err, errStopped)
					require.NoError(t, y.Flush())
					y = kind.crash(t, y)
					loaded, err = LoadState(y)
					require.NoError(t, err)
				}
			}
			if y.Position() != pos {
				_, err = loaded.ApplyLarge(y, NewBatch(), g, rec, pos, Large{})
				require.NoError(t, err)
			}
			require.Equal(t, want, dump(t, y), "chunks of %d, crash after %d", chunk, n)
			again, err := LoadState(y)
			require.NoError(t, err)
			require.Equal(t, factsOf(again), factsOf(loaded))
		}
	}
}

func TestLargeRefused(t *testing.T) {
	for name, change := range map[string]func(*State, *Group, *Record, *Position){
		"another kind":    func(_ *State, _ *Group, r *Record, _ *Position) { r.Kind = KindDelete },
		"no bucket":       func(_ *State, _ *Group, r *Record, _ *Position) { r.Bucket = 9 },
		"bad prefix":      func(_ *State, _ *Group, r *Record, _ *Position) { r.Prefix = "\xff" },
		"not alone":       func(_ *State, g *Group, _ *Record, p *Position) { g.Last++; p.Seq++ },
		"elsewhere":       func(_ *State, _ *Group, _ *Record, p *Position) { p.Seq++ },
		"another hash":    func(_ *State, _ *Group, _ *Record, p *Position) { p.Hash[5]++ },
		"before":          func(_ *State, g *Group, _ *Record, p *Position) { g.First, g.Last, p.Seq = 3, 3, 3 },
		"bad group":       func(_ *State, g *Group, _ *Record, _ *Position) { g.Blocks = g.Blocks[:1] },
		"usage too small": func(s *State, _ *Group, _ *Record, _ *Position) { s.buckets[1] = Bucket{ID: 1, Name: "one"} },
	} {
		x := NewMemory()
		s, g, rec, pos := largeStore(t, x, "p/")
		change(s, g, rec, &pos)
		before := dump(t, x)
		b := NewBatch()
		_, err := s.ApplyLarge(x, b, g, rec, pos, Large{Chunk: 2})
		require.ErrorIs(t, err, ErrApply, name)
		require.Contains(t, err.Error(), fmt.Sprintf("record %d (%s)", g.First, rec.Kind))
		require.Equal(t, before, dump(t, x), name)
		require.Zero(t, b.Len())
	}

	x := NewMemory()
	s, g, rec, pos := largeStore(t, x, "p/")
	before, states := dump(t, x), s.Buckets()
	boom := errors.New("boom")
	_, err := s.ApplyLarge(x, NewBatch(), g, rec, pos, Large{Chunk: 2, Hide: func() error { return boom }})
	require.ErrorIs(t, err, boom)
	require.Equal(t, before, dump(t, x))
	require.Equal(t, states, s.Buckets())
	require.ErrorIs(t, s.Apply(NewBatch(), g, []Record{*rec}, nil), ErrApply, "it is for ApplyLarge")

	// A part of another transaction of that sequence, or of another sequence.
	_, err = s.ApplyLarge(&stoppingIndex{x, 2}, NewBatch(), g, rec, pos, Large{Chunk: 2})
	require.ErrorIs(t, err, errStopped)
	require.Equal(t, states, s.Buckets(), "the state changes at the end")
	for _, other := range []*Group{{First: g.First, Last: g.First, Hash: [32]byte{99}}, {First: g.First + 1, Last: g.First + 1, Hash: g.Hash}} {
		_, err = s.ApplyLarge(x, NewBatch(), other, rec, Position{Seq: other.Last, Hash: other.Hash}, Large{})
		require.ErrorIs(t, err, ErrApply)
	}
	b := NewBatch()
	b.Set(pendingKey, []byte{1, 2})
	require.NoError(t, x.Apply(b, x.Position()))
	_, _, err = Pending(x)
	require.ErrorIs(t, err, ErrEntry)
}

// longKeys is an index of n objects with keys of 1024 bytes, and the group that
// deletes them.
func longKeys(t testing.TB, x Index, n int) (*State, *Group, *Record, Position) {
	s := NewState()
	recs := []Record{{Kind: KindCreateBucket, Name: "one"}}
	for i := range n {
		recs = append(recs, put(1, fmt.Sprintf("%01024d", i), 1))
	}
	require.NoError(t, applyTo(s, x, groupOf(1, recs, 100), recs))
	g := groupOf(uint64(len(recs))+1, recs[:1], 0)
	return s, g, &Record{Kind: KindDeletePrefix, Bucket: 1}, Position{Seq: g.Last, Hash: g.Hash}
}

// TestLargeBytes: long keys make batches of fewer, also larger than a memtable;
// what Pebble holds back of them is bounded, and a crash behind any leaves what
// goes on to the same end.
func TestLargeBytes(t *testing.T) {
	const n = 4000
	twin := NewMemory()
	s, g, rec, pos := longKeys(t, twin, n)
	before := twin.Metrics().Applied
	largest := 0
	got, err := s.ApplyLarge(&largestBatch{twin, &largest}, NewBatch(), g, rec, pos, Large{})
	require.NoError(t, err)
	require.Equal(t, Deleted{n, n}, got)
	batches := int(twin.Metrics().Applied - before)
	require.Equal(t, 5, batches)
	require.Less(t, largest, chunkBytes+8192)
	require.Empty(t, only(entries(t, twin), spaceRef))

	kind := indexKinds()["pebble"] // its memtables have 256 KiB
	for stop := range batches + 1 {
		x := kind.open(t)
		s, _, _, _ := longKeys(t, x, n)
		require.NoError(t, x.Flush())
		_, err := s.ApplyLarge(&stoppingIndex{x, stop}, NewBatch(), g, rec, pos, Large{})
		if stop < batches {
			require.ErrorIs(t, err, errStopped)
		} else {
			require.NoError(t, err)
		}
		y := kind.crash(t, x) // what was flushed by itself is left
		require.NoError(t, x.Close())
		checkWhole(t, y)
		if y.Position() != pos {
			s, err := LoadState(y)
			require.NoError(t, err)
			_, err = s.ApplyLarge(y, NewBatch(), g, rec, pos, Large{})
			require.NoError(t, err)
		}
		require.Equal(t, dump(t, twin), dump(t, y))
		require.NoError(t, y.Close())
	}
}

// TestLargeFlushed: the batches of a large transaction count towards a flush,
// though no sequence comes with them.
func TestLargeFlushed(t *testing.T) {
	x := openDir(t, PebbleOptions{InMemory: true, FlushBytes: 1 << 20, MemTableBytes: 32 << 20})
	s, g, rec, pos := longKeys(t, x, 4000)
	require.NoError(t, x.Flush())
	before := x.Metrics().Flushes
	_, err := s.ApplyLarge(x, NewBatch(), g, rec, pos, Large{})
	require.NoError(t, err)
	require.GreaterOrEqual(t, x.Metrics().Flushes-before, int64(3))
}

type largestBatch struct {
	Index
	bytes *int
}

func (x *largestBatch) Apply(b *Batch, pos Position) error {
	*x.bytes = max(*x.bytes, b.Bytes())
	return x.Index.Apply(b, pos)
}
