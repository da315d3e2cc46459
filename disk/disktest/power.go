package disktest

import (
	"bytes"
	"fmt"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/disk"
)

// cuts is how often a check that depends on chance is repeated.
const cuts = 20

// powerEntries: Create and Remove are durable when they return.
func powerEntries(t require.TestingT, h Harness) {
	for i := range cuts {
		d := h.Disk()
		if i > 0 {
			d = h.(PowerCutter).PowerCut()
			require.Equal(t, []disk.Entry{{Name: fmt.Sprintf("file-%d", i-1), Size: int64(i-1)*1000 + 1}}, entriesOf(t, d))
			requireZeros(t, mustOpen(t, d, fmt.Sprintf("file-%d", i-1)), 0, int64(i-1)*1000+1)
			require.NoError(t, d.Remove(fmt.Sprintf("file-%d", i-1)))
		}
		mustCreate(t, d, fmt.Sprintf("file-%d", i), int64(i)*1000+1)
	}
}

// powerSync: what a Sync covers survives, through whichever handle.
func powerSync(t require.TestingT, h Harness) {
	d := h.Disk()
	f := mustCreate(t, d, "file", 100_000)
	for i := range cuts {
		want := pattern(70_000, byte(i))
		mustWrite(t, f, want, 1_234)
		require.NoError(t, mustOpen(t, d, "file").Sync())
		// Rewritten without a Sync beside it: not covered, and no excuse.
		mustWrite(t, f, pattern(1_000, 99), 90_000)
		d = h.(PowerCutter).PowerCut()
		f = mustOpen(t, d, "file")
		require.Equal(t, int64(100_000), sizeOf(t, f))
		require.Equal(t, want, mustRead(t, f, 1_234, 70_000))
	}
}

// powerGrowth: a Sync covers the size too, when writes made the file grow.
func powerGrowth(t require.TestingT, h Harness) {
	f := mustCreate(t, h.Disk(), "file", 0)
	for i := range cuts {
		off := int64(i) * 3_000
		mustWrite(t, f, pattern(3_000, byte(i)), off)
		require.NoError(t, f.Sync())
		mustWrite(t, f, pattern(2_000, 99), off+5_000)
		f = mustOpen(t, h.(PowerCutter).PowerCut(), "file")
		require.GreaterOrEqual(t, sizeOf(t, f), off+3_000)
		require.Equal(t, pattern(3_000, byte(i)), mustRead(t, f, off, 3_000))
	}
}

// powerSectors: each unsynced sector has its old or its new bytes, or, torn,
// new ones followed by old.
func powerSectors(t require.TestingT, h Harness) {
	d := h.Disk()
	f := mustCreate(t, d, "file", 64*512)
	old := make([]byte, 64*512)
	for i := range cuts {
		now := pattern(64*512, byte(i)|1)
		mustWrite(t, f, now, 0)
		d = h.(PowerCutter).PowerCut()
		f = mustOpen(t, d, "file")
		got := mustRead(t, f, 0, 64*512)
		for s := 0; s < len(got); s += 512 {
			n := 0
			for n < 512 && got[s+n] == now[s+n] {
				n++
			}
			require.True(t, bytes.Equal(got[s+n:s+512], old[s+n:s+512]), "sector %d holds bytes never written to it", s/512)
		}
		old = got
	}
}

// powerExtend: a size that Extend made survives, and reads as zeros.
func powerExtend(t require.TestingT, h Harness) {
	f := mustCreate(t, h.Disk(), "file", 512)
	for i := range cuts {
		size := int64(i+2) * 10_000
		require.NoError(t, f.Extend(size))
		f = mustOpen(t, h.(PowerCutter).PowerCut(), "file")
		require.Equal(t, size, sizeOf(t, f))
		requireZeros(t, f, 0, size)
	}
}
