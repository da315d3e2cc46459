package disktest

import (
	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/disk"
)

// startSync: many syncs are under way at once, of one file and of several, and
// a handle may be closed meanwhile.
func startSync(t require.TestingT, h Harness) {
	d := h.Disk()
	a, b := mustCreate(t, d, "a", 100_000), mustCreate(t, d, "b", 100_000)
	for round := range 3 {
		var waits []func() error
		for i := range 20 {
			f := []disk.File{a, b}[i%2]
			mustWrite(t, f, pattern(1000, byte(round+i)), int64(i)*1000)
			waits = append(waits, disk.StartSync(f))
		}
		for i := range waits { // in any order
			require.NoError(t, waits[(i*7+round)%len(waits)]())
		}
	}
	last := mustOpen(t, d, "b")
	wait := disk.StartSync(last)
	require.NoError(t, last.Close())
	if err := wait(); err != nil {
		require.ErrorIs(t, err, disk.ErrClosed) // it may have come first
	}
	require.NoError(t, a.Close())
	require.ErrorIs(t, disk.StartSync(a)(), disk.ErrClosed)
	wait = disk.StartSync(b)
	require.NoError(t, d.Close())
	if err := wait(); err != nil {
		require.ErrorIs(t, err, disk.ErrClosed)
	}
	require.ErrorIs(t, disk.StartSync(b)(), disk.ErrClosed)
}

// powerStartSync: what was written before a sync was started survives once that
// was waited for.
func powerStartSync(t require.TestingT, h Harness) {
	f := mustCreate(t, h.Disk(), "file", 100_000)
	for i := range cuts {
		mustWrite(t, f, pattern(8192, byte(i)), int64(i%10)*8192)
		require.NoError(t, disk.StartSync(f)())
		f = mustOpen(t, h.(PowerCutter).PowerCut(), "file")
		require.Equal(t, pattern(8192, byte(i)), mustRead(t, f, int64(i%10)*8192, 8192))
	}
}
