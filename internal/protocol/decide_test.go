package protocol

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/erasure"
)

// Segments are numbered by their epoch: seg(2) is the first of epoch 2. The
// chain hash after a group is its last sequence.
func seg(n uint64) erasure.SegmentID {
	if n == 0 {
		return erasure.SegmentID{}
	}
	return erasure.SegmentID{Epoch: n, Random: 1, Counter: 1}
}

func hash(seq uint64) (h [32]byte) {
	h[0] = byte(seq)
	return h
}

func parent(s, last uint64) Parent { return Parent{Segment: seg(s), Last: last, Hash: hash(last)} }

// scene is what the present disks show: a Source written down by hand.
type scene struct {
	openings map[uint64]Opening
	groups   map[uint64][]Group
	absent   string // letters of the disks that cannot speak
}

func (s *scene) Openings() []erasure.SegmentID {
	var ids []erasure.SegmentID
	for n := range s.openings {
		ids = append(ids, seg(n))
	}
	return ids
}

func (s *scene) Opening(id erasure.SegmentID) *Opening {
	o, ok := s.openings[id.Epoch]
	if !ok {
		return nil
	}
	return &o
}

func (s *scene) Absent(_ erasure.SegmentID, of []disk.ID) []disk.ID {
	var absent []disk.ID
	for _, d := range of {
		if strings.IndexByte(s.absent, d[15]) >= 0 {
			absent = append(absent, d)
		}
	}
	return absent
}

func (s *scene) Groups(id erasure.SegmentID, after, _ uint64) ([]Group, error) {
	var out []Group
	for _, g := range s.groups[id.Epoch] {
		if g.First > after {
			out = append(out, g)
		}
	}
	return out, nil
}

// opened is an opening group seen on so many of its disks.
func opened(on string, seen int, p Parent, copies ...Span) Opening {
	return Opening{Disks: disks(on), Parity: 2, Seen: seen, Parent: p, Copies: copies}
}

// group is one of a single sequence whose header knows that the one before was
// acknowledged.
func group(seq uint64, whole bool) Group {
	return Group{Span: Span{seq, seq}, Acked: seq - 1, Hash: hash(seq), Whole: whole}
}

func naming(acked uint64, named ...string) Label {
	l := Label{Acked: acked}
	for _, n := range named {
		var s uint64
		var on string
		fmt.Sscanf(n, "%d:%s", &s, &on)
		l.Segments = append(l.Segments, Named{ID: seg(s), Parity: 2, Disks: disks(on)})
	}
	return l
}

func tell(p *Plan) string {
	var b strings.Builder
	for _, piece := range p.Path {
		fmt.Fprintf(&b, "s%d(%d,%d] ", piece.Segment.Epoch, piece.After, piece.Last)
	}
	fmt.Fprintf(&b, "end s%d/%d acked %d", p.End.Segment.Epoch, p.End.Last, p.Acked)
	for _, c := range p.Relog {
		fmt.Fprintf(&b, " relog %d from s%d", c.First, c.Segment.Epoch)
		if c.Opening {
			b.WriteString("'s opening")
		}
	}
	if len(p.Named) > 0 {
		b.WriteString(" named")
		for _, n := range p.Named {
			fmt.Fprintf(&b, " s%d", n.ID.Epoch)
		}
	}
	return b.String()
}

// Segments have 2+2 shards on four disks of six, A to F.
func TestDecide(t *testing.T) {
	for _, c := range []struct {
		name   string
		scene  scene
		labels []Label
		from   uint64
		want   string
		err    error
	}{
		{
			name:   "a new pool",
			labels: []Label{naming(0)},
			want:   "end s0/0 acked 0",
		}, {
			name:   "the first tail was named and never opened",
			labels: []Label{naming(0, "2:ABCD")},
			scene:  scene{absent: "AB"},
			want:   "end s0/0 acked 0 named s2",
		}, {
			name:   "the first tail was named, and its opening group may lie on absent disks",
			labels: []Label{naming(0, "2:ABCD")},
			scene:  scene{absent: "ABC"},
			want:   "end s0/0 acked 0",
			err:    ErrLogMissing,
		}, {
			name: "three groups, the last one not known to be acknowledged",
			scene: scene{
				openings: map[uint64]Opening{2: opened("ABCD", 4, Parent{})},
				groups:   map[uint64][]Group{2: {group(1, true), group(2, true), group(3, true)}},
			},
			labels: []Label{naming(0, "2:ABCD")},
			want:   "s2(0,3] end s2/3 acked 2 relog 3 from s2 named s2",
		}, {
			name: "the same after a clean close: labels know",
			scene: scene{
				openings: map[uint64]Opening{2: opened("ABCD", 4, Parent{})},
				groups:   map[uint64][]Group{2: {group(1, true), group(2, true), group(3, true)}},
			},
			labels: []Label{naming(3, "2:ABCD")},
			want:   "s2(0,3] end s2/3 acked 3 named s2",
		}, {
			name: "the same, known from an index",
			scene: scene{
				openings: map[uint64]Opening{2: opened("ABCD", 4, Parent{})},
				groups:   map[uint64][]Group{2: {group(1, true), group(2, true), group(3, true)}},
			},
			labels: []Label{naming(0, "2:ABCD")},
			from:   3,
			want:   "s2(0,3] end s2/3 acked 3 named s2",
		}, {
			name: "a torn group ends the log, and proves the one before it",
			scene: scene{
				openings: map[uint64]Opening{2: opened("ABCD", 4, Parent{})},
				groups:   map[uint64][]Group{2: {group(1, true), group(2, false)}},
				absent:   "D",
			},
			labels: []Label{naming(0, "2:ABCD")},
			want:   "s2(0,1] end s2/1 acked 1 named s2",
		}, {
			name: "a torn group that was acknowledged",
			scene: scene{
				openings: map[uint64]Opening{2: opened("ABCD", 4, Parent{})},
				groups:   map[uint64][]Group{2: {group(1, true), group(2, false)}},
				absent:   "CD",
			},
			labels: []Label{naming(2, "2:ABCD")},
			want:   "s2(0,1] end s2/1 acked 1",
			err:    ErrLogMissing,
		}, {
			name: "an index ahead of the log seen",
			scene: scene{
				openings: map[uint64]Opening{2: opened("ABCD", 4, Parent{})},
				groups:   map[uint64][]Group{2: {group(1, true)}},
			},
			from: 5,
			want: "s2(0,1] end s2/1 acked 1",
			err:  ErrLogMissing,
		}, {
			name: "more than m disks of the tail absent",
			scene: scene{
				openings: map[uint64]Opening{2: opened("ABCD", 1, Parent{})},
				groups:   map[uint64][]Group{2: {group(1, true)}},
				absent:   "BCD",
			},
			labels: []Label{naming(0, "2:ABCD")},
			want:   "s2(0,1] end s2/1 acked 0",
			err:    ErrLogMissing,
		}, {
			name: "a newer tail is named; with m of its disks absent, it was never opened",
			scene: scene{
				openings: map[uint64]Opening{2: opened("ABCD", 4, Parent{})},
				groups:   map[uint64][]Group{2: {group(1, true)}},
				absent:   "EF",
			},
			labels: []Label{naming(1, "3:AEF", "2:ABCD"), {}},
			want:   "s2(0,1] end s2/1 acked 1 named s3 s2",
		}, {
			// What the newer label counts may have gone to the newer tail in
			// place of the group that is seen here.
			name: "with more absent it may be; its label proves nothing about the older tail",
			scene: scene{
				openings: map[uint64]Opening{2: opened("ABCD", 4, Parent{})},
				groups:   map[uint64][]Group{2: {group(1, true)}},
				absent:   "DEF",
			},
			labels: []Label{naming(1, "3:DEFA", "2:ABCD"), naming(0, "2:ABCD")},
			want:   "s2(0,1] end s2/1 acked 0",
			err:    ErrLogMissing,
		}, {
			name: "a segment opens after another",
			scene: scene{
				openings: map[uint64]Opening{
					2: opened("ABCD", 4, Parent{}),
					3: opened("ACEF", 4, parent(2, 2), Span{2, 2}),
				},
				groups: map[uint64][]Group{2: {group(1, true), group(2, false)}, 3: {group(3, true)}},
			},
			labels: []Label{naming(2, "3:ACEF", "2:ABCD")},
			want:   "s2(0,2] s3(2,3] end s3/3 acked 2 relog 3 from s3 named s3",
		}, {
			name: "an opening group seen whole is a parent: its copies stay there",
			scene: scene{
				openings: map[uint64]Opening{
					2: opened("ABCD", 4, Parent{}),
					3: opened("ACEF", 4, parent(2, 2), Span{2, 2}),
				},
			},
			labels: []Label{naming(1, "3:ACEF", "2:ABCD")},
			want:   "s2(0,2] s3(2,2] end s3/2 acked 1 named s3",
		}, {
			name: "a torn opening group is taken over",
			scene: scene{
				openings: map[uint64]Opening{
					2: opened("ABCD", 4, Parent{}),
					3: opened("ACEF", 1, parent(2, 2), Span{2, 2}),
				},
			},
			labels: []Label{naming(1, "3:ACEF", "2:ABCD")},
			want:   "s2(0,2] s3(2,2] end s2/2 acked 1 relog 2 from s3's opening named s3 s2",
		}, {
			name: "a group proves that the opening group was whole",
			scene: scene{
				openings: map[uint64]Opening{
					2: opened("ABCD", 4, Parent{}),
					3: opened("ACEF", 3, parent(2, 2), Span{2, 2}),
				},
				groups: map[uint64][]Group{3: {group(3, true)}},
				absent: "F",
			},
			labels: []Label{naming(1, "3:ACEF", "2:ABCD")},
			want:   "s2(0,2] s3(2,3] end s3/3 acked 2 relog 3 from s3 named s3",
		}, {
			name: "the parent is not seen",
			scene: scene{
				openings: map[uint64]Opening{3: opened("ACEF", 4, parent(2, 2))},
				groups:   map[uint64][]Group{3: {group(3, true)}},
			},
			labels: []Label{naming(3, "3:ACEF", "2:ABCD")},
			want:   "s3(2,3] end s3/3 acked 3",
			err:    ErrLogMissing,
		}, {
			name: "the parent is not seen and the index holds all of it",
			scene: scene{
				openings: map[uint64]Opening{3: opened("ACEF", 4, parent(2, 2))},
				groups:   map[uint64][]Group{3: {group(3, true)}},
			},
			labels: []Label{naming(3, "3:ACEF", "2:ABCD")},
			from:   2,
			want:   "s3(2,3] end s3/3 acked 3 named s3",
		}, {
			name:   "something was acknowledged and no log is seen",
			labels: []Label{naming(4)},
			want:   "end s0/0 acked 0",
			err:    ErrLogMissing,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			plan, err := Decide(&c.scene, Facts{Labels: c.labels, From: c.from})
			require.ErrorIs(t, err, c.err)
			require.NotNil(t, plan)
			if c.err != nil && len(plan.Path) == 0 {
				plan.Named = nil // of no use
			}
			require.Equal(t, c.want, tell(plan))
			if plan.End.Last > 0 {
				require.Equal(t, hash(plan.End.Last), plan.End.Hash)
			}
			if c.err == ErrLogMissing && len(c.scene.absent) > 2 {
				var r *Refusal
				require.ErrorAs(t, err, &r)
				require.NotEmpty(t, r.Disks)
			}
		})
	}
}

// Labels need not agree: every segment that one of them names counts, once.
func TestNamedByManyLabels(t *testing.T) {
	s := &scene{openings: map[uint64]Opening{3: opened("ABCD", 4, parent(2, 1)), 2: opened("ABCD", 4, Parent{})}}
	plan, err := Decide(s, Facts{Labels: []Label{naming(1, "2:ABCD"), naming(1, "5:ABEF", "3:ABCD"), naming(1, "4:CDEF", "3:ABCD")}})
	require.NoError(t, err)
	var ids []erasure.SegmentID
	for _, n := range plan.Named {
		ids = append(ids, n.ID)
		require.Len(t, n.Disks, 4)
	}
	require.True(t, slices.IsSortedFunc(ids, func(a, b erasure.SegmentID) int { return b.Compare(a) }))
	require.Equal(t, []erasure.SegmentID{seg(5), seg(4), seg(3)}, ids)
}
