package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/disk/filedisk"
	"github.com/cairnstore/cairn/engine"
	"github.com/cairnstore/cairn/erasure"
)

const (
	data   = 4
	parity = 2
)

// store is an engine on six directories, with its index beside them.
type store struct {
	dirs []string
	e    *engine.Engine
	b    *engine.Bucket
}

func newStore(b *testing.B) *store {
	root := b.TempDir()
	s := &store{}
	var disks []disk.Disk
	for i := range data + parity {
		dir := filepath.Join(root, fmt.Sprintf("disk%d", i))
		require.NoError(b, os.Mkdir(dir, 0o777))
		d, err := filedisk.Open(dir, nil)
		require.NoError(b, err)
		disks, s.dirs = append(disks, d), append(s.dirs, dir)
	}
	var err error
	s.e, err = engine.Open(context.Background(), &engine.Options{
		Disks: disks, IndexDir: filepath.Join(root, "index"), Geometry: erasure.Geometry{Data: data, Parity: parity},
	})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, s.e.Close()) })
	require.NoError(b, s.e.CreateBucket(context.Background(), "bucket"))
	s.b = s.e.Bucket("bucket")
	return s
}

// payload returns n bytes that do not compress.
func payload(n int) []byte {
	p := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(p) // never fails
	return p
}

// spread runs fn for 0 to n-1 in so many goroutines.
func spread(b *testing.B, goroutines, n int, fn func(i int) error) {
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, goroutines)
	for g := range goroutines {
		wg.Go(func() {
			for errs[g] == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				errs[g] = fn(i)
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		require.NoError(b, err)
	}
}

// sizes are those of the objects, by name.
var sizes = []struct {
	name  string
	bytes int
}{{"4KiB", 4 << 10}, {"64KiB", 64 << 10}, {"1MiB", 1 << 20}, {"16MiB", 16 << 20}}

var goroutines = []int{1, 8, 64}

// each runs fn for every size and number of goroutines. Large objects from many
// goroutines say nothing new and take long.
func each(b *testing.B, fn func(b *testing.B, size, goroutines int)) {
	for _, s := range sizes {
		for _, g := range goroutines {
			if s.bytes >= 16<<20 && g > 8 {
				continue
			}
			b.Run(fmt.Sprintf("size=%s/goroutines=%d", s.name, g), func(b *testing.B) {
				b.SetBytes(int64(s.bytes))
				b.ReportAllocs()
				fn(b, s.bytes, g)
			})
		}
	}
}
