package log

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/disk/filedisk"
	"github.com/cairnstore/cairn/erasure"
)

// BenchmarkAppend appends groups of a 4+2 log to directories and, in turns of
// some rounds each, writes the same bytes raw: as many files, of zeros already
// on disk, each written once and fdatasynced, all at once. x-raw is how many
// times as long Append took; its time includes the zero-fill that it set off.
func BenchmarkAppend(b *testing.B) {
	for _, bc := range []struct{ size, count int }{{4 << 10, 1}, {4 << 10, 8}, {4 << 10, 64}, {64 << 10, 1}, {64 << 10, 8}, {64 << 10, 64}} {
		b.Run(fmt.Sprintf("size=%d/count=%d", bc.size, bc.count), func(b *testing.B) {
			benchAppend(b, bc.size, bc.count)
		})
	}
}

func benchAppend(b *testing.B, size, count int) {
	var disks []disk.Disk
	var raw rawFiles
	for range 6 {
		dir := filepath.Join(b.TempDir(), "d")
		require.NoError(b, filedisk.MakeDir(dir))
		d, err := filedisk.Open(dir, nil)
		require.NoError(b, err)
		defer d.Close()
		disks = append(disks, d)
		dir = filepath.Join(b.TempDir(), "raw")
		require.NoError(b, filedisk.MakeDir(dir))
		d, err = filedisk.Open(dir, nil)
		require.NoError(b, err)
		defer d.Close()
		raw.disks = append(raw.disks, d)
	}
	l, err := Gather(b.Context(), Config{Disks: disks, Geometry: erasure.Geometry{Data: 4, Parity: 2}})
	require.NoError(b, err)
	_, err = show(l)
	require.NoError(b, err)
	defer l.Close()

	rng := rand.NewChaCha8([32]byte{1})
	payload := make([][]byte, count)
	for i := range payload {
		payload[i] = make([]byte, size)
		_, _ = rng.Read(payload[i])
	}
	records := make([]byte, 180*count)
	var last *Group
	once := func() {
		if last, err = l.Append(records, uint64(count), payload); err != nil {
			b.Fatal(err)
		}
	}
	for range 8 {
		once()
	}
	l.background.Wait()
	parts := make([]int64, len(last.Blocks))
	for i := range parts {
		parts[i] = erasure.AlignUp(last.Blocks[i].Offset + last.Blocks[i].Length - last.Blocks[i].Part)
	}
	defer raw.close()
	raw.buf = erasure.GetBuffer(int(slices.Max(parts))).B
	_, _ = rng.Read(raw.buf)

	const turn = 32
	var appended, rawly time.Duration
	var mallocs uint64
	before := l.Metrics()
	var m0, m1 runtime.MemStats
	n := 0
	for b.Loop() {
		if n%turn == 0 {
			b.StopTimer()
			require.NoError(b, raw.room(turn))
			begin := time.Now()
			for range turn {
				require.NoError(b, raw.round(parts))
			}
			rawly += time.Since(begin)
			runtime.ReadMemStats(&m0)
			b.StartTimer()
		}
		begin := time.Now()
		once()
		n++
		if n%turn == 0 {
			l.background.Wait()
		}
		appended += time.Since(begin)
		if n%turn == 0 {
			b.StopTimer()
			runtime.ReadMemStats(&m1)
			mallocs += m1.Mallocs - m0.Mallocs
			b.StartTimer()
		}
	}
	turns := (n + turn - 1) / turn
	after := l.Metrics()
	b.SetBytes(int64(size * count))
	b.ReportMetric(float64(appended)/float64(n)/(float64(rawly)/float64(turns*turn)), "x-raw")
	b.ReportMetric(float64(rawly.Microseconds())/float64(turns*turn), "raw-us/op")
	b.ReportMetric(float64(after.Syncs-before.Syncs)/float64(n), "syncs/op")
	b.ReportMetric(float64(after.BytesWritten-before.BytesWritten)/float64(n), "written/op")
	b.ReportMetric(float64(after.Extensions-before.Extensions)/float64(n), "zero-fills/op")
	b.ReportMetric(float64(mallocs)/float64(n/turn*turn), "mallocs/op")
}

// rawSize is that of a shard file: each position is written once, as in a log.
const rawSize = 64 << 20

// rawFiles are files to write raw, one on each disk.
type rawFiles struct {
	disks []disk.Disk
	files []disk.File
	buf   []byte
	pos   int64
	first int
	made  int
}

// room makes new files, of zeros, unless n rounds fit in those there are.
func (r *rawFiles) room(n int) error {
	if len(r.files) > 0 && r.pos+int64(n*len(r.buf)) <= rawSize {
		return nil
	}
	r.close()
	r.pos, r.files = 0, nil
	r.made++
	for _, d := range r.disks {
		f, err := d.Create(fmt.Sprint("raw", r.made), rawSize)
		if err != nil {
			return err
		}
		r.files = append(r.files, f)
	}
	return nil
}

func (r *rawFiles) close() {
	for i, f := range r.files {
		_ = f.Close()
		_ = r.disks[i].Remove(fmt.Sprint("raw", r.made))
	}
}

// round writes parts to as many of the files, and syncs them.
func (r *rawFiles) round(parts []int64) error {
	errs := make([]error, len(parts))
	var wg sync.WaitGroup
	for i, n := range parts {
		f := r.files[(r.first+i)%len(r.files)]
		wg.Go(func() {
			if _, errs[i] = f.WriteAt(r.buf[:n], r.pos); errs[i] == nil {
				errs[i] = f.Sync()
			}
		})
	}
	wg.Wait()
	r.pos += int64(len(r.buf))
	r.first += len(parts)
	return errors.Join(errs...)
}
