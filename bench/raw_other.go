//go:build !linux

package bench

import (
	"errors"
	"os"
)

func openDirect(string) (*os.File, error) { return nil, errors.ErrUnsupported }

func dataSync(f *os.File) error { return f.Sync() }
