package filedisk_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/disk/disktest"
	"github.com/cairnstore/cairn/disk/filedisk"
)

type harness struct {
	t *testing.T
	d *filedisk.Disk
}

func mustOpen(t *testing.T, path string) *filedisk.Disk {
	t.Helper()
	d, err := filedisk.Open(path, nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func (h *harness) Disk() disk.Disk { return h.d }

func (h *harness) Reopen() disk.Disk {
	require.NoError(h.t, h.d.Close())
	h.d = mustOpen(h.t, h.d.String())
	return h.d
}

func TestConformance(t *testing.T) {
	disktest.Run(t, func(t *testing.T) disktest.Harness {
		return &harness{t, mustOpen(t, t.TempDir())}
	})
}

func TestConformanceBuffered(t *testing.T) {
	disktest.Run(t, func(t *testing.T) disktest.Harness {
		d, err := filedisk.Open(t.TempDir(), &filedisk.Options{Direct: filedisk.DirectOff})
		require.NoError(t, err)
		t.Cleanup(func() { _ = d.Close() })
		return &harness{t, d}
	})
}
