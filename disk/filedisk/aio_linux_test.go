package filedisk

import (
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/disk"
)

// Syncs are the kernel's where it has them, contexts are used again and bounded,
// and none is left when the disk is closed and the last sync was waited for.
func TestAsyncSyncs(t *testing.T) {
	require.EqualValues(t, 64, unsafe.Sizeof(iocb{}))
	require.EqualValues(t, 32, unsafe.Sizeof(ioEvent{}))
	d, err := Open(t.TempDir(), nil)
	require.NoError(t, err)
	f, err := d.Create("file", 4096)
	require.NoError(t, err)
	for range 20 {
		require.NoError(t, disk.StartSync(f)())
	}
	if !d.syncs.off {
		require.Equal(t, 1, d.syncs.made)
	}
	var waits []func() error
	for range 3 * maxContexts {
		waits = append(waits, disk.StartSync(f))
	}
	for _, wait := range waits {
		require.NoError(t, wait())
	}
	require.LessOrEqual(t, d.syncs.made, maxContexts)
	require.Len(t, d.syncs.free, d.syncs.made)
	wait := disk.StartSync(f)
	require.NoError(t, d.Close())
	_ = wait() // begun before the close or after it
	require.Empty(t, d.syncs.free)

	// Where the kernel has none, goroutines do it.
	d, err = Open(t.TempDir(), nil)
	require.NoError(t, err)
	defer d.Close()
	d.syncs.disable()
	f, err = d.Create("file", 4096)
	require.NoError(t, err)
	require.NoError(t, disk.StartSync(f)())
	require.Zero(t, d.syncs.made)
}
