package disktest

import (
	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/disk"
)

// reserve: a file grows by zeros that nobody wrote, and takes writes of all
// lengths and alignments there, from several handles.
func reserve(t require.TestingT, h Harness) {
	d := h.Disk()
	f := mustCreate(t, d, "file", 10)
	mustWrite(t, f, []byte("0123456789"), 0)
	for _, size := range []int64{11, 4_096, 4_097, 2<<20 + 3} {
		old := sizeOf(t, f)
		require.NoError(t, disk.Reserve(f, size))
		require.Equal(t, size, sizeOf(t, f))
		requireZeros(t, f, old, size-old)
	}
	for _, size := range []int64{2<<20 + 3, 5, 0, -1} {
		require.NoError(t, disk.Reserve(f, size))
		require.Equal(t, int64(2<<20+3), sizeOf(t, f), "Reserve of %d shrank the file", size)
	}
	require.Equal(t, []byte("0123456789"), mustRead(t, f, 0, 10))
	require.Equal(t, int64(2<<20+3), entriesOf(t, d)[0].Size)

	// Aligned in every way that a driver may care about, and in none; the
	// places follow each other, and the last goes beyond what is reserved.
	want := make([]byte, 4<<20)
	copy(want, "0123456789")
	mem := make([]byte, 1<<20+4096)
	off := int64(4096)
	for i, n := range []int{4096, 64 << 10, 1 << 20, 100, 3996, 8192, 512, 3584, 1 << 20, 70_000, 4096} {
		skew := []int{0, 0, 0, 0, 0, 1}[i%6]
		p := mem[skew : skew+n]
		copy(p, pattern(n, byte(i)))
		copy(want[off:], p)
		file := f
		if i%2 == 1 {
			file = mustOpen(t, d, "file")
		}
		mustWrite(t, file, p, off)
		clear(p) // a driver keeps no reference
		require.Equal(t, want[:off+int64(n)], mustRead(t, f, 0, int(off)+n))
		off += int64(n)
		if i%3 == 0 {
			require.NoError(t, f.Sync())
		}
	}
	size := sizeOf(t, f)
	require.Equal(t, max(off, 2<<20+3), size)
	requireZeros(t, f, off, size-off)
	require.NoError(t, f.Extend(size+5), "after Reserve")
	require.NoError(t, disk.Reserve(f, size+10_000), "after Extend")
	requireZeros(t, f, size, 10_000)
	require.NoError(t, f.Sync())
	require.Equal(t, want[:off], mustRead(t, mustOpen(t, h.Reopen(), "file"), 0, int(off)))

	require.NoError(t, f.Close())
	require.ErrorIs(t, disk.Reserve(f, 8<<20), disk.ErrClosed)
}

// powerReserve: what was written to reserved space and synced survives, with
// the size that was reserved before the sync; the rest reads as zeros.
func powerReserve(t require.TestingT, h Harness) {
	f := mustCreate(t, h.Disk(), "file", 4096)
	for i := range cuts {
		size := int64(i+2) * 100_000
		old := sizeOf(t, f)
		off := (old + 4095) / 4096 * 4096
		require.NoError(t, disk.Reserve(f, size))
		mustWrite(t, f, pattern(8192, byte(i)), off)
		if i%2 == 0 {
			require.NoError(t, f.Sync())
		}
		f = mustOpen(t, h.(PowerCutter).PowerCut(), "file")
		got := sizeOf(t, f)
		if i%2 == 0 {
			require.Equal(t, size, got)
			require.Equal(t, pattern(8192, byte(i)), mustRead(t, f, off, 8192))
			requireZeros(t, f, off+8192, size-off-8192)
			continue
		}
		require.GreaterOrEqual(t, got, old)
		require.LessOrEqual(t, got, size)
		if end := off + 8192; got > end {
			requireZeros(t, f, end, got-end)
		}
	}
}
