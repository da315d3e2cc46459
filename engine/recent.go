package engine

import "github.com/cairnstore/cairn/meta"

// headKey names the current version of a key.
type headKey struct {
	bucket uint64
	key    string
}

// Bounds of what the committer remembers.
const (
	recentGroups = 128
	recentKeys   = 8192
)

// recent remembers the keys that the last groups changed, so that the committer
// can tell a caller's look-up that something overtook, and knows what came
// instead, without reading an index. What is at or before floor is forgotten.
type recent struct {
	floor  uint64
	keys   map[headKey]change
	groups []recentGroup
	total  int
}

type change struct {
	seq     uint64
	version *meta.Version // nil: deleted
}

type recentGroup struct {
	last uint64
	keys []headKey
}

func newRecent(floor uint64) recent {
	return recent{floor: floor, keys: map[headKey]change{}, groups: []recentGroup{{}}}
}

// after returns the version that a change after seq made current.
func (r *recent) after(k headKey, seq uint64) (*meta.Version, bool) {
	c, ok := r.keys[k]
	if !ok || c.seq <= seq {
		return nil, false
	}
	return c.version, true
}

// note remembers what a record of the group at place did.
func (r *recent) note(place *meta.Group, rec *meta.Record, seq uint64) {
	c := change{seq: seq}
	switch rec.Kind {
	case meta.KindPut:
		c.version, _ = meta.VersionOf(place, rec, seq) // it was applied: it is placed
	case meta.KindDelete:
	default:
		return
	}
	k := headKey{rec.Bucket, rec.Key}
	r.keys[k] = c
	last := &r.groups[len(r.groups)-1]
	last.keys = append(last.keys, k)
	r.total++
}

// endGroup closes the group that was noted and forgets the oldest ones.
func (r *recent) endGroup(last uint64) {
	r.groups[len(r.groups)-1].last = last
	for len(r.groups) > recentGroups || (r.total > recentKeys && len(r.groups) > 1) {
		old := r.groups[0]
		r.groups = r.groups[1:]
		for _, k := range old.keys {
			if r.keys[k].seq <= old.last {
				delete(r.keys, k)
			}
		}
		r.total -= len(old.keys)
		r.floor = old.last
	}
	r.groups = append(r.groups, recentGroup{})
}
