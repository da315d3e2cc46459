package bench

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/zeebo/blake3"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/disk/filedisk"
	"github.com/cairnstore/cairn/erasure"
)

// rawWrites measures rounds of shards files, of all that were zero-filled, being
// written with size bytes each and fdatasynced, all at once.
func rawWrites(b *testing.B, dirs []string, rounds int, shards int, size int64) time.Duration {
	size = max((size+4095)&^4095, 4096)
	var disks []disk.Disk
	var files []disk.File
	for range dirs {
		dir, err := os.MkdirTemp(filepath.Dir(dirs[0]), "raw")
		require.NoError(b, err)
		d, err := filedisk.Open(dir, nil)
		require.NoError(b, err)
		f, err := d.Create("raw", min(size*int64(rounds), 256<<20))
		require.NoError(b, err)
		disks, files = append(disks, d), append(files, f)
	}
	defer func() {
		for i, d := range disks {
			_ = files[i].Close()
			_ = d.Remove("raw")
			_ = d.Close()
		}
	}()
	p := make([]byte, size)
	_, _ = rand.Read(p)
	errs := make([]error, len(files))
	begin := time.Now()
	for r := range rounds {
		at := int64(r) * size % max((256<<20)/size*size, size)
		var wg sync.WaitGroup
		for i := range shards {
			n := (r*shards + i) % len(files)
			wg.Go(func() {
				if _, err := files[n].WriteAt(p, at); err != nil {
					errs[n] = err
					return
				}
				if err := files[n].Sync(); err != nil {
					errs[n] = err
				}
			})
		}
		wg.Wait()
	}
	took := time.Since(begin)
	for _, err := range errs {
		require.NoError(b, err)
	}
	return took
}

// BenchmarkCompute is what a put must compute: content hash, parity, and the
// tags of all shards, one after another on one core.
func BenchmarkCompute(b *testing.B) {
	for _, s := range sizes {
		b.Run("size="+s.name, func(b *testing.B) {
			b.SetBytes(int64(s.bytes))
			columns := min(max(s.bytes>>16, 1), data)
			codec, err := erasure.NewCodec(erasure.Geometry{Data: columns, Parity: parity})
			require.NoError(b, err)
			frame := min(s.bytes/columns, erasure.FrameData)
			blocks := make([][]byte, columns+parity)
			for i := range blocks {
				blocks[i] = payload(frame)
			}
			key := erasure.NewKey(erasure.PoolID{1}, erasure.SegmentID{Epoch: 1, Counter: 1}, 0)
			content := payload(s.bytes)
			for b.Loop() {
				_ = blake3.Sum256(content)
				for done := 0; done < s.bytes; done += frame * columns {
					if err := codec.Encode(blocks[:columns], blocks[columns:]); err != nil {
						b.Fatal(err)
					}
					for _, p := range blocks {
						_ = key.Tag(0, p)
					}
				}
			}
		})
	}
}
