package filedisk

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/disk"
)

// A file that is only read from now on keeps one descriptor; what is written all
// the same arrives.
func TestEndWrites(t *testing.T) {
	works := direct(t, t.TempDir())
	d, err := Open(t.TempDir(), nil)
	require.NoError(t, err)
	defer d.Close()
	f, err := d.Create("file", int64(directAlign))
	require.NoError(t, err)
	count := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		require.NoError(t, err)
		return len(entries)
	}
	one := count()
	require.NoError(t, disk.Reserve(f, 1<<20))
	if works {
		require.Equal(t, one+1, count())
	}
	f.(disk.WriteEnder).EndWrites()
	require.Equal(t, one, count())
	p := pages(directAlign)
	p[0] = 7
	_, err = f.WriteAt(p, int64(directAlign))
	require.NoError(t, err)
	got := make([]byte, len(p))
	_, err = f.ReadAt(got, int64(directAlign))
	require.NoError(t, err)
	require.Equal(t, p, got)
	require.NoError(t, f.Close())
}
