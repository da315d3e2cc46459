package log

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/internal/segment"
)

// Payload segments made one after another lie on different disks while there
// are any, whatever log segments come between, and in the long run each disk
// holds each shard number as often as every other.
func TestSegmentsTakeTurns(t *testing.T) {
	for _, tc := range []struct{ k, m, extra int }{{1, 0, 0}, {1, 0, 3}, {1, 1, 0}, {4, 2, 0}, {4, 2, 2}, {4, 2, 6}, {2, 1, 8}, {4, 2, 11}} {
		r := newRig(t, tc.k, tc.m, tc.extra)
		l, _, err := r.open()
		require.NoError(t, err)
		disks, shards := len(r.disks), tc.k+tc.m
		beside := disks / shards
		holds := map[disk.ID][]int{}
		var last [][]disk.ID
		for i := range disks * beside {
			if i%2 == 0 {
				_, err := l.newDescriptor(segment.KindLog)
				require.NoError(t, err)
			}
			d, err := l.NewSegment(context.Background())
			require.NoError(t, err)
			for shard, id := range d.Disks {
				if holds[id] == nil {
					holds[id] = make([]int, shards)
				}
				holds[id][shard]++
			}
			last = append(last, d.Disks)
		}
		require.Len(t, holds, disks, "%+v", tc)
		for id, n := range holds {
			for shard := range n {
				require.Equal(t, beside, n[shard], "%+v: disk %v, shard %d", tc, id, shard)
			}
		}
		// From whichever segment a lap begins, at the first or the second,
		// those of one lap are apart.
		apart := 0
		for begin := range beside {
			seen := map[disk.ID]bool{}
			for _, ids := range last[begin : begin+beside] {
				for _, id := range ids {
					seen[id] = true
				}
			}
			if len(seen) == beside*shards {
				apart++
			}
		}
		require.NotZero(t, apart, "%+v", tc)
		require.NoError(t, l.Close())
	}
}
