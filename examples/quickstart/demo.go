package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/disk/filedisk"
	"github.com/cairnstore/cairn/engine"
	"github.com/cairnstore/cairn/erasure"
)

const (
	bucketName  = "golang"
	workers     = 8  // goroutines that store and read
	sampleEvery = 50 // the sample after the reopen
)

var (
	geometry  = erasure.Geometry{Data: 4, Parity: 2}
	diskNames = []string{"disk1", "disk2", "disk3", "disk4", "disk5", "disk6"}
	lostNames = []string{"disk2", "disk5"}
)

// demo is one run: its place, its input and what it measured.
type demo struct {
	home   string
	source *source
	out    io.Writer
	show   bool // out is a terminal

	failed chan string // names of disks that the engine gave up

	stored, read, sample measure
	syncs                int64 // of the store phase
	rebuilt              int64 // while reading without two disks
	reopen               time.Duration
	used, slack          int64 // bytes on the disks before the loss, zero-ahead apart
	losses               losses
}

// run takes the demo from an empty directory to the report.
func (d *demo) run(ctx context.Context) error {
	for _, name := range diskNames {
		if err := os.Mkdir(filepath.Join(d.home, name), 0o777); err != nil {
			return err
		}
	}
	d.printf("Six disks, %v, in %s\n", geometry, d.home)
	if err := d.session(ctx, diskNames, d.fillAndLose); err != nil {
		return err
	}
	left := slices.DeleteFunc(slices.Clone(diskNames), func(name string) bool { return slices.Contains(lostNames, name) })
	began := time.Now()
	if err := d.session(ctx, left, func(ctx context.Context, e *engine.Engine) error {
		d.reopen = time.Since(began)
		return d.readSample(ctx, e)
	}); err != nil {
		return err
	}
	d.report()
	return d.losses.err()
}

// session opens the store on the disks named, calls fn and closes the store.
func (d *demo) session(ctx context.Context, names []string, fn func(context.Context, *engine.Engine) error) (err error) {
	e, err := d.open(ctx, names)
	if err != nil {
		return fmt.Errorf("opening the store on %d disks: %w", len(names), err)
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	return fn(ctx, e)
}

func (d *demo) open(ctx context.Context, names []string) (*engine.Engine, error) {
	var disks []disk.Disk
	for _, name := range names {
		dk, err := filedisk.Open(filepath.Join(d.home, name), nil)
		if err != nil {
			for _, opened := range disks {
				err = errors.Join(err, opened.Close())
			}
			return nil, err
		}
		disks = append(disks, dk)
	}
	d.failed = make(chan string, len(names))
	failed := d.failed
	return engine.Open(ctx, &engine.Options{
		Disks:    disks,
		IndexDir: filepath.Join(d.home, "index"),
		Geometry: geometry,
		Events: engine.Events{DiskFailed: func(info engine.DiskFailedInfo) {
			select {
			case failed <- info.Name:
			default: // more failures than disks: nobody waits for them
			}
		}},
	})
}

// fillAndLose stores everything, loses two disks and reads everything.
func (d *demo) fillAndLose(ctx context.Context, e *engine.Engine) error {
	if err := e.CreateBucket(ctx, bucketName); err != nil {
		return err
	}
	before := e.Metrics().Syncs
	if err := d.store(ctx, e.Bucket(bucketName)); err != nil {
		return err
	}
	d.syncs = e.Metrics().Syncs - before
	if err := d.list(ctx, e.Bucket(bucketName)); err != nil {
		return err
	}
	for _, name := range diskNames {
		used, slack, err := usage(filepath.Join(d.home, name))
		if err != nil {
			return err
		}
		d.used, d.slack = d.used+used, d.slack+slack
	}
	if err := d.lose(ctx); err != nil {
		return err
	}
	return d.readAll(ctx, e)
}

// lose destroys two disks and waits until the store has noticed.
func (d *demo) lose(ctx context.Context) error {
	for _, name := range lostNames {
		if err := destroy(filepath.Join(d.home, name)); err != nil {
			return err
		}
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for range lostNames {
		select {
		case <-d.failed:
		case <-ctx.Done():
			return fmt.Errorf("the store did not notice the removed disks: %w", ctx.Err())
		}
	}
	d.printf("Removed %s and %s under the open store; it noticed after %.1f s\n",
		lostNames[0], lostNames[1], time.Since(began).Seconds())
	return nil
}

// destroy removes a directory and the bytes of its files. Removing the names
// alone would prove little: whoever has a file open can read it as before.
func destroy(dir string) error {
	// The store is running: files may come and go meanwhile.
	gone := func(err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return gone(err)
		}
		return gone(os.Truncate(p, 0))
	})
	removed := os.RemoveAll(dir)
	for try := 0; removed != nil && try < 10; try++ {
		removed = os.RemoveAll(dir)
	}
	return errors.Join(err, removed)
}

func (d *demo) printf(format string, args ...any) {
	_, _ = fmt.Fprintf(d.out, format, args...)
}
