package memdisk_test

import (
	"math/rand/v2"
	"testing"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/disk/disktest"
	"github.com/cairnstore/cairn/disk/memdisk"
)

type harness struct {
	d *memdisk.Disk
	r *rand.Rand
}

func (h *harness) Disk() disk.Disk { return h.d }

func (h *harness) Reopen() disk.Disk {
	_ = h.d.Close()
	h.d = h.d.Reopen()
	return h.d
}

func (h *harness) PowerCut() disk.Disk {
	h.d = h.d.Machine().Restart(h.r).Disks()[0]
	return h.d
}

func TestConformance(t *testing.T) {
	disktest.Run(t, func(*testing.T) disktest.Harness {
		return &harness{memdisk.New("mem"), rand.New(rand.NewPCG(1, 1))}
	})
}
