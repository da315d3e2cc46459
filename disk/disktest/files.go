package disktest

import (
	"errors"
	"io"
	"math"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/disk"
)

func read(t require.TestingT, h Harness) {
	f := mustCreate(t, h.Disk(), "file", 10_000)
	mustWrite(t, f, pattern(10_000, 1), 0)
	want := pattern(10_000, 1)
	for _, r := range [][2]int{{0, 10_000}, {0, 1}, {9_999, 1}, {4_095, 2}, {4_096, 4_096}, {511, 514}} {
		require.Equal(t, want[r[0]:r[0]+r[1]], mustRead(t, f, int64(r[0]), r[1]))
	}
	p := []byte("untouched")
	for _, off := range []int64{10_000, 10_001, 1 << 30} {
		n, err := f.ReadAt(p, off)
		require.Zero(t, n, "at %d", off)
		require.True(t, errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF), "at %d: %v", off, err)
	}
	require.Equal(t, "untouched", string(p))
	n, err := f.ReadAt(p, 9_996)
	require.Equal(t, 4, n, "up to the end")
	require.True(t, errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF), "a short read is never a success: %v", err)
	require.Equal(t, want[9_996:], p[:4])
	n, err = f.ReadAt(nil, 5)
	require.NoError(t, err)
	require.Zero(t, n)
	_, err = f.ReadAt(p, -1)
	require.Error(t, err)
	require.NotErrorIs(t, err, io.EOF)
}

func write(t require.TestingT, h Harness) {
	f := mustCreate(t, h.Disk(), "file", 20_000)
	want := make([]byte, 20_000)
	for i, r := range [][2]int{{0, 1}, {4_090, 12}, {512, 512}, {700, 9_000}, {19_999, 1}, {4_096, 4_096}, {100, 3}} {
		p := pattern(r[1], byte(i))
		copy(want[r[0]:], p)
		mustWrite(t, f, p, int64(r[0]))
		clear(p) // a driver keeps no reference
	}
	require.Equal(t, want, mustRead(t, f, 0, 20_000))
	require.Equal(t, int64(20_000), sizeOf(t, f))
	require.NoError(t, f.Sync())
	require.NoError(t, f.Sync(), "with nothing to do")
	require.Equal(t, want, mustRead(t, f, 0, 20_000))
	n, err := f.WriteAt(nil, 50_000)
	require.NoError(t, err)
	require.Zero(t, n)
	require.Equal(t, int64(20_000), sizeOf(t, f), "an empty write grows nothing")
	_, err = f.WriteAt([]byte("x"), -1)
	require.Error(t, err)
	_, err = f.WriteAt([]byte("xy"), math.MaxInt64)
	require.Error(t, err)
	require.Equal(t, want, mustRead(t, f, 0, 20_000))
}

func writeBeyond(t require.TestingT, h Harness) {
	f := mustCreate(t, h.Disk(), "file", 10)
	mustWrite(t, f, []byte("abc"), 9)
	require.Equal(t, int64(12), sizeOf(t, f))
	mustWrite(t, f, []byte("far"), 1<<20+5)
	require.Equal(t, int64(1<<20+8), sizeOf(t, f))
	requireZeros(t, f, 12, 1<<20+5-12)
	require.Equal(t, []byte("abc"), mustRead(t, f, 9, 3))
	require.Equal(t, []byte("far"), mustRead(t, f, 1<<20+5, 3))
}

func handles(t require.TestingT, h Harness) {
	d := h.Disk()
	a := mustCreate(t, d, "file", 10)
	b, c := mustOpen(t, d, "file"), mustOpen(t, d, "file")
	mustWrite(t, a, []byte("a"), 0)
	mustWrite(t, b, []byte("b"), 1)
	require.NoError(t, a.Close())
	mustWrite(t, c, []byte("c"), 2)
	require.Equal(t, []byte("abc"), mustRead(t, b, 0, 3), "closing one handle leaves the others")
	require.NoError(t, b.Extend(100))
	require.Equal(t, int64(100), sizeOf(t, c))
	require.NoError(t, c.Sync())
}

func extend(t require.TestingT, h Harness) {
	f := mustCreate(t, h.Disk(), "file", 10)
	mustWrite(t, f, []byte("0123456789"), 0)
	for _, size := range []int64{11, 4_096, 4_097, 2<<20 + 3} {
		old := sizeOf(t, f)
		require.NoError(t, f.Extend(size))
		require.Equal(t, size, sizeOf(t, f))
		requireZeros(t, f, old, size-old)
	}
	for _, size := range []int64{2<<20 + 3, 5, 0, -1} {
		require.NoError(t, f.Extend(size))
		require.Equal(t, int64(2<<20+3), sizeOf(t, f), "Extend to %d shrank the file", size)
	}
	require.Equal(t, []byte("0123456789"), mustRead(t, f, 0, 10))
	require.Equal(t, int64(2<<20+3), entriesOf(t, h.Disk())[0].Size)
}

func closed(t require.TestingT, h Harness) {
	d := h.Disk()
	f := mustCreate(t, d, "file", 10)
	require.NoError(t, d.Close())
	require.NoError(t, d.Close(), "twice")
	_, err := d.Create("other", 1)
	require.ErrorIs(t, err, disk.ErrClosed, "Create")
	_, err = d.Open("file")
	require.ErrorIs(t, err, disk.ErrClosed, "Open")
	require.ErrorIs(t, d.Remove("file"), disk.ErrClosed, "Remove")
	_, err = d.List()
	require.ErrorIs(t, err, disk.ErrClosed, "List")
	require.ErrorIs(t, d.Check(), disk.ErrClosed, "Check")
	_, err = d.Usage()
	require.ErrorIs(t, err, disk.ErrClosed, "Usage")
	requireClosed(t, f)
	require.NotEmpty(t, d.String())
	require.Equal(t, []disk.Entry{{Name: "file", Size: 10}}, entriesOf(t, h.Reopen()))
}

func closedFile(t require.TestingT, h Harness) {
	f := mustCreate(t, h.Disk(), "file", 10)
	require.NoError(t, f.Close())
	require.NoError(t, f.Close(), "twice")
	requireClosed(t, f)
	require.NoError(t, h.Disk().Check())
}

func requireClosed(t require.TestingT, f disk.File) {
	_, err := f.ReadAt(make([]byte, 1), 0)
	require.ErrorIs(t, err, disk.ErrClosed, "ReadAt")
	_, err = f.WriteAt(make([]byte, 1), 0)
	require.ErrorIs(t, err, disk.ErrClosed, "WriteAt")
	require.ErrorIs(t, f.Extend(1<<20), disk.ErrClosed, "Extend")
	require.ErrorIs(t, f.Sync(), disk.ErrClosed, "Sync")
	_, err = f.Size()
	require.ErrorIs(t, err, disk.ErrClosed, "Size")
	require.NoError(t, f.Close())
}

func reopen(t require.TestingT, h Harness) {
	d := h.Disk()
	f := mustCreate(t, d, "file", 10_000)
	mustWrite(t, f, pattern(5_000, 3), 100)
	require.NoError(t, f.Sync())
	mustCreate(t, d, "gone", 1)
	require.NoError(t, d.Remove("gone"))
	name := d.String()
	d = h.Reopen()
	require.Equal(t, name, d.String())
	require.Equal(t, []disk.Entry{{Name: "file", Size: 10_000}}, entriesOf(t, d))
	require.Equal(t, pattern(5_000, 3), mustRead(t, mustOpen(t, d, "file"), 100, 5_000))
	require.ErrorIs(t, f.Sync(), disk.ErrClosed, "handles of the disk before stay closed")
}
