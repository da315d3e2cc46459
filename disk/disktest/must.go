package disktest

import (
	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/disk"
)

func mustCreate(t require.TestingT, d disk.Disk, name string, size int64) disk.File {
	f, err := d.Create(name, size)
	require.NoError(t, err)
	return f
}

func mustOpen(t require.TestingT, d disk.Disk, name string) disk.File {
	f, err := d.Open(name)
	require.NoError(t, err)
	return f
}

func mustWrite(t require.TestingT, f disk.File, p []byte, off int64) {
	n, err := f.WriteAt(p, off)
	require.NoError(t, err)
	require.Equal(t, len(p), n, "a short write is never a success")
}

func mustRead(t require.TestingT, f disk.File, off int64, n int) []byte {
	p := make([]byte, n)
	got, err := f.ReadAt(p, off)
	require.NoError(t, err)
	require.Equal(t, n, got, "a short read is never a success")
	return p
}

func sizeOf(t require.TestingT, f disk.File) int64 {
	n, err := f.Size()
	require.NoError(t, err)
	return n
}

func entriesOf(t require.TestingT, d disk.Disk) []disk.Entry {
	entries, err := d.List()
	require.NoError(t, err)
	return entries
}

// requireZeros fails unless n bytes from off are there and zero.
func requireZeros(t require.TestingT, f disk.File, off, n int64) {
	for i, c := range mustRead(t, f, off, int(n)) {
		if c != 0 {
			require.Failf(t, "not zero", "byte %d is %#x", off+int64(i), c)
		}
	}
}

// pattern returns n bytes that differ from one sector to the next and from one
// seed to another, and are never zero.
func pattern(n int, seed byte) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte((i*7+i/512*31+int(seed)*57)%255) + 1
	}
	return p
}
