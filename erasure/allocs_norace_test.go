//go:build !race

package erasure

import "testing"

// The hot paths allocate nothing in steady state. Pools drop at random under
// the race detector, so this is for other builds.
func TestNoAllocations(t *testing.T) {
	frame, data := sealed(testKey, FrameData, 0)
	c, blocks, parity := benchStripe(t, Geometry{4, 2}, 64<<10)
	blocks[3] = blocks[3][:1000]
	wide, wideBlocks, wideParity := benchStripe(t, Geometry{17, 3}, 64<<10)
	for name, f := range map[string]func(){
		"Tag":        func() { testKey.Tag(0, data) },
		"TagParts":   func() { testKey.TagParts(0, data[:10], data[10:]) },
		"SealFrame":  func() { testKey.SealFrame(frame, FrameData, 0) },
		"OpenFrame":  func() { _, _ = testKey.OpenFrame(frame, 0) },
		"Encode 4+2": func() { _ = c.Encode(blocks, parity) },
		"Encode 17+3": func() {
			_ = wide.Encode(wideBlocks, wideParity)
		},
		"Encode k'=1": func() { _ = c.Encode(blocks[:1], parity) },
		"GetBuffer":   func() { GetBuffer(FrameSize).Release() },
		"RowAt":       func() { RowAt(4, 1<<30, RowOf(4, 1<<30, 1<<29)) },
	} {
		f()
		if n := testing.AllocsPerRun(200, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
