package faultdisk_test

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/disk/disktest"
	"github.com/cairnstore/cairn/disk/faultdisk"
	"github.com/cairnstore/cairn/disk/filedisk"
	"github.com/cairnstore/cairn/disk/memdisk"
)

type memHarness struct {
	d *faultdisk.Disk
	r *rand.Rand
}

func (h *memHarness) inner() *memdisk.Disk { return h.d.Unwrap().(*memdisk.Disk) }

func (h *memHarness) Disk() disk.Disk { return h.d }

func (h *memHarness) Reopen() disk.Disk {
	_ = h.d.Close()
	h.d = faultdisk.Wrap(h.inner().Reopen())
	return h.d
}

func (h *memHarness) PowerCut() disk.Disk {
	h.d = faultdisk.Wrap(h.inner().Machine().Restart(h.r).Disks()[0])
	return h.d
}

type fileHarness struct {
	t *testing.T
	d *faultdisk.Disk
}

func openFile(t *testing.T, path string) *faultdisk.Disk {
	d, err := filedisk.Open(path, nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = d.Close() })
	return faultdisk.Wrap(d)
}

func (h *fileHarness) Disk() disk.Disk { return h.d }

func (h *fileHarness) Reopen() disk.Disk {
	require.NoError(h.t, h.d.Close())
	h.d = openFile(h.t, h.d.String())
	return h.d
}

func TestConformance(t *testing.T) {
	t.Run("memdisk", func(t *testing.T) {
		disktest.Run(t, func(*testing.T) disktest.Harness {
			return &memHarness{faultdisk.Wrap(memdisk.New("mem")), rand.New(rand.NewPCG(1, 1))}
		})
	})
	t.Run("filedisk", func(t *testing.T) {
		disktest.Run(t, func(t *testing.T) disktest.Harness {
			return &fileHarness{t, openFile(t, t.TempDir())}
		})
	})
}
