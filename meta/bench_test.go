package meta

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/erasure"
)

// benchKey is a key of 64 bytes, as a dataset has them.
func benchKey(i int) string {
	return fmt.Sprintf("datasets/imagenet-22k/train/shard-%05d/sample-%017d", i/1000, i)
}

// fillBench puts n packed objects of 4 KiB into a new index, in groups of per
// records, as 4+2 lays them out: a lone group as three copies, a larger one as
// four data blocks and two of parity.
func fillBench(t testing.TB, x Index, n, per int) *State {
	return fillKeys(t, x, n, per, benchKey)
}

func fillKeys(t testing.TB, x Index, n, per int, key func(int) string) *State {
	random := rand.NewChaCha8([32]byte{1}) // hashes are not to be compressed
	s := NewState()
	b := NewBatch()
	apply := func(g *Group, recs []Record) {
		b.Reset()
		require.NoError(t, s.Apply(b, g, recs, func(uint64, string) (*Version, error) { return nil, nil }))
		require.NoError(t, x.Apply(b, Position{Seq: g.Last, Hash: g.Hash, Segment: g.Segment}))
	}
	apply(&Group{First: 1, Last: 1, Segment: sampleSegment}, []Record{{Kind: KindCreateBucket, Name: "bench"}})
	at := int64(1 << 20)
	for i := 0; i < n; i += per {
		recs := make([]Record, 0, per)
		for j := i; j < min(n, i+per); j++ {
			o := &Object{Size: 4096, HasHash: true, Packed: true, Offset: uint32((j - i) * 4096)}
			_, _ = random.Read(o.Hash[:])
			recs = append(recs, Record{Kind: KindPut, Epoch: 3, Time: 1_700_000_000_000_000_000 + int64(i)*1_000_000, Bucket: 1, Key: key(j), Object: o})
		}
		first := s.buckets[1].Usage.Objects + 2
		g := &Group{First: uint64(first), Last: uint64(first) + uint64(len(recs)) - 1, Segment: erasure.SegmentID{Epoch: 3, Random: 0x1122334455667788, Counter: uint64(9 + i/16384)}, Payload: int64(len(recs)) * 4096}
		_, _ = random.Read(g.Hash[:])
		data := min(4, max(1, len(recs)/16))
		g.Data, g.Parity = data, 2
		for k := range data + 2 {
			each := g.Payload / int64(data)
			block := Block{Shard: uint16((i/per + k) % 6), Offset: at + 4096, Length: each, Part: at}
			if k < data {
				block.Start = int64(k) * each
			}
			if data == 1 {
				block.Start = 0
			}
			g.Blocks = append(g.Blocks, block)
		}
		at += g.Payload/int64(data) + 8192
		apply(g, recs)
	}
	return s
}

// reportCPU reports the CPU time of a benchmark's operations, things in all.
func reportCPU(b *testing.B, since time.Duration, things int, unit string) {
	b.ReportMetric(float64((cpuTime()-since).Nanoseconds())/float64(things), "cpu-ns/"+unit)
}

func BenchmarkApply(b *testing.B) {
	s, x := NewState(), NewMemory()
	recs := []Record{{Kind: KindCreateBucket, Name: "bench"}}
	if err := applyTo(s, x, groupOf(1, recs, 0), recs); err != nil {
		b.Fatal(err)
	}
	batch := NewBatch()
	old, err := VersionOf(groupOf(2, recs, 100), &Record{Epoch: 1, Object: &Object{Size: 10, Packed: true}}, 2)
	if err != nil {
		b.Fatal(err)
	}
	for _, kind := range []struct {
		name string
		prev *Version
	}{{"new", nil}, {"overwrite", old}} {
		b.Run(kind.name, func(b *testing.B) {
			b.ReportAllocs()
			prev := func(uint64, string) (*Version, error) { return kind.prev, nil }
			recs := []Record{put(1, benchKey(7), 10)}
			g := groupOf(10, recs, 100)
			k := s.buckets[1]
			since := cpuTime()
			for b.Loop() {
				k.Usage = Usage{1 << 40, 1 << 40}
				s.buckets[1] = k
				batch.Reset()
				if err := s.Apply(batch, g, recs, prev); err != nil {
					b.Fatal(err)
				}
			}
			reportCPU(b, since, b.N, "group")
		})
	}
}

// BenchmarkIndexApply is a lone put into an index that has something in it.
func BenchmarkIndexApply(b *testing.B) {
	x := openDir(b, PebbleOptions{Dir: b.TempDir(), FlushGroups: 1 << 20, FlushRecords: 1 << 20, FlushInterval: time.Hour})
	s := fillBench(b, x, 64<<4, 64)
	recs := []Record{put(1, benchKey(0), 10)}
	g := groupOf(x.Position().Seq+1, recs, 100)
	batch := NewBatch()
	b.ReportAllocs()
	since := cpuTime()
	for b.Loop() {
		batch.Reset()
		recs[0].Key = benchKey(int(g.First))
		if err := s.Apply(batch, g, recs, func(uint64, string) (*Version, error) { return nil, nil }); err != nil {
			b.Fatal(err)
		}
		if err := x.Apply(batch, Position{Seq: g.Last, Hash: g.Hash, Segment: g.Segment}); err != nil {
			b.Fatal(err)
		}
		g.First, g.Last = g.First+1, g.Last+1
	}
	reportCPU(b, since, b.N, "group")
}

func BenchmarkReads(b *testing.B) {
	x := openDir(b, PebbleOptions{Dir: b.TempDir()})
	const n = 200_000
	fillBench(b, x, n, 64)
	require.NoError(b, x.Flush())
	require.NoError(b, x.(*pebbleIndex).db.Compact(b.Context(), []byte{0}, []byte{0xff}, false))
	b.Run("list", func(b *testing.B) {
		b.ReportAllocs()
		keys := 0
		q := ListQuery{Bucket: 1}
		var page ListPage
		since := cpuTime()
		for b.Loop() {
			if err := ListInto(x, q, &page); err != nil {
				b.Fatal(err)
			}
			keys += len(page.Entries)
			q.Cursor = page.Next
		}
		reportCPU(b, since, keys, "key")
	})
	b.Run("head", func(b *testing.B) {
		b.ReportAllocs()
		scratch := make([]byte, 0, 1024)
		keys := make([]string, 4096)
		for i := range keys {
			keys[i] = benchKey(i * 7919 % n)
		}
		i := 0
		var v Version
		since := cpuTime()
		for b.Loop() {
			if err := HeadInto(x, 1, keys[i%len(keys)], scratch, &v); err != nil {
				b.Fatal(err)
			}
			i++
		}
		reportCPU(b, since, b.N, "head")
	})
	b.Run("count", func(b *testing.B) {
		b.ReportAllocs()
		since := cpuTime()
		for b.Loop() {
			if got, err := CountPrefix(x, 1, "datasets/", 1<<40); err != nil || got != n {
				b.Fatal(got, err)
			}
		}
		reportCPU(b, since, b.N*n, "key")
	})
}

// BenchmarkIndexSize reports what the index keeps of an object, all flushed and
// compacted.
func BenchmarkIndexSize(b *testing.B) {
	for _, per := range []int{1, 64} {
		for name, key := range map[string]func(int) string{"path": benchKey, "random": randomKey} {
			b.Run(fmt.Sprintf("group=%d/keys=%s", per, name), func(b *testing.B) {
				for b.Loop() {
					x := openDir(b, PebbleOptions{Dir: b.TempDir(), FlushGroups: 10_000})
					b.ReportMetric(float64(sizeOf(b, x, 100_000, per, key))/100_000, "B/object")
					require.NoError(b, x.Close())
				}
			})
		}
	}
}

// randomKey is a key of 64 bytes that do not compress.
func randomKey(i int) string {
	var seed [32]byte
	binary.BigEndian.PutUint64(seed[:], uint64(i))
	var raw [48]byte
	_, _ = rand.NewChaCha8(seed).Read(raw[:])
	return base64.RawURLEncoding.EncodeToString(raw[:])
}

// sizeOf fills an empty index with n objects and returns the bytes that its
// tables take.
func sizeOf(t testing.TB, x Index, n, per int, key func(int) string) int64 {
	fillKeys(t, x, n, per, key)
	require.NoError(t, x.Flush())
	db := x.(*pebbleIndex).db
	require.NoError(t, db.Compact(t.Context(), []byte{0}, []byte{0xff}, false))
	var total int64
	for _, level := range db.Metrics().Levels {
		total += level.TablesSize
	}
	return total
}

// TestIndexSize: an object takes at most 400 bytes of the index, however its key
// of 64 bytes compresses.
func TestIndexSize(t *testing.T) {
	for _, per := range []int{1, 64} {
		x := openDir(t, PebbleOptions{InMemory: true, FlushGroups: 10_000})
		const n = 6400
		if size := sizeOf(t, x, n, per, randomKey); size > 400*n || size < 100*n {
			t.Errorf("groups of %d: %d bytes for an object", per, size/n)
		}
	}
}
