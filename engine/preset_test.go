package engine

import (
	"bytes"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/disk/memdisk"
	"github.com/cairnstore/cairn/erasure"
)

// presetStore opens a store with the preset on n memory disks.
func presetStore(t *testing.T, o Options, n int) *Engine {
	machine := memdisk.NewMachine()
	for i := range n {
		o.Disks = append(o.Disks, disk.Disk(machine.NewDisk(fmt.Sprint("d", i))))
	}
	o.IndexDir = filepath.Join(t.TempDir(), "index")
	e, err := Open(t.Context(), &o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close()) })
	return e
}

// TestPresets opens each preset on the numbers of disks that it is for.
func TestPresets(t *testing.T) {
	for _, c := range []struct {
		name     string
		o        Options
		disks    int
		geometry string
		survives int
	}{
		{"edge", EdgeOptions(), 1, "1+0", 0}, {"edge", EdgeOptions(), 2, "1+1", 1}, {"edge", EdgeOptions(), 3, "2+1", 1}, {"edge", EdgeOptions(), 4, "2+2", 2},
		{"default", Options{}, 6, "4+2", 2}, {"appliance", ApplianceOptions(), 12, "8+3", 3},
	} {
		t.Run(fmt.Sprintf("%s on %d", c.name, c.disks), func(t *testing.T) {
			e := presetStore(t, c.o, c.disks)
			require.Equal(t, c.geometry, e.Status().FullGeometry)
			b := bucketOf(t, e, "bucket")
			sizes := []int{0, 1, 4 << 10, PackMax, PackMax + 1, 3 << 20}
			for _, size := range sizes {
				info, err := b.PutBytes(t.Context(), fmt.Sprint("size/", size), content(uint64(size), size), nil)
				require.NoError(t, err)
				require.Equal(t, c.survives, info.Survives)
			}
			for range 100 {
				_, err := b.PutAsync(t.Context(), "again", []byte("x"), nil)
				require.NoError(t, err)
			}
			require.ElementsMatch(t, []string{"size/0", "size/1", "size/4096", "size/65536", "size/65537", "size/3145728"}, listedKeys(t, b, "size/"))
			for _, size := range sizes {
				got, err := read(b, fmt.Sprint("size/", size))
				require.NoError(t, err)
				require.True(t, bytes.Equal(content(uint64(size), size), got))
			}
			_, err := b.DeletePrefix(t.Context(), "size/")
			require.NoError(t, err)
			require.Empty(t, listedKeys(t, b, "size/"))
		})
	}
}

func listedKeys(t *testing.T, b *Bucket, prefix string) (keys []string) {
	for o, err := range b.List(t.Context(), &ListOptions{Prefix: prefix}) {
		require.NoError(t, err)
		keys = append(keys, o.Key)
	}
	return keys
}

// optionLimits are the numbers among the options, each with the least that is
// allowed.
var optionLimits = []struct {
	name  string
	least int64
	most  int64
	set   func(o *Options, v int64)
}{
	{"MaxObjectSize", 1, 1 << 60, func(o *Options, v int64) { o.MaxObjectSize = v }},
	{"MaxQueue", 1, 1 << 20, func(o *Options, v int64) { o.MaxQueue = int(v) }},
	{"GroupRecords", 2, 1 << 20, func(o *Options, v int64) { o.GroupRecords = int(v) }},
	{"GroupBytes", PackMax, 16 << 20, func(o *Options, v int64) { o.GroupBytes = v }},
	{"MaxOpenFiles", 16, 1 << 20, func(o *Options, v int64) { o.MaxOpenFiles = int(v) }},
	{"MaxWindows", 1, 1 << 16, func(o *Options, v int64) { o.MaxWindows = int(v) }},
	{"MaxSegments", 1, 1 << 16, func(o *Options, v int64) { o.MaxSegments = int(v) }},
	{"ReadAhead", 64 << 10, 256 << 20, func(o *Options, v int64) { o.ReadAhead = v }},
	{"CacheBytes", 1 << 20, 1 << 40, func(o *Options, v int64) { o.CacheBytes = v }},
	{"MemTableBytes", 256 << 10, 1 << 30, func(o *Options, v int64) { o.MemTableBytes = v }},
	{"MaxTransactionKeys", 1, math.MaxInt64, func(o *Options, v int64) { o.MaxTransactionKeys = v }},
	{"LogSegmentSize", 64 << 10, 1 << 40, func(o *Options, v int64) { o.LogSegmentSize = v }},
	{"PayloadSegmentSize", 1 << 20, 1 << 40, func(o *Options, v int64) { o.PayloadSegmentSize = v }},
	{"LogAhead", 4 << 10, 1 << 30, func(o *Options, v int64) { o.LogAhead = v }},
	{"PayloadAhead", 64 << 10, 1 << 30, func(o *Options, v int64) { o.PayloadAhead = v }},
	{"CheckInterval", int64(time.Millisecond), math.MaxInt64, func(o *Options, v int64) { o.CheckInterval = time.Duration(v) }},
}

// TestOptionLimits gives each limit values that are too small, odd, as small and
// as large as allowed, and too large: the store works, or Open names the field.
func TestOptionLimits(t *testing.T) {
	for _, l := range optionLimits {
		for _, v := range []int64{math.MinInt64, -1, l.least - 1, l.most + 1, math.MaxInt64} {
			if v == 0 || v >= l.least && v <= l.most {
				continue
			}
			r := newRig(t, 2, 1)
			l.set(&r.opts, v)
			_, err := r.tryOpen(t.Context())
			require.ErrorIs(t, err, ErrOptions)
			require.ErrorContains(t, err, fmt.Sprintf("%s is %d", l.name, v))
		}
		for _, v := range []int64{l.least, l.least + 1, 10*l.least + 4097, l.most} {
			t.Run(fmt.Sprintf("%s=%d", l.name, v), func(t *testing.T) {
				r := newRig(t, 2, 1)
				r.opts.plainIndex = false
				l.set(&r.opts, v)
				e := r.open()
				b := bucketOf(t, e, "bucket")
				for _, size := range []int{0, 1, 70_000, 200_000} {
					p := content(1, size)
					_, err := b.PutBytes(t.Context(), "key", p, nil)
					if l.name == "MaxObjectSize" && int64(size) > v {
						require.ErrorIs(t, err, ErrTooLarge)
						continue
					}
					require.NoError(t, err)
					got, err := read(b, "key")
					require.NoError(t, err)
					require.True(t, bytes.Equal(p, got))
				}
				manyKeys(t, b, 30, func(i int) string { return strings.Repeat("k", i+1) })
				require.NotEmpty(t, keysOf(t, b))
				require.NoError(t, e.Close())
			})
		}
	}
}

// TestPresetsAreLegal: whatever is filled in passes as if it had been given.
func TestPresetsAreLegal(t *testing.T) {
	for name, o := range map[string]Options{"edge": EdgeOptions(), "appliance": ApplianceOptions(), "default": {}} {
		o.Disks = []disk.Disk{memdisk.New("d")}
		_, err := o.fill()
		require.NoError(t, err, name)
		o.Geometry = erasure.Geometry{Data: 1}
		_, err = o.fill()
		require.NoError(t, err, name)
	}
}
