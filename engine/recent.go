package engine

import (
	"github.com/cairnstore/cairn/meta"
)

// headKey names the current version of a key.
type headKey struct {
	bucket uint64
	key    string
}

func (r *request) key() headKey { return headKey{r.record.Bucket, r.record.Key} }

// Bounds of what the committer remembers.
const (
	recentGroups = 128
	recentKeys   = 8192
	recentBytes  = 4 << 20 // of versions: their metadata may be large
)

// recent remembers the keys that the last groups changed, so that the committer
// can tell a caller's look-up that something overtook, and knows what came
// instead, without reading an index. What is at or before floor is forgotten.
type recent struct {
	floor  uint64
	keys   map[headKey]change
	groups []recentGroup
	total  int
	bytes  int64
}

type change struct {
	seq     uint64
	version *meta.Version // nil: deleted
}

type recentGroup struct {
	last  uint64
	keys  []headKey
	bytes int64
}

func newRecent(floor uint64) recent {
	return recent{floor: floor, keys: map[headKey]change{}, groups: []recentGroup{{}}}
}

// current returns the version of r's key before r: nil if there is none.
func (r *recent) current(q *request) *meta.Version {
	if c, ok := r.keys[q.key()]; ok && c.seq > q.base {
		return c.version
	}
	return q.prev
}

// note remembers what a request of the group at place did.
func (r *recent) note(place *meta.Group, q *request) {
	c := change{seq: q.id.Sequence}
	switch q.record.Kind {
	case meta.KindPut:
		c.version, _ = meta.VersionOf(place, &q.record, c.seq) // it is durable: it is placed
	case meta.KindTags:
		c.version = q.tagged(r.current(q))
	}
	k := q.key()
	r.keys[k] = c
	last := &r.groups[len(r.groups)-1]
	last.keys = append(last.keys, k)
	r.total++
	size := int64(len(k.key)) + sizeOf(c.version)
	last.bytes += size
	r.bytes += size
}

// sizeOf returns about how much memory a version takes, nil or not.
func sizeOf(v *meta.Version) int64 {
	const fixed, perExtent = 512, 48
	if v == nil {
		return fixed
	}
	return int64(fixed + len(v.Metadata) + len(v.Tags) + len(v.Unknown) + len(v.ETag) + v.Headers.Size() + perExtent*len(v.Extents))
}

// endGroup closes the group that was noted and forgets the oldest ones.
func (r *recent) endGroup(last uint64) {
	r.groups[len(r.groups)-1].last = last
	for len(r.groups) > recentGroups || ((r.total > recentKeys || r.bytes > recentBytes) && len(r.groups) > inFlight) {
		old := r.groups[0]
		r.groups = r.groups[1:]
		for _, k := range old.keys {
			if r.keys[k].seq <= old.last {
				delete(r.keys, k)
			}
		}
		r.total -= len(old.keys)
		r.bytes -= old.bytes
		r.floor = old.last
	}
	r.groups = append(r.groups, recentGroup{})
}

// inGroup tells what the requests of the group that is being built do to a key.
// It costs nothing while no request of the group asks.
type inGroup struct {
	asked bool
	keys  map[headKey]int // place of the last request for the key
}

func (w *inGroup) reset() {
	w.asked = false
	clear(w.keys)
}

// note takes in a request that goes into the group at place n.
func (w *inGroup) note(r *request, n int) {
	if w.asked && !alone(r) {
		w.keys[r.key()] = n
	}
}

// outcome returns the version of r's key after the requests before it, and
// whether any of them is for that key.
func (w *inGroup) outcome(r *request, before []*request) (v *meta.Version, changed bool) {
	if !w.asked {
		w.asked = true
		if w.keys == nil {
			w.keys = map[headKey]int{}
		}
		for i, q := range before {
			w.note(q, i)
		}
	}
	i, ok := w.keys[r.key()]
	if !ok {
		return nil, false
	}
	switch q := before[i]; q.record.Kind {
	case meta.KindPut:
		return &meta.Version{ID: q.id, Modified: q.when, Object: *q.record.Object}, true
	case meta.KindTags:
		return q.tagged(q.current), true
	default:
		return nil, true
	}
}

// tagged returns v with the tags of q.
func (q *request) tagged(v *meta.Version) *meta.Version {
	c := *v
	c.Tags = q.record.Tags
	return &c
}
