package main

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// usage adds up the files of a disk directory: the bytes in use, and the zeros
// at the ends of files, which are written ahead of need and will be used by
// later objects.
func usage(dir string) (used, slack int64, err error) {
	err = filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		size, zeros, err := measureFile(p)
		used, slack = used+size-zeros, slack+zeros
		return err
	})
	return used, slack, err
}

// measureFile returns the size of a file and how many of its last bytes are
// whole 4 KiB blocks of zeros.
func measureFile(path string) (size, zeros int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return 0, 0, err
	}
	size = info.Size()
	const block, chunk = 4 << 10, 256 << 10
	buf, zero := make([]byte, chunk), make([]byte, block)
	for end := size; end > 0; {
		// Chunks lie at multiples of their length; all but the last are full.
		start := (end - 1) / chunk * chunk
		p := buf[:end-start]
		if _, err := f.ReadAt(p, start); err != nil && err != io.EOF {
			return size, zeros, err
		}
		for len(p) > 0 {
			from := (len(p) - 1) / block * block
			if !bytes.Equal(p[from:], zero[:len(p)-from]) {
				return size, zeros, nil
			}
			zeros += int64(len(p) - from)
			p = p[:from]
		}
		end = start
	}
	return size, zeros, nil
}
