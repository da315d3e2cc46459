package engine

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/disk/faultdisk"
	"github.com/cairnstore/cairn/disk/memdisk"
	"github.com/cairnstore/cairn/erasure"
)

var long = flag.Bool("long", false, "more and larger cases: minutes to hours")

// rig is a pool on memory disks behind faultdisk, opened and opened again.
type rig struct {
	t       testing.TB
	machine *memdisk.Machine
	mems    []*memdisk.Disk
	faults  []*faultdisk.Disk // of the latest open
	opts    Options           // of every open, but for Disks
}

// newRig returns a pool that is not made yet. Its segments are small, its index
// is the plain one in memory, and the health check stays out of the way.
func newRig(t testing.TB, k, m int) *rig {
	r := &rig{t: t, machine: memdisk.NewMachine()}
	for i := range k + m {
		r.mems = append(r.mems, r.machine.NewDisk(fmt.Sprintf("d%d", i)))
	}
	r.opts = Options{
		Geometry: erasure.Geometry{Data: k, Parity: m}, LogSegmentSize: 1 << 20, LogAhead: 64 << 10,
		PayloadSegmentSize: 4 << 20, PayloadAhead: 256 << 10, CheckInterval: time.Hour, plainIndex: true,
	}
	return r
}

// wrap returns fresh handles of the disks that are not absent.
func (r *rig) wrap(absent ...int) []disk.Disk {
	r.faults = make([]*faultdisk.Disk, len(r.mems))
	gone := map[int]bool{}
	for _, i := range absent {
		gone[i] = true
	}
	var disks []disk.Disk
	for i := range r.mems {
		r.mems[i] = r.mems[i].Reopen()
		r.faults[i] = faultdisk.Wrap(r.mems[i])
		if !gone[i] {
			disks = append(disks, r.faults[i])
		}
	}
	return disks
}

// tryOpen opens the store without the absent disks. The test closes it.
func (r *rig) tryOpen(ctx context.Context, absent ...int) (*Engine, error) {
	o := r.opts
	o.Disks = r.wrap(absent...)
	return Open(ctx, &o)
}

// open opens the store, which the end of the test closes if nothing else did.
func (r *rig) open(absent ...int) *Engine {
	r.t.Helper()
	e, err := r.tryOpen(context.Background(), absent...)
	require.NoError(r.t, err)
	r.t.Cleanup(func() { _ = e.Close() })
	return e
}

// reopen closes e and opens the store again.
func (r *rig) reopen(e *Engine, absent ...int) *Engine {
	r.t.Helper()
	require.NoError(r.t, e.Close())
	return r.open(absent...)
}

// restart cuts the power and keeps a random part of what was not synced. What
// was open is dead.
func (r *rig) restart(rng *rand.Rand) {
	r.machine = r.machine.Restart(rng)
	r.mems = r.machine.Disks()
}

// content returns n bytes that look random and are the same for a seed.
func content(seed uint64, n int) []byte {
	p := make([]byte, n)
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	_, _ = rand.NewChaCha8(key).Read(p) // never fails
	return p
}

// bucketOf makes a bucket and returns its handle.
func bucketOf(t testing.TB, e *Engine, name string) *Bucket {
	t.Helper()
	require.NoError(t, e.CreateBucket(context.Background(), name))
	return e.Bucket(name)
}

// read returns the current content of key.
func read(b *Bucket, key string) ([]byte, error) {
	o, err := b.Get(context.Background(), key, nil)
	if err != nil {
		return nil, err
	}
	defer o.Close()
	return io.ReadAll(o)
}
