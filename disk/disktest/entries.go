package disktest

import (
	"io/fs"
	"math"
	"strings"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/disk"
)

func names(t require.TestingT, h Harness) {
	d := h.Disk()
	for _, name := range []string{
		"", ".", "..", ".hidden", "a/b", "/a", "../a", `a\b`, "A", "a_b", "a b", "a\x00", "é", "a:b",
		strings.Repeat("a", disk.MaxName+1),
	} {
		_, err := d.Create(name, 1)
		require.ErrorIs(t, err, disk.ErrName, "create %q", name)
		_, err = d.Open(name)
		require.ErrorIs(t, err, disk.ErrName, "open %q", name)
		require.ErrorIs(t, d.Remove(name), disk.ErrName, "remove %q", name)
	}
	require.Empty(t, entriesOf(t, d), "a bad name left something behind")
	for _, name := range []string{"a", "0", "-", "a.b-c", "a..b", strings.Repeat("z", disk.MaxName)} {
		mustCreate(t, d, name, 1)
		require.NoError(t, d.Remove(name), "remove %q", name)
	}
}

func create(t require.TestingT, h Harness) {
	d := h.Disk()
	// Sizes about one chunk of zeros, and not a multiple of anything.
	for name, size := range map[string]int64{"one": 1, "small": 4096, "odd": 3<<20 + 17} {
		f := mustCreate(t, d, name, size)
		require.Equal(t, size, sizeOf(t, f), name)
		requireZeros(t, f, 0, size)
		require.NoError(t, f.Close())
	}
	require.Equal(t, []disk.Entry{{Name: "odd", Size: 3<<20 + 17}, {Name: "one", Size: 1}, {Name: "small", Size: 4096}}, entriesOf(t, d))
	_, err := d.Create("negative", -1)
	require.Error(t, err)
	require.Len(t, entriesOf(t, d), 3, "a Create that failed left a file")
}

func createEmpty(t require.TestingT, h Harness) {
	d := h.Disk()
	f := mustCreate(t, d, "empty", 0)
	require.Zero(t, sizeOf(t, f))
	require.Equal(t, []disk.Entry{{Name: "empty"}}, entriesOf(t, d))
}

func createExisting(t require.TestingT, h Harness) {
	d := h.Disk()
	f := mustCreate(t, d, "file", 10)
	mustWrite(t, f, []byte("content"), 0)
	_, err := d.Create("file", 99)
	require.ErrorIs(t, err, fs.ErrExist)
	require.Equal(t, []byte("content"), mustRead(t, f, 0, 7), "Create touched the file that was there")
	require.Equal(t, int64(10), sizeOf(t, f))
}

func open(t require.TestingT, h Harness) {
	d := h.Disk()
	_, err := d.Open("file")
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.Empty(t, entriesOf(t, d), "Open made a file")
	f := mustCreate(t, d, "file", 10)
	mustWrite(t, f, []byte("content"), 0)
	g := mustOpen(t, d, "file")
	require.Equal(t, []byte("content\x00\x00\x00"), mustRead(t, g, 0, 10))
	mustWrite(t, g, []byte("C"), 0)
	require.Equal(t, []byte("Content"), mustRead(t, f, 0, 7), "Open is for writing too")
}

func remove(t require.TestingT, h Harness) {
	d := h.Disk()
	require.ErrorIs(t, d.Remove("file"), fs.ErrNotExist)
	require.NoError(t, mustCreate(t, d, "file", 10).Close())
	mustCreate(t, d, "other", 10)
	require.NoError(t, d.Remove("file"))
	require.ErrorIs(t, d.Remove("file"), fs.ErrNotExist)
	_, err := d.Open("file")
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.Equal(t, []disk.Entry{{Name: "other", Size: 10}}, entriesOf(t, d))
}

func removeOpen(t require.TestingT, h Harness) {
	d := h.Disk()
	f := mustCreate(t, d, "file", 10)
	mustWrite(t, f, []byte("content"), 0)
	require.NoError(t, d.Remove("file"))
	require.Equal(t, []byte("content"), mustRead(t, f, 0, 7), "a file that is open stays readable")
	require.NoError(t, d.Check(), "a file that the disk itself removed is no reason to call it lost")
	g := mustCreate(t, d, "file", 20)
	requireZeros(t, g, 0, 20)
	mustWrite(t, g, []byte("another"), 0)
	require.Equal(t, []byte("content"), mustRead(t, f, 0, 7), "old and new file of a name are two")
	require.NoError(t, f.Close())
	require.NoError(t, d.Check())
	require.Equal(t, []byte("another"), mustRead(t, g, 0, 7))
}

func list(t require.TestingT, h Harness) {
	d := h.Disk()
	require.Empty(t, entriesOf(t, d))
	var want []disk.Entry
	for i, name := range []string{"-", "0", "1", "10", "2", "a", "a-", "a.", "aa", "b"} {
		want = append(want, disk.Entry{Name: name, Size: int64(i)})
	}
	for i := range want {
		e := want[(i*7+3)%len(want)]
		mustCreate(t, d, e.Name, e.Size)
	}
	require.Equal(t, want, entriesOf(t, d), "in name order")
	mustWrite(t, mustOpen(t, d, "a"), make([]byte, 100), 0)
	want[5].Size = 100
	require.Equal(t, want, entriesOf(t, d))
}

func check(t require.TestingT, h Harness) {
	d := h.Disk()
	require.NoError(t, d.Check())
	f := mustCreate(t, d, "file", 10)
	mustOpen(t, d, "file")
	require.NoError(t, d.Check())
	require.NoError(t, f.Close())
	require.NoError(t, d.Check())
	require.NotEmpty(t, d.String())
	require.Contains(t, []disk.Level{disk.SealedOnly, disk.LogCapable}, d.Level())
}

func usage(t require.TestingT, h Harness) {
	u, err := h.Disk().Usage()
	require.NoError(t, err)
	require.Positive(t, u.Total)
	require.GreaterOrEqual(t, u.Free, int64(0))
	require.LessOrEqual(t, u.Free, u.Total)
	require.LessOrEqual(t, u.Total, int64(math.MaxInt64))
}
