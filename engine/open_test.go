package engine

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/zeebo/blake3"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/disk/faultdisk"
	"github.com/cairnstore/cairn/disk/memdisk"
	"github.com/cairnstore/cairn/erasure"
	"github.com/cairnstore/cairn/internal/segment"
)

// refused fails to open the store, and checks that nothing was written and
// nothing is left behind. It returns the error.
func (r *rig) refused(t *testing.T, want error, o Options) error {
	t.Helper()
	var err error
	noLeaks(t, func() {
		var e *Engine
		e, err = Open(context.Background(), &o)
		require.Nil(t, e)
	})
	require.ErrorIs(t, err, want)
	var typed *Error
	require.ErrorAs(t, err, &typed)
	require.Equal(t, "open", typed.Op)
	for _, d := range r.faults {
		n := d.Counts()
		require.Zero(t, n.Creates+n.Writes+n.Extends+n.Removes, "disks were written: %v", err)
	}
	for _, d := range o.Disks {
		if d != nil {
			_, err := d.List()
			require.ErrorIs(t, err, disk.ErrClosed, "Open keeps the disks that it was given")
		}
	}
	return err
}

// with returns the rig's options with fresh disks, changed by fn.
func (r *rig) with(fn func(o *Options)) Options {
	o := r.opts
	o.Disks = r.wrap()
	fn(&o)
	return o
}

func TestOpenBadOptions(t *testing.T) {
	r := newRig(t, 2, 1)
	for _, c := range []struct {
		what string
		fn   func(o *Options)
		says []string
	}{
		{"no disks", func(o *Options) { o.Disks = nil }, []string{"no disks"}},
		{"a nil disk", func(o *Options) { o.Disks[1] = nil }, []string{"disk 1 is nil"}},
		{"too few disks", func(o *Options) { o.Geometry = erasure.Geometry{Data: 4, Parity: 2} }, []string{"4+2", "3"}},
		{"no data", func(o *Options) { o.Geometry = erasure.Geometry{Parity: 2} }, []string{"0+2"}},
		{"too wide", func(o *Options) { o.Geometry = erasure.Geometry{Data: 33, Parity: 1} }, []string{"33+1"}},
		{"every problem", func(o *Options) {
			o.Disks = append(o.Disks, nil)
			o.MaxObjectSize, o.MaxQueue, o.GroupRecords, o.GroupBytes = -1, -1, 1, 5
			o.MaxOpenFiles, o.MaxWindows, o.CacheBytes, o.MemTableBytes = 1, -3, 7, 8
			o.LogSegmentSize, o.PayloadSegmentSize, o.LogAhead, o.PayloadAhead = 1, 2, 3, 4
			o.CheckInterval = -time.Second
		}, []string{
			"disk 3", "MaxObjectSize", "MaxQueue", "GroupRecords", "GroupBytes", "MaxOpenFiles", "MaxWindows", "CacheBytes",
			"MemTableBytes", "LogSegmentSize", "PayloadSegmentSize", "LogAhead", "PayloadAhead", "CheckInterval",
		}},
		{"large groups", func(o *Options) { o.GroupBytes = 1 << 40 }, []string{"GroupBytes"}},
	} {
		t.Run(c.what, func(t *testing.T) {
			err := r.refused(t, ErrOptions, r.with(c.fn))
			for _, s := range c.says {
				require.ErrorContains(t, err, s)
			}
		})
	}
	_, err := Open(context.Background(), nil)
	require.ErrorIs(t, err, ErrOptions)

	e := r.open()
	require.NoError(t, e.Close())
	err = r.refused(t, ErrOptions, r.with(func(o *Options) { o.Geometry = erasure.Geometry{Data: 1, Parity: 1} }))
	require.ErrorContains(t, err, "2+1")
	require.ErrorContains(t, err, "1+1")
	r.opts.Geometry = erasure.Geometry{}
	require.Equal(t, "2+1", r.open().Status().FullGeometry)
}

func TestOpenForeignFiles(t *testing.T) {
	r := newRig(t, 2, 1)
	f, err := r.mems[1].Create("holiday.jpg", 100)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	err = r.refused(t, ErrForeignDisk, r.with(func(*Options) {}))
	require.ErrorContains(t, err, "d1")
}

// patch changes a page of a file and makes that durable.
func patch(t *testing.T, d *memdisk.Disk, name string, off int64, size int, fn func(p []byte)) {
	t.Helper()
	f, err := d.Open(name)
	require.NoError(t, err)
	defer f.Close()
	p := make([]byte, size)
	_, err = f.ReadAt(p, off)
	require.NoError(t, err)
	fn(p)
	_, err = f.WriteAt(p, off)
	require.NoError(t, err)
	require.NoError(t, f.Sync())
}

// eachFile calls fn for the files of all disks.
func (r *rig) eachFile(t *testing.T, fn func(d *memdisk.Disk, e disk.Entry)) {
	r.wrap()
	for _, d := range r.mems {
		entries, err := d.List()
		require.NoError(t, err)
		for _, e := range entries {
			fn(d, e)
		}
	}
}

// TestOpenUnknownFormat raises the version in each structure, checksum and all.
func TestOpenUnknownFormat(t *testing.T) {
	newest := func(t *testing.T, r *rig) (newest erasure.SegmentID) {
		r.eachFile(t, func(_ *memdisk.Disk, e disk.Entry) {
			if id, _, ok := segment.ParseFileName(e.Name); ok && id.Compare(newest) > 0 {
				newest = id
			}
		})
		return newest
	}
	raise := func(b []byte) { binary.BigEndian.PutUint16(b, 7) }
	for _, c := range []struct {
		what  string
		patch func(t *testing.T, r *rig)
	}{
		{"label", func(t *testing.T, r *rig) {
			r.eachFile(t, func(d *memdisk.Disk, e disk.Entry) {
				if !strings.HasPrefix(e.Name, "label") || d != r.mems[1] {
					return
				}
				f, err := d.Open(e.Name)
				require.NoError(t, err)
				all := make([]byte, e.Size)
				_, err = f.ReadAt(all, 0)
				require.NoError(t, err)
				require.NoError(t, f.Close())
				for off := 0; ; off++ {
					at := bytes.Index(all[off:], []byte("cairnlbl"))
					if at < 0 {
						break
					}
					off += at
					n := 16 + int(binary.BigEndian.Uint32(all[off+12:]))
					patch(t, d, e.Name, int64(off), n+32, func(p []byte) {
						raise(p[8:])
						sum := blake3.Sum256(p[:n])
						copy(p[n:], sum[:])
					})
				}
			})
		}},
		{"segment header", func(t *testing.T, r *rig) {
			id := newest(t, r)
			r.eachFile(t, func(d *memdisk.Disk, e disk.Entry) {
				if at, shard, ok := segment.ParseFileName(e.Name); ok && at == id {
					patch(t, d, e.Name, 0, 4096, func(p []byte) {
						raise(p[8:])
						tag := erasure.NewKey(erasure.PoolID(p[16:32]), id, shard).Tag(0, p[:4064])
						copy(p[4064:], tag[:])
					})
				}
			})
		}},
		{"opening group", func(t *testing.T, r *rig) {
			id := newest(t, r)
			r.eachFile(t, func(d *memdisk.Disk, e disk.Entry) {
				if at, shard, ok := segment.ParseFileName(e.Name); ok && at == id {
					var n int
					patch(t, d, e.Name, 0, 4096, func(p []byte) { n = int(binary.BigEndian.Uint64(p[32:])) })
					patch(t, d, e.Name, 0, 4096+n, func(p []byte) {
						raise(p[4096:])
						sum := blake3.Sum256(p[4096:])
						copy(p[40:], sum[:])
						tag := erasure.NewKey(erasure.PoolID(p[16:32]), id, shard).Tag(0, p[:4064])
						copy(p[4064:], tag[:])
					})
				}
			})
		}},
		{"group header", func(t *testing.T, r *rig) {
			id := newest(t, r)
			patched := 0
			r.eachFile(t, func(d *memdisk.Disk, e disk.Entry) {
				at, shard, ok := segment.ParseFileName(e.Name)
				if !ok || at != id {
					return
				}
				for off := int64(4096); off+4096 <= e.Size; off += 4096 {
					patch(t, d, e.Name, off, 4096, func(p []byte) {
						if string(p[:8]) == "cairngrp" {
							raise(p[8:])
							n := int(binary.BigEndian.Uint16(p[10:])) - 32
							tag := erasure.NewKey(erasure.PoolID(p[12:28]), id, shard).Tag(off, p[:n])
							copy(p[n:], tag[:])
							patched++
						}
					})
				}
			})
			require.NotZero(t, patched)
		}},
		{"index", func(t *testing.T, r *rig) {
			name := filepath.Join(r.opts.IndexDir, "CAIRN-INDEX")
			p, err := os.ReadFile(name)
			require.NoError(t, err)
			p[11] = 7
			sum := blake3.Sum256(p[:32])
			copy(p[32:], sum[:])
			require.NoError(t, os.WriteFile(name, p, 0o666))
		}},
	} {
		t.Run(c.what, func(t *testing.T) {
			r := newRig(t, 2, 1)
			if c.what == "index" {
				r.opts.plainIndex, r.opts.IndexDir = false, t.TempDir()
			}
			e := r.open()
			b := bucketOf(t, e, "bucket")
			for i := range 4 {
				_, err := b.PutBytes(context.Background(), fmt.Sprint(i), content(1, 100), nil)
				require.NoError(t, err)
			}
			require.NoError(t, e.Close())
			c.patch(t, r)
			err := r.refused(t, ErrFormat, r.with(func(*Options) {}))
			require.ErrorContains(t, err, "7")
			require.Regexp(t, "(want|up to|knows).*[0-9]", err.Error())
		})
	}
}

// TestOpenCancelled cancels the context at each disk operation of Open, of a new
// pool and of one that exists. If Open returns the context's error, everything
// is let go and as it was for the next one.
func TestOpenCancelled(t *testing.T) {
	base := newFaultRig(t, erasure.Geometry{Data: 2, Parity: 1})
	for _, create := range []bool{false, true} {
		cancelled := 0
		for n := int64(1); ; n++ {
			f := base.fresh()
			if create {
				f = &faultRig{rig: newRig(t, 2, 1), want: map[string][]byte{}}
			}
			ctx, cancel := context.WithCancel(context.Background())
			var calls atomic.Int64
			o := f.with(func(*Options) {})
			for _, d := range f.faults {
				d.Add(faultdisk.Rule{Ops: faultdisk.OpAll &^ faultdisk.OpClose, Hook: func(faultdisk.Call) {
					if calls.Add(1) == n {
						cancel()
					}
				}})
			}
			e, err := Open(ctx, &o)
			late := calls.Load() < n
			cancel()
			if err == nil {
				require.NoError(t, e.Close())
			} else {
				require.ErrorIs(t, err, context.Canceled, "operation %d", n)
				cancelled++
				for _, d := range o.Disks {
					_, err := d.List()
					require.ErrorIs(t, err, disk.ErrClosed)
				}
			}
			e = f.open()
			require.False(t, e.Status().ReadOnly, "operation %d", n)
			if create {
				bucketOf(t, e, "bucket")
			}
			require.NoError(t, f.verify(e), "operation %d", n)
			require.NoError(t, e.Close())
			if late {
				break
			}
		}
		require.NotZero(t, cancelled)
	}
	r := newRig(t, 1, 0)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	o := r.with(func(*Options) {})
	noLeaks(t, func() {
		_, err := Open(ctx, &o)
		require.ErrorIs(t, err, context.Canceled)
	})
	require.Zero(t, r.machine.Ops())
}

// TestEvents lets slow and calling callbacks meet the engine: none of them may
// hold it up for good.
func TestEvents(t *testing.T) {
	r := newRig(t, 4, 2)
	var e *Engine
	var seen atomic.Int64
	ready := make(chan struct{})
	look := func() {
		<-ready
		_ = e.Status()
		_ = e.Metrics()
		seen.Add(1)
	}
	r.opts.Logger = slog.New(slog.NewTextHandler(&bytes.Buffer{}, nil))
	r.opts.Events = Events{
		DiskFailed: func(DiskFailedInfo) { look() },
		BadBlock:   func(BadBlockInfo) { look() },
	}
	e = r.open()
	b := bucketOf(t, e, "bucket")
	r.faults[0].Lose()
	done := make(chan error, 1)
	go func() {
		var errs []error
		for i := range 8 {
			_, err := b.PutBytes(context.Background(), fmt.Sprint(i), content(1, 10<<10*(i+1)), nil)
			errs = append(errs, err)
		}
		done <- errors.Join(errs...)
	}()
	close(ready)
	within(t, time.Minute, "put beside a callback that asks for the status", func() { require.NoError(t, <-done) })
	require.NotZero(t, seen.Load())
}
