package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/disk/filedisk"
	"github.com/cairnstore/cairn/engine"
	"github.com/cairnstore/cairn/erasure"
)

// The geometry of all stores but the edge preset's.
const (
	data   = 4
	parity = 2
	shards = data + parity
)

const bucketName = "bench"

// store is an engine on directories, with its index beside them.
type store struct {
	roots []string // one for each of the places given; removed by destroy
	dirs  []string // of the disks
	index string
	base  engine.Options // the preset

	e *engine.Engine
	b *engine.Bucket
}

// newStore makes a store of so many disks, spread over new directories in
// places, with the options of base.
func newStore(ctx context.Context, places []string, disks int, base engine.Options) (*store, error) {
	s := &store{base: base}
	for _, place := range places {
		root, err := os.MkdirTemp(place, "cairn-bench-")
		if err != nil {
			return nil, errors.Join(err, s.destroy())
		}
		s.roots = append(s.roots, root)
	}
	s.lay(disks)
	for _, dir := range s.dirs {
		if err := os.Mkdir(dir, 0o777); err != nil {
			return nil, errors.Join(err, s.destroy())
		}
	}
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(err, s.destroy())
	}
	if err := s.e.CreateBucket(ctx, bucketName); err != nil {
		return nil, errors.Join(err, s.destroy())
	}
	return s, nil
}

// storeAt names the store that newStore made in roots.
func storeAt(roots []string, disks int, base engine.Options) *store {
	s := &store{roots: roots, base: base}
	s.lay(disks)
	return s
}

func (s *store) lay(disks int) {
	for i := range disks {
		s.dirs = append(s.dirs, filepath.Join(s.roots[i%len(s.roots)], fmt.Sprintf("disk%d", i)))
	}
	s.index = filepath.Join(s.roots[0], "index")
}

func (s *store) open(ctx context.Context) error {
	var disks []disk.Disk
	for _, dir := range s.dirs {
		d, err := filedisk.Open(dir, nil)
		if err != nil {
			for _, d := range disks {
				_ = d.Close()
			}
			return err
		}
		disks = append(disks, d)
	}
	o := s.base
	o.Disks, o.IndexDir = disks, s.index
	if len(disks) == shards {
		o.Geometry = erasure.Geometry{Data: data, Parity: parity}
	}
	e, err := engine.Open(ctx, &o)
	if err != nil {
		return err
	}
	s.e, s.b = e, e.Bucket(bucketName)
	return nil
}

func (s *store) close() error {
	if s.e == nil {
		return nil
	}
	err := s.e.Close()
	s.e, s.b = nil, nil
	return err
}

// destroy closes the store and removes all that it made.
func (s *store) destroy() error {
	errs := []error{s.close()}
	for _, root := range s.roots {
		errs = append(errs, os.RemoveAll(root))
	}
	return errors.Join(errs...)
}

// indexBytes returns the size of the index directory.
func (s *store) indexBytes() (int64, error) {
	var n int64
	err := filepath.WalkDir(s.index, func(_ string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			n += info.Size()
		}
		return err
	})
	return n, err
}
