//go:build !linux && !darwin && !freebsd && !openbsd && !netbsd && !dragonfly && !windows

package filedisk

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/cairnstore/cairn/disk"
)

const claimFile = ""

var busyErrnos, spaceErrnos []error

// claim cannot be had on this system, so Open fails: without one, two
// processes could write one disk.
type claim struct{}

func takeClaim(string) (*claim, error) {
	return nil, fmt.Errorf("%w: no exclusive claim of a directory on this system", errors.ErrUnsupported)
}

func (*claim) stat() (fs.FileInfo, error) { return nil, errors.ErrUnsupported }
func (*claim) sync() error                { return errors.ErrUnsupported }
func (*claim) release() error             { return nil }
func (*claim) usage() (disk.Usage, error) { return disk.Usage{}, errors.ErrUnsupported }
