package payload

import (
	"bytes"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/disk/faultdisk"
	"github.com/cairnstore/cairn/disk/memdisk"
	"github.com/cairnstore/cairn/erasure"
	"github.com/cairnstore/cairn/internal/segment"
)

// A 64 KiB range takes three reads at most, wherever it lies, also across
// extents.
func TestRangeReads(t *testing.T) {
	leaks(t)
	for _, g := range geometries {
		p := memPool(g, g.Shards())
		s := p.open(t)
		r := newRand(t)
		o := mustPut(t, s, content(1, 5<<20+12345))
		buf := make([]byte, 64<<10)
		offsets := []int64{0, int64(len(o.data) - len(buf))}
		at := int64(0)
		for _, e := range o.extents {
			at += e.Length
			offsets = append(offsets, max(0, min(at-1, offsets[1])), max(0, min(at-32<<10, offsets[1])))
		}
		for range 50 {
			offsets = append(offsets, r.Int64N(offsets[1]))
		}
		for _, off := range offsets {
			before := p.counts().Reads
			require.NoError(t, o.readAt(s, buf, off))
			require.Equal(t, o.data[off:off+int64(len(buf))], buf)
			require.LessOrEqual(t, p.counts().Reads-before, int64(3), "%s at %d", g, off)
		}
		before := p.counts().Reads
		require.NoError(t, o.readAt(s, buf[:4096], 4096))
		require.EqualValues(t, 1, p.counts().Reads-before)
	}
}

// A whole read takes few large reads.
func TestCopyCoalesces(t *testing.T) {
	leaks(t)
	p := memPool(geometries[3], 6)
	s := p.open(t, func(c *Config) { c.SegmentSize, c.WindowBytes, c.SyncBytes = 0, 0, 0 })
	o := mustPut(t, s, content(1, 16<<20))
	before := p.counts()
	require.NoError(t, o.check(s, newRand(t)))
	c := p.counts().Sub(before)
	require.Less(t, c.Reads, int64(130)) // 256 frames, and the ranges that check reads
}

// flip corrupts byte at of the frame that shard holds of a row of the object's
// only extent.
func flip(t *testing.T, p *pool, o *object, row int64, shard int, at int64) {
	e := o.extents[0]
	d := o.descs[e.Segment]
	off := e.Offset + erasure.RowAt(d.Geometry.Data, e.Length, row).Offset
	dk, name := p.shardFile(d, shard)
	require.NoError(t, dk.Unwrap().(*memdisk.Disk).Corrupt(name, off+at, 0x10))
}

func TestFlips(t *testing.T) {
	leaks(t)
	for _, g := range geometries {
		t.Run(g.String(), func(t *testing.T) {
			r := newRand(t)
			p := memPool(g, g.Shards())
			s := p.open(t, func(c *Config) { c.SegmentSize = 64 << 20; c.WindowBytes = 8 << 20 })
			o := mustPut(t, s, content(1, 1<<20+99))
			require.Len(t, o.extents, 1)
			e := o.extents[0]
			d := o.descs[e.Segment]
			k := g.Data
			for row := range erasure.NumRows(k, e.Length) {
				at := erasure.RowAt(k, e.Length, row)
				n := at.Columns + g.Parity
				bad := r.Perm(n)[:g.Parity]
				for _, i := range bad {
					flip(t, p, o, row, shardOf(i, at.Columns, k), 100)
				}
			}
			require.NoError(t, o.check(s, r))
			if g.Parity > 0 {
				require.NotEmpty(t, p.bad)
				require.Positive(t, s.Metrics().FramesBad)
				for _, f := range p.bad {
					require.ErrorIs(t, f.Err, erasure.ErrFrame)
					require.Equal(t, d.Disks[f.Shard], f.Disk)
				}
			}
			// Too many in the last row.
			row := erasure.NumRows(k, e.Length) - 1
			at := erasure.RowAt(k, e.Length, row)
			for i := range at.Columns + g.Parity {
				flip(t, p, o, row, shardOf(i, at.Columns, k), 200)
			}
			err := o.readAt(s, make([]byte, 10), at.Data)
			var u *UnrecoverableError
			require.ErrorAs(t, err, &u)
			require.ErrorIs(t, err, ErrCorrupt)
			require.ErrorIs(t, err, erasure.ErrFrame)
			require.Equal(t, e.Segment, u.Segment)
			require.Equal(t, e.Offset+at.Offset, u.Offset)
			require.Len(t, u.Disks, at.Columns+g.Parity)
			for _, id := range u.Disks {
				require.Contains(t, err.Error(), id.String())
			}
			// Rows before it are read still, and Copy says how far it came.
			if row > 0 {
				require.NoError(t, o.readAt(s, make([]byte, 10), at.Data-10))
			}
			n, err := s.Copy(t.Context(), io.Discard, d, e, 0, e.Length)
			require.ErrorIs(t, err, ErrCorrupt)
			require.Equal(t, at.Data, n)
		})
	}
}

// All frames of a row but k' - 1 are gone: the error names their disks.
func TestUnrecoverable(t *testing.T) {
	leaks(t)
	p := memPool(geometries[3], 6)
	s := p.open(t)
	o := mustPut(t, s, content(1, 1<<20))
	e := o.extents[0]
	d := o.descs[e.Segment]
	for _, shard := range []int{1, 2, 5} {
		dk, _ := p.shardFile(d, shard)
		dk.Lose()
	}
	err := o.readAt(s, make([]byte, 1<<20), 0)
	var u *UnrecoverableError
	require.ErrorAs(t, err, &u)
	require.ErrorIs(t, err, ErrCorrupt)
	require.ErrorIs(t, err, disk.ErrLost)
	require.Equal(t, []disk.ID{d.Disks[1], d.Disks[2], d.Disks[5]}, u.Disks)
	// A range that touches none of them.
	require.NoError(t, o.readAt(s, make([]byte, 100), 0))
	dk, _ := p.shardFile(d, 2)
	dk.Return()
	require.NoError(t, o.check(s, newRand(t)))
}

// Missing files, and disks that are not there at all.
func TestAbsentShards(t *testing.T) {
	leaks(t)
	p := memPool(geometries[3], 6)
	s := p.open(t)
	o := mustPut(t, s, content(1, 5<<20))
	require.NoError(t, s.Close())
	for _, d := range o.descs {
		dk, name := p.shardFile(d, 0)
		require.NoError(t, dk.Remove(name))
	}
	require.NoError(t, p.set.Close())
	fresh := newPool(geometries[3])
	for i, d := range p.disks {
		if i != 3 {
			fresh.set.Add(p.ids[i], d)
		}
	}
	again := fresh.open(t)
	require.NoError(t, o.check(again, newRand(t)))
	require.NotEmpty(t, fresh.bad)
	for _, f := range fresh.bad {
		require.ErrorIs(t, f.Err, segment.ErrAbsent)
	}
}

// A bad sector in a long read costs the frame that it is in, no more.
func TestOneBadSector(t *testing.T) {
	leaks(t)
	p := memPool(geometries[2], 3)
	s := p.open(t, func(c *Config) { c.SegmentSize = 64 << 20; c.WindowBytes = 8 << 20 })
	o := mustPut(t, s, content(1, 4<<20))
	e := o.extents[0]
	d := o.descs[e.Segment]
	at := erasure.RowAt(2, e.Length, 3)
	dk, name := p.shardFile(d, 0)
	bad := e.Offset + at.Offset + 5000
	fails := &sector{Disk: dk, name: name, bad: bad}
	p.set.Add(d.Disks[0], fails)
	flip(t, p, o, 7, 1, 100) // and rot in another row of another shard
	require.NoError(t, o.check(s, newRand(t)))
	for _, f := range p.bad {
		require.Contains(t, []int64{e.Offset + at.Offset, e.Offset + erasure.RowAt(2, e.Length, 7).Offset}, f.Offset)
	}
}

// sector is a disk with one byte that cannot be read.
type sector struct {
	*faultdisk.Disk
	name string
	bad  int64
}

type sectorFile struct {
	disk.File
	bad int64
}

func (s *sector) Open(name string) (disk.File, error) {
	f, err := s.Disk.Open(name)
	if err != nil || name != s.name {
		return f, err
	}
	return &sectorFile{f, s.bad}, nil
}

func (f *sectorFile) ReadAt(p []byte, off int64) (int, error) {
	if off <= f.bad && f.bad < off+int64(len(p)) {
		return 0, errIO
	}
	return f.File.ReadAt(p, off)
}

func TestBadRanges(t *testing.T) {
	leaks(t)
	p := memPool(geometries[2], 3)
	s := p.open(t)
	o := mustPut(t, s, content(1, 100_000))
	e := o.extents[0]
	d := o.descs[e.Segment]
	other := *d
	other.ID.Counter++
	require.ErrorIs(t, s.ReadAt(t.Context(), d, e, make([]byte, 2), e.Length-1), ErrRange)
	require.ErrorIs(t, s.ReadAt(t.Context(), d, e, make([]byte, 2), -1), ErrRange)
	require.ErrorIs(t, s.ReadAt(t.Context(), &other, e, make([]byte, 2), 0), ErrRange)
	require.ErrorIs(t, s.ReadAt(t.Context(), d, erasure.Extent{}, make([]byte, 2), 0), ErrRange)
	require.NoError(t, s.ReadAt(t.Context(), d, e, nil, e.Length))
	// A record that lies about the length or place: never other bytes.
	for _, lie := range []erasure.Extent{
		{Segment: e.Segment, Offset: e.Offset, Length: e.Length - 20_000},
		{Segment: e.Segment, Offset: e.Offset, Length: e.Length + 100_000},
		{Segment: e.Segment, Offset: e.Offset + erasure.Align, Length: e.Length},
		{Segment: e.Segment, Offset: 1 << 40, Length: e.Length},
	} {
		require.ErrorIs(t, s.ReadAt(t.Context(), d, lie, make([]byte, lie.Length), 0), ErrCorrupt)
	}
	_, err := s.Copy(t.Context(), io.Discard, d, e, 5, 4)
	require.ErrorIs(t, err, ErrRange)
}

// A writer that fails ends Copy, without anything left running.
func TestCopyToFailingWriter(t *testing.T) {
	leaks(t)
	p := memPool(geometries[3], 6)
	s := p.open(t, func(c *Config) { c.SegmentSize = 64 << 20 })
	o := mustPut(t, s, content(1, 10<<20))
	e := o.extents[0]
	for _, limit := range []int{0, 100_000, 5 << 20} {
		w := &limited{left: limit}
		n, err := s.Copy(t.Context(), w, o.descs[e.Segment], e, 0, e.Length)
		if int64(limit) < e.Length {
			require.ErrorIs(t, err, io.ErrClosedPipe)
			require.EqualValues(t, limit, n)
		}
		require.True(t, bytes.Equal(o.data[:w.got.Len()], w.got.Bytes()))
	}
}

type limited struct {
	left int
	got  bytes.Buffer
}

func (l *limited) Write(p []byte) (int, error) {
	n := min(len(p), l.left)
	l.left -= n
	l.got.Write(p[:n])
	if n < len(p) {
		return n, io.ErrClosedPipe
	}
	return n, nil
}
