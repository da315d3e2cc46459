//go:build !linux

package filedisk

import (
	"errors"
	"os"
)

func openDirect(*os.Root, string) (*os.File, error) { return nil, errors.ErrUnsupported }

func directUnsupported(error) bool { return true }

func allocate(*os.File, int64, int64) error { return errors.ErrUnsupported }

func allocateUnsupported(error) bool { return true }
