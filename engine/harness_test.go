package engine

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/disk/faultdisk"
	"github.com/cairnstore/cairn/disk/memdisk"
	"github.com/cairnstore/cairn/erasure"
)

// long widens loops for the targets crash and big of the Makefile.
var long = flag.Bool("long", false, "run long tests in full")

var ctx = context.Background()

// rig is an engine over disks in memory whose calls are counted and can be
// made to fail.
type rig struct {
	*Engine
	t       testing.TB
	machine *memdisk.Machine
	disks   []*faultdisk.Disk // as the engine has them
	opts    Options           // but for Disks
	bucket  *Bucket           // "test", made by newRig
}

// setting changes the options of a rig.
type setting func(*Options)

// onPebble has the rig use the real index, in memory.
func onPebble(o *Options) { o.plainIndex = false }

// small has segments, and what is filled ahead, small enough to roll often.
func small(o *Options) {
	o.LogSegmentSize, o.LogAhead = 256<<10, 64<<10
	o.PayloadSegmentSize, o.PayloadAhead = 1<<20, 128<<10
}

// newRig opens a new pool with a disk for each shard of geometry g, given as
// "4+2", and the index's plain twin; Close comes with the test's end.
func newRig(t testing.TB, g string, settings ...setting) *rig {
	t.Helper()
	geometry := geometryOf(t, g)
	r := &rig{t: t, machine: memdisk.NewMachine(), opts: Options{Geometry: geometry, plainIndex: true}}
	for _, set := range settings {
		set(&r.opts)
	}
	for i := range geometry.Shards() {
		r.machine.NewDisk(fmt.Sprintf("disk%d", i))
	}
	r.open()
	require.NoError(t, r.CreateBucket(ctx, "test"))
	r.bucket = r.Bucket("test")
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// open opens the engine on the machine's disks as they are now.
func (r *rig) open() {
	r.t.Helper()
	o := r.opts
	r.disks = nil
	for _, d := range r.machine.Disks() {
		f := faultdisk.Wrap(d)
		r.disks = append(r.disks, f)
		o.Disks = append(o.Disks, f)
	}
	e, err := Open(ctx, &o)
	require.NoError(r.t, err)
	r.Engine, r.bucket = e, e.Bucket("test")
}

// reopen closes the engine and opens it on the same disks.
func (r *rig) reopen() {
	r.t.Helper()
	require.NoError(r.t, r.Close())
	for _, d := range r.machine.Disks() {
		d.Reopen()
	}
	r.open()
}

// counts returns what all disks have counted together.
func (r *rig) counts() (c faultdisk.Counts) {
	for _, d := range r.disks {
		c = c.Add(d.Counts())
	}
	return c
}

// put stores p and returns what Put did.
func (r *rig) put(key string, p []byte) *ObjectInfo {
	r.t.Helper()
	info, err := r.bucket.PutBytes(ctx, key, p, nil)
	require.NoError(r.t, err, "put %q", key)
	return info
}

// read reads an object whole.
func read(b *Bucket, key string) (p []byte, info *ObjectInfo, err error) {
	o, err := b.Get(ctx, key, nil)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, o.Close()) }()
	p, err = io.ReadAll(o)
	return p, o.Info(), err
}

// requireObject has the object read back whole and equal to p.
func (r *rig) requireObject(key string, p []byte) {
	r.t.Helper()
	got, info, err := read(r.bucket, key)
	require.NoError(r.t, err, "get %q", key)
	require.Equal(r.t, int64(len(p)), info.Size, "size of %q", key)
	require.True(r.t, bytes.Equal(p, got), "content of %q", key)
}

// keys lists all keys of a bucket.
func keys(t testing.TB, b *Bucket) (keys []string) {
	t.Helper()
	for o, err := range b.List(ctx, nil) {
		require.NoError(t, err)
		keys = append(keys, o.Key)
	}
	return keys
}

// content returns n bytes that no other seed gives, and of which no two aligned
// blocks are the same.
func content(seed uint64, n int) []byte {
	p := make([]byte, n+8)
	x := seed*0x9E3779B97F4A7C15 + 1
	for i := 0; i < n; i += 8 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		binary.LittleEndian.PutUint64(p[i:], x)
	}
	return p[:n:n]
}

func geometryOf(t testing.TB, s string) (g erasure.Geometry) {
	t.Helper()
	_, err := fmt.Sscanf(s, "%d+%d", &g.Data, &g.Parity)
	require.NoError(t, err)
	return g
}

