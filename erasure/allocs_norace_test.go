//go:build !race

package erasure

import "testing"

// The hot paths allocate nothing in steady state, but what the kernels of the
// Reed-Solomon library take for their matrix: one object for each run of them
// (two where k' > 10), one run for each length at which a block ends. Pools
// drop at random under the race detector, so this is for other builds.
func TestNoAllocations(t *testing.T) {
	frame, data := sealed(testKey, FrameData, 0)
	c, blocks, parity := benchStripe(t, Geometry{4, 2}, 64<<10)
	ragged := append([][]byte{}, blocks...)
	ragged[3] = ragged[3][:1000]
	wide, wideBlocks, wideParity := benchStripe(t, Geometry{17, 3}, 64<<10)
	for _, tc := range []struct {
		name string
		most float64
		f    func()
	}{
		{"Tag", 0, func() { testKey.Tag(0, data) }},
		{"TagParts", 0, func() { testKey.TagParts(0, data[:10], data[10:]) }},
		{"SealFrame", 0, func() { testKey.SealFrame(frame, FrameData, 0) }},
		{"OpenFrame", 0, func() { _, _ = testKey.OpenFrame(frame, 0) }},
		{"Encode k'=1", 0, func() { _ = c.Encode(blocks[:1], parity) }},
		{"Encode 4+2", 1, func() { _ = c.Encode(blocks, parity) }},
		{"Encode 4+2 ragged", 2, func() { _ = c.Encode(ragged, parity) }},
		{"Encode 17+3", 2, func() { _ = wide.Encode(wideBlocks, wideParity) }},
		{"GetBuffer", 0, func() { GetBuffer(FrameSize).Release() }},
		{"RowAt", 0, func() { RowAt(4, 1<<30, RowOf(4, 1<<30, 1<<29)) }},
	} {
		tc.f()
		if n := testing.AllocsPerRun(200, tc.f); n > tc.most {
			t.Errorf("%s: %v allocations, at most %v", tc.name, n, tc.most)
		}
	}
}
