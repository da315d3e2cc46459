//go:build !race

package payload

import (
	"testing"

	"github.com/stretchr/testify/require"
)

const raceEnabled = false

// A small read allocates nothing (pools drop at random under the race detector).
func TestSmallReadDoesNotAllocate(t *testing.T) {
	p := memPool(geometries[3], 6)
	s := p.open(t)
	o := mustPut(t, s, content(1, 3<<20))
	e := o.extents[0]
	d := o.descs[e.Segment]
	buf := make([]byte, 64<<10)
	ctx := t.Context()
	for _, n := range []int{4 << 10, 64 << 10} {
		require.LessOrEqual(t, testing.AllocsPerRun(100, func() {
			if err := s.ReadAt(ctx, d, e, buf[:n], 0); err != nil {
				t.Fatal(err)
			}
		}), 0.0, "%d bytes", n)
	}
}
