package segment

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/disk/faultdisk"
	"github.com/cairnstore/cairn/disk/memdisk"
	"github.com/cairnstore/cairn/erasure"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testSet is a set of six disks with a segment 4+2 on them.
func testSet(t testing.TB, maxOpen int) (*Set, []*faultdisk.Disk, *Descriptor) {
	t.Helper()
	s := NewSet(testPool, maxOpen)
	d := testDescriptor(erasure.Geometry{Data: 4, Parity: 2})
	disks := make([]*faultdisk.Disk, 6)
	for i := range disks {
		disks[i] = faultdisk.Wrap(memdisk.New("mem"))
		s.Add(d.Disks[i], disks[i])
	}
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s, disks, d
}

// fillShard creates a shard file and writes its number all over it.
func fillShard(t testing.TB, s *Set, d *Descriptor, shard int) disk.File {
	t.Helper()
	f, err := s.Create(d, shard, 8192)
	require.NoError(t, err)
	_, err = f.WriteAt(bytes.Repeat([]byte{byte(shard + 1)}, 8192), 0)
	require.NoError(t, err)
	require.NoError(t, f.Sync())
	return f
}

func TestSetReads(t *testing.T) {
	s, disks, d := testSet(t, 0)
	for shard := range 6 {
		require.NoError(t, fillShard(t, s, d, shard).Close())
	}
	p := make([]byte, 100)
	for shard := range 6 {
		require.NoError(t, s.ReadAt(d, shard, p, 8092))
		require.Equal(t, bytes.Repeat([]byte{byte(shard + 1)}, 100), p)
		require.Zero(t, disks[shard].Counts().Opens, "created and still open")
	}
	require.Error(t, s.ReadAt(d, 0, p, 8093), "past the end")
	s.Forget(d.ID)
	for range 3 {
		require.NoError(t, s.ReadAt(d, 1, p, 0))
	}
	require.EqualValues(t, 1, disks[1].Counts().Opens)
}

func TestSetMembers(t *testing.T) {
	s, disks, d := testSet(t, 0)
	require.Equal(t, d.Disks, s.Live())
	got, live := s.Disk(d.Disks[2])
	require.Same(t, disks[2], got)
	require.True(t, live)
	got, live = s.Disk(disk.ID{99})
	require.Nil(t, got)
	require.False(t, live)

	f := fillShard(t, s, d, 2)
	cause := errors.New("smoke")
	s.Drop(d.Disks[2], cause)
	s.Drop(d.Disks[2], errors.New("second"))
	s.Drop(disk.ID{99}, nil)
	_, live = s.Disk(d.Disks[2])
	require.False(t, live)
	require.NotContains(t, s.Live(), d.Disks[2])
	// Nothing more is written, what is there is read.
	for name, err := range map[string]error{
		"write":  second(f.WriteAt([]byte{1}, 0)),
		"sync":   f.Sync(),
		"extend": f.Extend(1 << 20),
	} {
		require.ErrorIs(t, err, ErrAbsent, name)
		require.ErrorIs(t, err, cause, name)
	}
	d2 := *d
	d2.ID.Counter++
	_, err := s.Create(&d2, 2, 0)
	require.ErrorIs(t, err, cause)
	require.NoError(t, s.ReadAt(d, 2, make([]byte, 10), 0))
	require.EqualValues(t, 1, disks[2].Counts().Writes)
	require.EqualValues(t, 1, disks[2].Counts().Syncs)
}

func second(_ int, err error) error { return err }

// A sync that was under way when its disk was dropped does not count.
func TestSyncBesideDrop(t *testing.T) {
	s, disks, d := testSet(t, 0)
	f := fillShard(t, s, d, 0)
	disks[0].Add(faultdisk.Rule{Ops: faultdisk.OpSync, Hook: func(faultdisk.Call) { s.Drop(d.Disks[0], nil) }})
	require.ErrorIs(t, f.Sync(), ErrAbsent)
}

func TestAbsence(t *testing.T) {
	s, disks, d := testSet(t, 0)
	p := make([]byte, 10)
	err := s.ReadAt(d, 0, p, 0)
	require.ErrorIs(t, err, ErrAbsent)
	require.ErrorIs(t, err, fs.ErrNotExist)
	// Looking did not leave the absence behind.
	require.NoError(t, fillShard(t, s, d, 0).Close())
	require.NoError(t, s.ReadAt(d, 0, p, 0))

	gone := *d
	gone.Disks = append([]disk.ID{{77}}, d.Disks[1:]...)
	require.ErrorIs(t, s.ReadAt(&gone, 0, p, 0), ErrAbsent)
	_, err = s.Create(&gone, 0, 0)
	require.ErrorIs(t, err, ErrAbsent)

	require.NoError(t, fillShard(t, s, d, 1).Close())
	s.Forget(d.ID)
	io := errors.New("input/output error")
	remove := disks[1].Add(faultdisk.Rule{Ops: faultdisk.OpOpen, Err: io})
	err = s.ReadAt(d, 1, p, 0)
	require.ErrorIs(t, err, ErrAbsent)
	require.ErrorIs(t, err, io)
	remove()
	remove = disks[1].Add(faultdisk.Rule{Ops: faultdisk.OpOpen, Err: disk.ErrBusy})
	err = s.ReadAt(d, 1, p, 0)
	require.ErrorIs(t, err, disk.ErrBusy)
	require.NotErrorIs(t, err, ErrAbsent)
	remove()
	require.NoError(t, s.ReadAt(d, 1, p, 0))
	remove = disks[1].Add(faultdisk.Rule{Ops: faultdisk.OpRead, Err: io})
	err = s.ReadAt(d, 1, p, 0)
	require.ErrorIs(t, err, io)
	require.NotErrorIs(t, err, ErrAbsent, "the file is there")
	remove()
}

// A disk that comes back under its id is read anew.
func TestAddAgain(t *testing.T) {
	s, disks, d := testSet(t, 0)
	require.NoError(t, fillShard(t, s, d, 0).Close())
	im := disks[0].Unwrap().(*memdisk.Disk).Image()
	s.Drop(d.Disks[0], nil)
	back := memdisk.NewMachine().NewDiskFrom("back", im)
	require.NoError(t, back.Corrupt(FileName(d.ID, 0), 0, 0xFF))
	s.Add(d.Disks[0], back)
	_, live := s.Disk(d.Disks[0])
	require.True(t, live)
	p := make([]byte, 1)
	require.NoError(t, s.ReadAt(d, 0, p, 0))
	require.Equal(t, byte(1^0xFF), p[0])
}

// open counts what is open on all disks, and the most it ever was.
type openCounter struct {
	mu        sync.Mutex
	now, most int
}

func (c *openCounter) add(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now += n
	c.most = max(c.most, c.now)
}

type countedDisk struct {
	disk.Disk
	c *openCounter
}

type countedFile struct {
	disk.File
	c    *openCounter
	once sync.Once
	mu   sync.RWMutex // held while reading: Close under a reader is seen
	shut bool
}

func (d *countedDisk) Open(name string) (disk.File, error) { return d.count(d.Disk.Open(name)) }
func (d *countedDisk) Create(name string, size int64) (disk.File, error) {
	return d.count(d.Disk.Create(name, size))
}

func (d *countedDisk) count(f disk.File, err error) (disk.File, error) {
	if err != nil {
		return nil, err
	}
	d.c.add(1)
	return &countedFile{File: f, c: d.c}, nil
}

func (f *countedFile) ReadAt(p []byte, off int64) (int, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.shut {
		return 0, errors.New("closed under a reader")
	}
	return f.File.ReadAt(p, off)
}

func (f *countedFile) Close() error {
	if !f.mu.TryLock() {
		return errors.New("closed under a reader")
	}
	defer f.mu.Unlock()
	f.shut = true
	f.once.Do(func() { f.c.add(-1) })
	return f.File.Close()
}

func TestOpenFilesAreBounded(t *testing.T) {
	const maxOpen, segments, readers = 10, 40, 8
	c := &openCounter{}
	s := NewSet(testPool, maxOpen)
	s.Add(disk.ID{1}, &countedDisk{memdisk.New("mem"), c})
	descs := make([]*Descriptor, segments)
	for i := range descs {
		descs[i] = &Descriptor{ID: testID(uint64(i + 1)), Kind: KindPayload, Geometry: erasure.Geometry{Data: 1}, Disks: []disk.ID{{1}}}
		f, err := s.Create(descs[i], 0, 4096)
		require.NoError(t, err)
		_, err = f.WriteAt([]byte{byte(i)}, 100)
		require.NoError(t, err)
		if i > 0 {
			require.NoError(t, f.Close())
			require.NoError(t, f.Close())
			continue
		}
		defer func() { // the first is written to the end
			_, err := f.WriteAt([]byte{0}, 100)
			require.NoError(t, err)
			require.NoError(t, f.Close())
			require.NoError(t, s.Close())
			require.Zero(t, c.now)
		}()
	}
	require.LessOrEqual(t, c.now, maxOpen)
	var wg sync.WaitGroup
	for g := range readers {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 0))
			p := make([]byte, 1)
			for range 2000 {
				i := r.IntN(segments)
				if err := s.ReadAt(descs[i], 0, p, 100); err != nil || p[0] != byte(i) {
					t.Errorf("segment %d: %v %v", i, p, err)
					return
				}
				if r.IntN(100) == 0 {
					s.Forget(descs[1+r.IntN(segments-1)].ID)
				}
			}
		})
	}
	wg.Wait()
	require.LessOrEqual(t, c.now, maxOpen)
	require.LessOrEqual(t, c.most, maxOpen+2*readers, "files in use come on top")
}

// The file that was used last stays.
func TestLeastRecentlyUsedGoes(t *testing.T) {
	c := &openCounter{}
	fd := faultdisk.Wrap(&countedDisk{memdisk.New("mem"), c})
	s := NewSet(testPool, 3)
	defer s.Close()
	s.Add(disk.ID{1}, fd)
	var descs []*Descriptor
	p := make([]byte, 1)
	for i := range 6 {
		d := &Descriptor{ID: testID(uint64(i + 1)), Kind: KindLog, Geometry: erasure.Geometry{Data: 1}, Disks: []disk.ID{{1}}}
		descs = append(descs, d)
		f, err := s.Create(d, 0, 4096)
		require.NoError(t, err)
		require.NoError(t, f.Close())
		require.NoError(t, s.ReadAt(descs[0], 0, p, 0))
	}
	require.Zero(t, fd.Counts().Opens, "segment 0 was always in use")
	require.NoError(t, s.ReadAt(descs[1], 0, p, 0))
	require.EqualValues(t, 1, fd.Counts().Opens)
}

func TestSetClose(t *testing.T) {
	s, disks, d := testSet(t, 0)
	f := fillShard(t, s, d, 0)
	// A reader is inside while the set is closed.
	inside, let := make(chan struct{}), make(chan struct{})
	disks[0].Add(faultdisk.Rule{Ops: faultdisk.OpRead, Nth: 1, Block: let, Hook: func(faultdisk.Call) { close(inside) }})
	done := make(chan error)
	go func() { done <- s.ReadAt(d, 0, make([]byte, 10), 0) }()
	<-inside
	require.NoError(t, s.Close())
	close(let)
	require.NoError(t, <-done)
	require.NoError(t, s.Close())
	require.ErrorIs(t, s.ReadAt(d, 0, make([]byte, 10), 0), disk.ErrClosed)
	require.ErrorIs(t, second(f.WriteAt([]byte{1}, 0)), disk.ErrClosed)
	d.ID.Counter++
	_, err := s.Create(d, 0, 0)
	require.ErrorIs(t, err, disk.ErrClosed)
}

// Many look for a file at once: it is opened once.
func TestOneOpen(t *testing.T) {
	s, disks, d := testSet(t, 0)
	require.NoError(t, fillShard(t, s, d, 0).Close())
	s.Forget(d.ID)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if err := s.ReadAt(d, 0, make([]byte, 10), 0); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 1, disks[0].Counts().Opens)
}

func TestKeys(t *testing.T) {
	s, _, d := testSet(t, 0)
	k := s.Key(d.ID, 3)
	require.Same(t, k, s.Key(d.ID, 3))
	require.Equal(t, erasure.NewKey(testPool, d.ID, 3).Tag(8, []byte("x")), k.Tag(8, []byte("x")))
	require.NotEqual(t, s.Key(d.ID, 2).Tag(8, []byte("x")), k.Tag(8, []byte("x")))
	for i := range 3 * numStripes * keysPerStripe {
		s.Key(testID(uint64(i)), 0)
	}
	n := 0
	for i := range s.stripes {
		n += len(s.stripes[i].keys)
	}
	require.LessOrEqual(t, n, numStripes*keysPerStripe)
}

func TestHotReadDoesNotAllocate(t *testing.T) {
	s, _, d := testSet(t, 0)
	require.NoError(t, fillShard(t, s, d, 4).Close())
	p := make([]byte, 4096)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if err := s.ReadAt(d, 4, p, 0); err != nil {
			t.Fatal(err)
		}
		s.Key(d.ID, 4)
	}))
}

func BenchmarkSetReadAt(b *testing.B) {
	s := NewSet(testPool, 0)
	defer s.Close()
	d := testDescriptor(erasure.Geometry{Data: 1})
	s.Add(d.Disks[0], memdisk.New("mem"))
	f, err := s.Create(d, 0, 8192)
	require.NoError(b, err)
	defer f.Close()
	b.ReportAllocs()
	b.SetBytes(4096)
	b.RunParallel(func(pb *testing.PB) {
		p := make([]byte, 4096)
		for pb.Next() {
			if err := s.ReadAt(d, 0, p, 0); err != nil {
				b.Error(err)
			}
		}
	})
}
