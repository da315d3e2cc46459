package meta

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/cairnstore/cairn/erasure"
	"github.com/cairnstore/cairn/versioning"
)

// groupOf makes a group whose payload is cut into two data blocks at half.
func groupOf(first uint64, recs []Record, payload int64) *Group {
	half := payload / 2
	return &Group{
		First: first, Last: first + uint64(len(recs)) - 1, Hash: [32]byte{byte(first)},
		Segment: sampleSegment, Data: 2, Parity: 1, Payload: payload,
		Blocks: []Block{{4, 8192, half, 0, 4096}, {1, 4096, payload - half, half, 0}, {0, 4096, payload - half, 0, 0}},
	}
}

// applyTo applies a group to a state and an index, as the engine does.
func applyTo(s *State, x Index, g *Group, recs []Record) error {
	b := NewBatch()
	err := s.Apply(b, g, recs, func(bucket uint64, key string) (*Version, error) { return HeadOf(x, bucket, key, nil) })
	if err != nil {
		return err
	}
	return x.Apply(b, Position{Seq: g.Last, Hash: g.Hash, Segment: g.Segment})
}

func put(bucket uint64, key string, size int64) Record {
	o := &Object{Size: size, Packed: size > 0}
	return Record{Kind: KindPut, Epoch: 1, Bucket: bucket, Key: key, Object: o}
}

func dump(t interface{ Fatal(...any) }, r Reader) map[string]string {
	it, err := r.NewIter(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	last := []byte(nil)
	for it.Next() {
		v, err := it.Value()
		if err != nil {
			t.Fatal(err)
		}
		if last != nil && bytes.Compare(last, it.Key()) >= 0 {
			t.Fatal("keys out of order")
		}
		last = bytes.Clone(it.Key())
		all[string(last)] = string(v)
	}
	if err := it.Close(); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestApplyPut(t *testing.T) {
	s, x := NewState(), NewMemory()
	striped := &Object{Size: 50, Extents: []erasure.Extent{{Segment: sampleSegment, Offset: 4096, Length: 20}, {Segment: sampleSegment, Offset: 8192, Length: 30}}}
	recs := []Record{
		{Kind: KindCreateBucket, Time: 11, Name: "photos"},
		{Kind: KindSegment, Segment: sampleSegment, Descriptor: []byte("disks")},
		{Kind: KindPut, Epoch: 2, Time: 33, Bucket: 10, Key: "small", Object: &Object{Size: 100, Packed: true, Offset: 600}},
		{Kind: KindPut, Epoch: 2, Time: 34, Bucket: 10, Key: "large", Object: striped},
		{Kind: KindPut, Epoch: 2, Time: 35, Bucket: 10, Key: "none", Object: &Object{}},
	}
	g := groupOf(10, recs, 1000)
	if err := applyTo(s, x, g, recs); err != nil {
		t.Fatal(err)
	}
	want := Bucket{ID: 10, Name: "photos", Created: 11, Revision: 10, Usage: Usage{Objects: 3, Bytes: 150}}
	if got, ok := s.Bucket("photos"); !ok || !reflect.DeepEqual(got, want) {
		t.Errorf("bucket is %+v, want %+v", got, want)
	}
	v, err := HeadOf(x, 10, "small", nil)
	if err != nil {
		t.Fatal(err)
	}
	wantV := &Version{
		ID: versioning.ID{Epoch: 2, Sequence: 12}, Modified: 33, Object: *recs[2].Object,
		Group: 10, Segment: sampleSegment, Shard: 1, FileOffset: 4096 + 100,
	}
	if !reflect.DeepEqual(v, wantV) {
		t.Errorf("head is\n%+v, want\n%+v", v, wantV)
	}
	if got, err := GroupAt(x, v.Group, nil); err != nil || !reflect.DeepEqual(got, g) {
		t.Errorf("group is %+v, %v", got, err)
	}
	ref := func(unit uint64, off int64, key string, seq uint64) string {
		r := Ref{Segment: sampleSegment, Unit: unit, Offset: off, Bucket: 10, Key: key, Version: versioning.ID{Epoch: 2, Sequence: seq}}
		return string(r.Append(nil))
	}
	refs := map[string]string{ref(10, 600, "small", 12): "d", ref(0, 4096, "large", 13): "\x14", ref(0, 8192, "large", 13): "\x1e"}
	all := dump(t, x)
	if got := only(all, spaceRef); !maps.Equal(got, refs) {
		t.Errorf("references are %q, want %q", got, refs)
	}
	if d, ok := s.Segment(sampleSegment); !ok || string(d) != "disks" {
		t.Errorf("segment is %q, %v", d, ok)
	}

	// Replaced and deleted in one group, with more in between: what remains is
	// the last of each, and nothing refers to what is gone.
	recs = []Record{put(10, "small", 1), put(10, "small", 2), {Kind: KindDelete, Bucket: 10, Key: "large"}, {Kind: KindDelete, Bucket: 10, Key: "absent"}, put(10, "new", 4), {Kind: KindDelete, Bucket: 10, Key: "new"}}
	if err := applyTo(s, x, groupOf(15, recs, 100), recs); err != nil {
		t.Fatal(err)
	}
	if k, _ := s.Bucket("photos"); k.Usage != (Usage{Objects: 2, Bytes: 2}) {
		t.Errorf("usage is %+v", k.Usage)
	}
	all = dump(t, x)
	if got := only(all, spaceRef); len(got) != 1 {
		t.Errorf("references are %q, want that of the last put alone", got)
	}
	if got := only(all, spaceHead); len(got) != 2 {
		t.Errorf("heads are %q", got)
	}
}

func only(all map[string]string, space byte) map[string]string {
	some := maps.Clone(all)
	maps.DeleteFunc(some, func(k, _ string) bool { return k[0] != space })
	return some
}

// TestApplyRefuses: a group with an impossible record leaves no trace, and is
// named by it.
func TestApplyRefuses(t *testing.T) {
	stripe := func(e ...erasure.Extent) Record {
		r := Record{Kind: KindPut, Bucket: 1, Key: "k", Object: &Object{Extents: e}}
		for _, e := range e {
			r.Object.Size += e.Length
		}
		return r
	}
	unknown := sampleSegment
	unknown.Counter++
	for name, bad := range map[string]Record{
		"unknown bucket":      put(99, "k", 1),
		"bad key":             put(1, "\xff", 1),
		"no object":           {Kind: KindPut, Bucket: 1, Key: "k"},
		"beyond the payload":  put(1, "k", 101),
		"across two blocks":   put(1, "k", 51),
		"bytes nowhere":       {Kind: KindPut, Bucket: 1, Key: "k", Object: &Object{Size: 5}},
		"extent nowhere":      stripe(erasure.Extent{Segment: unknown, Length: 5}),
		"extent unaligned":    stripe(erasure.Extent{Segment: sampleSegment, Offset: 1, Length: 5}),
		"delete where":        {Kind: KindDelete, Bucket: 99, Key: "k"},
		"delete what":         {Kind: KindDelete, Bucket: 1},
		"name taken":          {Kind: KindCreateBucket, Name: "one"},
		"name bad":            {Kind: KindCreateBucket, Name: "ONE"},
		"id of another":       {Kind: KindCreateBucket, Name: "three", Bucket: 5},
		"bucket full":         {Kind: KindDeleteBucket, Bucket: 1},
		"no bucket":           {Kind: KindDeleteBucket, Bucket: 99},
		"no segment":          {Kind: KindSegment},
		"descriptor too long": {Kind: KindSegment, Segment: unknown, Descriptor: make([]byte, MaxDescriptor+1)},
		"kind of the future":  {Kind: kindEnd},
		"tags where":          {Kind: KindTags, Bucket: 99, Key: "old", Version: versioning.ID{Epoch: 1, Sequence: 2}},
		"tags on nothing":     {Kind: KindTags, Bucket: 1, Key: "absent", Version: versioning.ID{Epoch: 1, Sequence: 2}},
		"tags on a deleted":   {Kind: KindTags, Bucket: 1, Key: "new", Version: versioning.ID{Epoch: 1, Sequence: 5}},
		"tags on another":     {Kind: KindTags, Bucket: 1, Key: "old", Version: versioning.ID{Epoch: 1, Sequence: 3}},
		"tags of an epoch":    {Kind: KindTags, Bucket: 1, Key: "old", Version: versioning.ID{Epoch: 2, Sequence: 2}},
		"tags bad":            {Kind: KindTags, Bucket: 1, Key: "old", Version: versioning.ID{Epoch: 1, Sequence: 2}, Tags: []byte{1}},
		"tags' key":           {Kind: KindTags, Bucket: 1, Key: "\xff"},
		"settings where":      {Kind: KindSettings, Bucket: 99},
		"settings too long":   {Kind: KindSettings, Bucket: 1, Settings: make([]byte, MaxSettings+1)},
		"large":               {Kind: KindDeletePrefix, Bucket: 1},
	} {
		t.Run(name, func(t *testing.T) {
			s, x := NewState(), NewMemory()
			setup := []Record{{Kind: KindCreateBucket, Name: "one"}, put(1, "old", 10), {Kind: KindSegment, Segment: sampleSegment, Descriptor: []byte("d")}}
			if err := applyTo(s, x, groupOf(1, setup, 100), setup); err != nil {
				t.Fatal(err)
			}
			before := s.Buckets()
			b := NewBatch()
			b.Set([]byte("mine"), nil)
			recs := []Record{
				{Kind: KindCreateBucket, Name: "two"}, put(1, "new", 1), {Kind: KindDelete, Bucket: 1, Key: "new"},
				{Kind: KindSegment, Segment: erasure.SegmentID{Epoch: 9}, Descriptor: []byte("e")}, bad,
			}
			err := s.Apply(b, groupOf(4, recs, 100), recs, func(bucket uint64, key string) (*Version, error) { return HeadOf(x, bucket, key, nil) })
			if !errors.Is(err, ErrApply) || !strings.Contains(err.Error(), "record 8") {
				t.Errorf("error is %v, want ErrApply naming record 8", err)
			}
			if b.Len() != 1 || !reflect.DeepEqual(s.Buckets(), before) {
				t.Errorf("traces left: %d changes, buckets %+v", b.Len(), s.Buckets())
			}
			if _, ok := s.Segment(erasure.SegmentID{Epoch: 9}); ok {
				t.Error("traces left: a segment")
			}
		})
	}
}

// TestApplyTags: tags change and nothing else does, in one group with what comes
// before and after too.
func TestApplyTags(t *testing.T) {
	tags := func(m map[string]string) []byte {
		b, err := AppendTags(nil, m)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	s, x := NewState(), NewMemory()
	o := sampleObject()
	o.Size, o.Offset, o.Tags, o.ETag = 10, 60, tags(map[string]string{"a": "1"}), "etag"
	recs := []Record{{Kind: KindCreateBucket, Name: "one"}, {Kind: KindPut, Epoch: 4, Time: 5, Bucket: 1, Key: "k", Object: o}}
	if err := applyTo(s, x, groupOf(1, recs, 100), recs); err != nil {
		t.Fatal(err)
	}
	want, err := HeadOf(x, 1, "k", nil)
	if err != nil {
		t.Fatal(err)
	}
	id := versioning.ID{Epoch: 4, Sequence: 2}
	refs := only(dump(t, x), spaceRef)
	two := tags(map[string]string{"b": "2", "c": ""})
	recs = []Record{{Kind: KindTags, Epoch: 9, Time: 99, Bucket: 1, Key: "k", Version: id, Tags: []byte{}}, {Kind: KindTags, Epoch: 9, Time: 99, Bucket: 1, Key: "k", Version: id, Tags: two}}
	if err := applyTo(s, x, groupOf(3, recs, 0), recs); err != nil {
		t.Fatal(err)
	}
	want.Tags = two
	if got, err := HeadOf(x, 1, "k", nil); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("with tags it is\n%+v, %v, want\n%+v", got, err, want)
	}
	recs = []Record{{Kind: KindTags, Bucket: 1, Key: "k", Version: id}}
	if err := applyTo(s, x, groupOf(5, recs, 0), recs); err != nil {
		t.Fatal(err)
	}
	want.Tags = nil
	if got, err := HeadOf(x, 1, "k", nil); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("without tags it is\n%+v, %v, want\n%+v", got, err, want)
	}
	if got := only(dump(t, x), spaceRef); !maps.Equal(got, refs) {
		t.Errorf("references changed to %q", got)
	}
	// Put, tagged and replaced within one group.
	recs = []Record{put(1, "k", 1), {Kind: KindTags, Bucket: 1, Key: "k", Version: versioning.ID{Epoch: 1, Sequence: 6}, Tags: two}, put(1, "k", 2)}
	if err := applyTo(s, x, groupOf(6, recs, 100), recs); err != nil {
		t.Fatal(err)
	}
	if got, err := HeadOf(x, 1, "k", nil); err != nil || got.Tags != nil || got.Size != 2 {
		t.Errorf("after a put it is %+v, %v", got, err)
	}
	checkWhole(t, x)
}

func TestApplySettings(t *testing.T) {
	s, x := NewState(), NewMemory()
	block := []byte("window: 7d")
	recs := []Record{{Kind: KindCreateBucket, Name: "one", Time: 3}, put(1, "k", 5), {Kind: KindSettings, Bucket: 1, Settings: block}}
	if err := applyTo(s, x, groupOf(1, recs, 10), recs); err != nil {
		t.Fatal(err)
	}
	copy(block, "xxxxxx") // the record's bytes are its owner's
	want := Bucket{ID: 1, Name: "one", Created: 3, Usage: Usage{1, 5}, Settings: []byte("window: 7d"), Revision: 3}
	check := func() {
		t.Helper()
		loaded, err := LoadState(x)
		if err != nil {
			t.Fatal(err)
		}
		for _, from := range []*State{s, loaded} {
			if got, _ := from.BucketByID(1); !reflect.DeepEqual(got, want) {
				t.Errorf("bucket is %+v, want %+v", got, want)
			}
		}
	}
	check()
	recs = []Record{put(1, "l", 5)}
	if err := applyTo(s, x, groupOf(4, recs, 10), recs); err != nil {
		t.Fatal(err)
	}
	want.Usage = Usage{2, 10}
	check()
	recs = []Record{{Kind: KindSettings, Bucket: 1}, {Kind: KindCreateBucket, Name: "two"}, {Kind: KindSettings, Bucket: 6, Settings: make([]byte, MaxSettings)}}
	if err := applyTo(s, x, groupOf(5, recs, 0), recs); err != nil {
		t.Fatal(err)
	}
	want.Settings, want.Revision = nil, 5
	check()
	if k, _ := s.Bucket("two"); len(k.Settings) != MaxSettings || k.Revision != 7 {
		t.Errorf("bucket two has %d bytes of revision %d", len(k.Settings), k.Revision)
	}
}

func TestApplyGroupRefused(t *testing.T) {
	s := NewState()
	recs := []Record{{Kind: KindCreateBucket, Name: "one"}}
	g := groupOf(1, recs, 10)
	g.Last = 2
	if err := s.Apply(NewBatch(), g, recs, nil); !errors.Is(err, ErrApply) {
		t.Errorf("a group of two records with one: %v", err)
	}
	g = groupOf(1, recs, 10)
	g.Blocks = g.Blocks[:1]
	if err := s.Apply(NewBatch(), g, recs, nil); !errors.Is(err, ErrApply) {
		t.Errorf("a group without its blocks: %v", err)
	}
	boom := errors.New("boom")
	recs = append(recs, put(1, "k", 0))
	err := s.Apply(NewBatch(), groupOf(1, recs, 0), recs, func(uint64, string) (*Version, error) { return nil, boom })
	if !errors.Is(err, boom) || len(s.Buckets()) != 0 {
		t.Errorf("prev fails: %v, buckets %v", err, s.Buckets())
	}
	if err := s.Apply(NewBatch(), &Group{First: 5, Last: 4}, nil, nil); err != nil {
		t.Errorf("an empty group: %v", err)
	}
}

// TestApplyModel compares random histories with maps, whatever way the records
// are cut into groups.
func TestApplyModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type model struct {
			id      uint64
			objects map[string]int64
		}
		buckets := map[string]*model{}
		s, x := NewState(), NewMemory()
		seq := uint64(1)
		for range rapid.IntRange(1, 8).Draw(t, "groups") {
			var recs []Record
			first := seq
			for range rapid.IntRange(1, 6).Draw(t, "records") {
				name := rapid.SampledFrom([]string{"one", "two"}).Draw(t, "bucket")
				key := rapid.SampledFrom([]string{"a", "b", "a\x00", "a/"}).Draw(t, "key")
				k := buckets[name]
				switch op := rapid.IntRange(0, 9).Draw(t, "op"); {
				case k == nil:
					buckets[name] = &model{seq, map[string]int64{}}
					recs = append(recs, Record{Kind: KindCreateBucket, Epoch: 1, Name: name})
				case op < 6:
					k.objects[key] = rapid.Int64Range(0, 50).Draw(t, "size")
					recs = append(recs, put(k.id, key, k.objects[key]))
				case op < 9 || len(k.objects) > 0:
					delete(k.objects, key)
					recs = append(recs, Record{Kind: KindDelete, Epoch: 1, Bucket: k.id, Key: key})
				default:
					delete(buckets, name)
					recs = append(recs, Record{Kind: KindDeleteBucket, Epoch: 1, Bucket: k.id})
				}
				seq++
			}
			if err := applyTo(s, x, groupOf(first, recs, 100), recs); err != nil {
				t.Fatal(err)
			}
		}

		loaded, err := LoadState(x)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := loaded.Buckets(), s.Buckets(); !reflect.DeepEqual(got, want) {
			t.Fatalf("state loaded is %+v, in memory it is %+v", got, want)
		}
		all := dump(t, x)
		heads, refs := 0, 0
		for name, k := range buckets {
			var want Usage
			for key, size := range k.objects {
				want.Objects++
				want.Bytes += size
				v, err := HeadOf(x, k.id, key, nil)
				if err != nil || v.Size != size {
					t.Fatalf("%s %q is %+v, %v; want %d bytes", name, key, v, err, size)
				}
				if heads++; size > 0 {
					refs++
				}
			}
			if got, ok := s.Bucket(name); !ok || got.ID != k.id || got.Usage != want {
				t.Fatalf("bucket %s is %+v, want id %d and %+v", name, got, k.id, want)
			}
		}
		for what, n := range map[byte]int{spaceBucket: len(buckets), spaceUsage: len(buckets), spaceHead: heads, spaceRef: refs} {
			if got := only(all, what); len(got) != n {
				t.Fatalf("space %#x has %q, want %d entries", what, slices.Collect(maps.Keys(got)), n)
			}
		}
	})
}

func TestLoadStateRefuses(t *testing.T) {
	good := (&Bucket{Name: "one"}).append(nil)
	for name, set := range map[string]func(*Batch){
		"two of a name": func(b *Batch) { b.Set(AppendBucketKey(nil, 1), good); b.Set(AppendBucketKey(nil, 2), good) },
		"usage of none": func(b *Batch) { b.Set(AppendUsageKey(nil, 1), Usage{}.append(nil)) },
		"bucket entry":  func(b *Batch) { b.Set(AppendBucketKey(nil, 1), good[:3]) },
		"bucket key":    func(b *Batch) { b.Set(AppendBucketKey(nil, 1)[:5], good) },
		"segment entry": func(b *Batch) { b.Set(AppendSegmentKey(nil, sampleSegment), []byte{1}) },
	} {
		x := NewMemory()
		b := NewBatch()
		set(b)
		if err := x.Apply(b, Position{Seq: 1}); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadState(x); !errors.Is(err, ErrEntry) {
			t.Errorf("%s: %v, want ErrEntry", name, err)
		}
	}
}

// TestStateReaders: readers beside Apply see each group whole.
func TestStateReaders(t *testing.T) {
	s, x := NewState(), NewMemory()
	recs := []Record{{Kind: KindCreateBucket, Name: "one"}}
	if err := applyTo(s, x, groupOf(1, recs, 0), recs); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		for {
			k, _ := s.BucketByID(1)
			if k.Usage.Objects%2 != 0 {
				done <- fmt.Errorf("half a group: %+v", k.Usage)
				return
			}
			s.Segments(func(erasure.SegmentID, []byte) bool { return true })
			if k.Usage.Objects == 200 {
				done <- nil
				return
			}
		}
	}()
	for i := range uint64(100) {
		recs := []Record{put(1, fmt.Sprint("a", i), 0), put(1, fmt.Sprint("b", i), 0), {Kind: KindSegment, Segment: erasure.SegmentID{Epoch: i + 1}}}
		if err := applyTo(s, x, groupOf(2+3*i, recs, 0), recs); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
