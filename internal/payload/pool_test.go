package payload

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/disk/faultdisk"
	"github.com/cairnstore/cairn/disk/memdisk"
	"github.com/cairnstore/cairn/erasure"
	"github.com/cairnstore/cairn/internal/segment"
)

var errNoQuorum = errors.New("no quorum")

// pool stands for the log: it knows the disks and hands out segments.
type pool struct {
	geometry erasure.Geometry
	set      *segment.Set
	disks    []*faultdisk.Disk
	ids      []disk.ID

	mu       sync.Mutex
	counter  uint64
	dropped  []disk.ID // each time one is reported
	bad      []BadFrame
	newError error
}

var poolID = erasure.PoolID{1, 2, 3}

func newPool(g erasure.Geometry, disks ...disk.Disk) *pool {
	p := &pool{geometry: g, set: segment.NewSet(poolID, 64)}
	for i, d := range disks {
		p.disks = append(p.disks, faultdisk.Wrap(d))
		p.ids = append(p.ids, disk.ID{byte(i + 1)})
		p.set.Add(p.ids[i], p.disks[i])
	}
	return p
}

// memPool is a pool of n disks in memory.
func memPool(g erasure.Geometry, n int) *pool {
	m := memdisk.NewMachine()
	disks := make([]disk.Disk, n)
	for i := range disks {
		disks[i] = m.NewDisk(fmt.Sprint("mem", i))
	}
	return newPool(g, disks...)
}

func (p *pool) newSegment(ctx context.Context) (*segment.Descriptor, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := errors.Join(ctx.Err(), p.newError); err != nil {
		return nil, err
	}
	live := p.set.Live()
	g, ok := p.geometry.Narrow(len(live))
	if !ok {
		return nil, errNoQuorum
	}
	p.counter++
	d := &segment.Descriptor{ID: erasure.SegmentID{Epoch: 1, Random: 7, Counter: p.counter}, Kind: segment.KindPayload, Geometry: g}
	for i := range g.Shards() {
		d.Disks = append(d.Disks, live[(int(p.counter)+i)%len(live)])
	}
	return d, nil
}

func (p *pool) drop(id disk.ID, err error) {
	p.set.Drop(id, err)
	p.mu.Lock()
	p.dropped = append(p.dropped, id)
	p.mu.Unlock()
}

func (p *pool) onBad(f BadFrame) {
	p.mu.Lock()
	p.bad = append(p.bad, f)
	p.mu.Unlock()
}

func (p *pool) config() Config {
	return Config{Pool: poolID, Set: p.set, NewSegment: p.newSegment, OnDiskError: p.drop, OnBadFrame: p.onBad,
		SegmentSize: 4 << 20, Prealloc: 256 << 10, WindowBytes: 1 << 20, SyncBytes: 2 << 20}
}

// open returns a Store that is closed with the test, as is the Set.
func (p *pool) open(t testing.TB, change ...func(*Config)) *Store {
	t.Helper()
	cfg := p.config()
	for _, c := range change {
		c(&cfg)
	}
	s, err := New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, s.Close())
		require.NoError(t, p.set.Close())
		require.Zero(t, s.Metrics().Windows, "windows in use after Close")
		require.Zero(t, s.Metrics().OpenSegments, "segments open after Close")
	})
	return s
}

// object is what a stream was given and where it lies.
type object struct {
	data    []byte
	extents []erasure.Extent
	descs   map[erasure.SegmentID]*segment.Descriptor
}

func content(seed uint64, n int) []byte {
	b := make([]byte, n)
	var key [32]byte
	binary.BigEndian.PutUint64(key[:], seed)
	_, _ = rand.NewChaCha8(key).Read(b) // never fails
	return b
}

// put streams data in pieces of piece bytes.
func put(s *Store, data []byte, piece int) (*object, error) {
	return putHinted(s, data, piece, 0)
}

func putHinted(s *Store, data []byte, piece int, hint int64) (*object, error) {
	st, err := s.NewStream(context.Background(), StreamOptions{SizeHint: hint})
	if err != nil {
		return nil, err
	}
	defer st.Abort()
	for b := range slices.Chunk(data, piece) {
		if _, err := st.Write(b); err != nil {
			return nil, err
		}
	}
	extents, descs, err := st.Finish()
	if err != nil {
		return nil, err
	}
	o := &object{data: data, extents: extents, descs: map[erasure.SegmentID]*segment.Descriptor{}}
	for _, d := range descs {
		o.descs[d.ID] = d
	}
	return o, nil
}

func mustPut(t testing.TB, s *Store, data []byte) *object {
	t.Helper()
	o, err := put(s, data, 100_000)
	require.NoError(t, err)
	return o
}

// readAt reads object bytes across extents.
func (o *object) readAt(s *Store, p []byte, off int64) error {
	for _, e := range o.extents {
		if len(p) == 0 {
			return nil
		}
		if off < e.Length {
			n := min(int64(len(p)), e.Length-off)
			if err := s.ReadAt(context.Background(), o.descs[e.Segment], e, p[:n], off); err != nil {
				return err
			}
			p, off = p[n:], off+n
		}
		off -= e.Length
	}
	if len(p) > 0 {
		return fmt.Errorf("%d bytes beyond the extents", len(p))
	}
	return nil
}

// check reads the object whole, by Copy and in ranges.
func (o *object) check(s *Store, r *rand.Rand) error {
	var out bytes.Buffer
	for _, e := range o.extents {
		n, err := s.Copy(context.Background(), &out, o.descs[e.Segment], e, 0, e.Length)
		if err != nil {
			return err
		}
		if n != e.Length {
			return fmt.Errorf("copied %d of %d", n, e.Length)
		}
	}
	if !bytes.Equal(out.Bytes(), o.data) {
		return fmt.Errorf("copy of %d bytes, not the %d written", out.Len(), len(o.data))
	}
	for range 6 {
		off := r.Int64N(int64(len(o.data)) + 1)
		n := r.Int64N(int64(len(o.data))-off+1) >> r.IntN(12)
		p := make([]byte, n)
		if err := o.readAt(s, p, off); err != nil {
			return err
		}
		if !bytes.Equal(p, o.data[off:off+n]) {
			return fmt.Errorf("wrong bytes at %d+%d of %d", off, n, len(o.data))
		}
	}
	return nil
}

func (p *pool) counts() (c faultdisk.Counts) {
	for _, d := range p.disks {
		c = c.Add(d.Counts())
	}
	return c
}

// shardFile returns where a shard of d is: its disk and the name.
func (p *pool) shardFile(d *segment.Descriptor, shard int) (*faultdisk.Disk, string) {
	return p.disks[slices.Index(p.ids, d.Disks[shard])], segment.FileName(d.ID, shard)
}

func leaks(t testing.TB) {
	t.Helper()
	opt := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, opt) })
}

func newRand(t testing.TB) *rand.Rand {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}
