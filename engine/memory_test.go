package engine

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/zeebo/blake3"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/disk/filedisk"
	"github.com/cairnstore/cairn/erasure"
)

// heapWatch samples the live heap, at intervals and after a collection.
type heapWatch struct {
	base, most uint64
	stop, done chan struct{}
}

// watchHeap begins to watch the heap as it grows from now on.
func watchHeap() *heapWatch {
	runtime.GC()
	runtime.GC() // pools give back what they hold at the second
	w := &heapWatch{stop: make(chan struct{}), done: make(chan struct{})}
	w.base = heapLive()
	go func() {
		defer close(w.done)
		t := time.NewTicker(5 * time.Millisecond)
		defer t.Stop()
		for {
			select {
			case <-w.stop:
				return
			case <-t.C:
				w.most = max(w.most, heapLive())
			}
		}
	}()
	return w
}

func heapLive() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return max(m.HeapInuse, m.HeapAlloc)
}

// grown ends the watch and returns by how much the heap grew at the most.
func (w *heapWatch) grown() int64 {
	close(w.stop)
	<-w.done
	return int64(max(w.most, heapLive())) - int64(w.base)
}

// onFiles opens a 4+2 pool on directories.
func onFiles(t testing.TB) *Engine {
	t.Helper()
	dir := t.TempDir()
	o := Options{Geometry: erasure.Geometry{Data: 4, Parity: 2}, IndexDir: filepath.Join(dir, "index")}
	for i := range 6 {
		path := filepath.Join(dir, fmt.Sprintf("disk%d", i))
		require.NoError(t, os.Mkdir(path, 0o777))
		d, err := filedisk.Open(path, nil)
		require.NoError(t, err)
		o.Disks = append(o.Disks, disk.Disk(d))
	}
	e, err := Open(context.Background(), &o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close()) })
	return e
}

// streamInAndOut puts size bytes and reads them back by WriteTo and by Read.
func streamInAndOut(t *testing.T, size int64) {
	e := onFiles(t)
	b := bucketOf(t, e, "bucket")
	limit := int64(64 << 20)
	if raceEnabled {
		limit *= 2 // the race detector makes sync.Pool drop buffers at random
	}
	step := func(name string, fn func()) {
		w, start := watchHeap(), time.Now()
		fn()
		grown, took := w.grown(), time.Since(start)
		t.Logf("%s: %d MiB in %v, %.0f MB/s, heap grown by %d MiB", name, size>>20, took.Round(time.Millisecond), float64(size)/1e6/took.Seconds(), grown>>20)
		require.Less(t, grown, limit, name)
	}
	var info *ObjectInfo
	step("in", func() {
		var err error
		info, err = b.Put(t.Context(), "key", io.LimitReader(&tiled{}, size), nil)
		require.NoError(t, err)
	})
	require.Equal(t, size, info.Size)
	hash := blake3.New()
	step("out by WriteTo", func() {
		o := mustGet(t, b, "key", nil)
		n, err := o.WriteTo(hash)
		require.NoError(t, err)
		require.Equal(t, size, n)
	})
	require.Equal(t, info.Hash[:], hash.Sum(nil))
	step("a quarter of it out by Read", func() {
		o, err := b.Get(t.Context(), "key", &GetOptions{Offset: size / 4, Length: size / 4})
		require.NoError(t, err)
		n, err := io.Copy(io.Discard, bounded{o})
		require.NoError(t, err)
		require.Equal(t, size/4, n)
		require.NoError(t, o.Close())
	})
}

// tiled yields 1 MiB of noise again and again, each time with its number.
type tiled struct {
	tile []byte
	at   int
	n    uint64
}

func (r *tiled) Read(p []byte) (int, error) {
	if r.at == len(r.tile) {
		if r.tile == nil {
			r.tile = content(1, 1<<20)
		}
		r.at = 0
		r.n++
		for i := range 8 {
			r.tile[i] = byte(r.n >> (8 * i))
		}
	}
	n := copy(p, r.tile[r.at:])
	r.at += n
	return n, nil
}

func TestStreamMemory(t *testing.T) {
	size := int64(1 << 30)
	if raceEnabled {
		size = 128 << 20
	}
	streamInAndOut(t, size)
}

func TestBigStreamMemory(t *testing.T) {
	if !*long {
		t.Log("10 GiB with -long only")
		return
	}
	streamInAndOut(t, 10<<30)
}
