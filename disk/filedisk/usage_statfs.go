//go:build linux || darwin || freebsd || dragonfly

package filedisk

import (
	"math"
	"os"

	"golang.org/x/sys/unix"

	"github.com/cairnstore/cairn/disk"
)

func (c *claim) usage() (disk.Usage, error) {
	var s unix.Statfs_t
	if err := c.control(func(fd int) error { return unix.Fstatfs(fd, &s) }); err != nil {
		return disk.Usage{}, os.NewSyscallError("fstatfs", err)
	}
	unit := int64(s.Bsize)
	return disk.Usage{
		Total: scale(int64(s.Blocks), unit),
		Free:  scale(int64(s.Bavail), unit), // freebsd: below zero when only root can write
	}, nil
}

// scale returns blocks x unit, from 0 to the largest int64.
func scale(blocks, unit int64) int64 {
	switch {
	case blocks <= 0 || unit <= 0:
		return 0
	case blocks > math.MaxInt64/unit:
		return math.MaxInt64
	}
	return blocks * unit
}
