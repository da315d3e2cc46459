package meta

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/cairnstore/cairn/erasure"
)

// State is what the engine must know without asking the index: the buckets with
// their exact usage and the payload segments. Apply changes it together with a
// batch for the index, so that the two agree at every position.
//
// One goroutine at a time calls Apply, ApplyLarge and Describe; the other methods
// may run beside it.
type State struct {
	mu       sync.RWMutex
	buckets  map[uint64]Bucket
	names    map[string]uint64
	segments map[erasure.SegmentID][]byte

	applier applier // Apply's
}

// NewState returns the state of an empty store.
func NewState() *State {
	return &State{
		buckets:  map[uint64]Bucket{},
		names:    map[string]uint64{},
		segments: map[erasure.SegmentID][]byte{},
	}
}

// LoadState reads the state that belongs to the entries in r. Entries that
// contradict each other are ErrEntry.
func LoadState(r Reader) (*State, error) {
	s := NewState()
	it, err := r.NewIter([]byte{spaceBucket}, []byte{spaceUsage + 1})
	if err != nil {
		return nil, err
	}
	err = errors.Join(eachEntry(it, s.loadBucket), it.Close())
	if err != nil {
		return nil, err
	}
	it, err = r.NewIter([]byte{spaceSegment}, []byte{spaceSegment + 1})
	if err != nil {
		return nil, err
	}
	err = errors.Join(eachEntry(it, s.loadSegment), it.Close())
	if err != nil {
		return nil, err
	}
	return s, nil
}

func eachEntry(it Iterator, load func(key, value []byte) error) error {
	for it.Next() {
		value, err := it.Value()
		if err != nil {
			return err
		}
		if err := load(it.Key(), value); err != nil {
			return err
		}
	}
	return nil
}

// loadBucket takes in a bucket's entry or its usage, which come in this order.
func (s *State) loadBucket(key, value []byte) error {
	if key[0] == spaceBucket {
		id, err := DecodeBucketKey(key)
		if err != nil {
			return err
		}
		k := Bucket{ID: id}
		if err := decodeBucket(&k, value); err != nil {
			return err
		}
		if other, ok := s.names[k.Name]; ok {
			return fmt.Errorf("%w: buckets %d and %d are both named %s", ErrEntry, other, id, k.Name)
		}
		s.buckets[id], s.names[k.Name] = k, id
		return nil
	}
	id, err := DecodeUsageKey(key)
	if err != nil {
		return err
	}
	k, ok := s.buckets[id]
	if !ok {
		return fmt.Errorf("%w: usage of bucket %d, which does not exist", ErrEntry, id)
	}
	if err := decodeUsage(&k.Usage, value); err != nil {
		return err
	}
	s.buckets[id] = k
	return nil
}

func (s *State) loadSegment(key, value []byte) error {
	id, err := DecodeSegmentKey(key)
	if err != nil {
		return err
	}
	descriptor, err := decodeSegmentEntry(value)
	s.segments[id] = slices.Clone(descriptor)
	return err
}

// Bucket returns the bucket called name.
func (s *State) Bucket(name string) (Bucket, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	k, ok := s.buckets[s.names[name]]
	return k, ok
}

// BucketByID returns the bucket with the given id.
func (s *State) BucketByID(id uint64) (Bucket, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	k, ok := s.buckets[id]
	return k, ok
}

// Buckets returns all buckets in the order of their names. The slice is the
// caller's.
func (s *State) Buckets() []Bucket {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.SortedFunc(maps.Values(s.buckets), func(a, b Bucket) int { return strings.Compare(a.Name, b.Name) })
}

// Segment returns the descriptor of a payload segment, which must not be
// changed.
func (s *State) Segment(id erasure.SegmentID) (descriptor []byte, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	descriptor, ok = s.segments[id]
	return descriptor, ok
}

// Segments calls f for each payload segment in the order of the ids, until f
// returns false. f may call methods of s; it sees the segments known when
// Segments was called.
func (s *State) Segments(f func(id erasure.SegmentID, descriptor []byte) bool) {
	type known struct {
		id         erasure.SegmentID
		descriptor []byte
	}
	s.mu.RLock()
	all := make([]known, 0, len(s.segments))
	for id, descriptor := range s.segments {
		all = append(all, known{id, descriptor})
	}
	s.mu.RUnlock()
	slices.SortFunc(all, func(a, b known) int { return a.id.Compare(b.id) })
	for _, k := range all {
		if !f(k.id, k.descriptor) {
			return
		}
	}
}

// Describe makes a log segment's descriptor known, in b and in the state. Log
// segments have no record of their own: whoever applies the first group of one
// describes it in the same batch.
func (s *State) Describe(b *Batch, id erasure.SegmentID, descriptor []byte) {
	b.Set(AppendSegmentKey(nil, id), appendSegmentEntry(nil, descriptor))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.segments[id] = slices.Clone(descriptor)
}
