package log

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/disk/memdisk"
	"github.com/cairnstore/cairn/erasure"
)

// nowhere is a disk whose shard files take writes and syncs and do nothing.
type nowhere struct{ disk.Disk }

type nowhereFile struct{ disk.File }

func (d nowhere) Create(name string, size int64) (disk.File, error) {
	if !strings.HasPrefix(name, "s-") {
		return d.Disk.Create(name, size) // a label
	}
	f, err := d.Disk.Create(name, 0)
	return nowhereFile{f}, err
}
func (f nowhereFile) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }
func (f nowhereFile) Extend(int64) error                     { return nil }
func (f nowhereFile) Reserve(int64) error                    { return nil }
func (f nowhereFile) Sync() error                            { return nil }

// BenchmarkAppendNowhere is what Append costs without disks.
func BenchmarkAppendNowhere(b *testing.B) {
	for _, bc := range []struct{ size, count int }{{4 << 10, 1}, {4 << 10, 8}, {4 << 10, 64}, {64 << 10, 1}, {64 << 10, 8}, {64 << 10, 64}} {
		b.Run(fmt.Sprintf("size=%d/count=%d", bc.size, bc.count), func(b *testing.B) {
			machine := memdisk.NewMachine()
			var disks []disk.Disk
			for i := range 6 {
				disks = append(disks, nowhere{machine.NewDisk(fmt.Sprint("d", i))})
			}
			l, err := Gather(b.Context(), Config{Disks: disks, Geometry: erasure.Geometry{Data: 4, Parity: 2}, SegmentSize: 1 << 50})
			require.NoError(b, err)
			_, err = show(l)
			require.NoError(b, err)
			defer l.Close()
			payload := make([][]byte, bc.count)
			for i := range payload {
				payload[i] = pattern(1, i*bc.size, bc.size)
			}
			records := make([]byte, 180*bc.count)
			b.SetBytes(int64(bc.size * bc.count))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := l.Append(records, uint64(bc.count), payload); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
