//go:build !race

package engine

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/meta"
)

const raceEnabled = false

// perRun returns allocations and bytes for each run of fn in steady state.
func perRun(fn func()) (allocs, size float64) {
	const n = 1000
	for range 10 {
		fn()
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range n {
		fn()
	}
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs-before.Mallocs) / n, float64(after.TotalAlloc-before.TotalAlloc) / n
}

// TestAllocs bounds what the calls that are made most often allocate, on
// Pebble; of a put about a fifth is the disk's. Pools drop at random under the race detector: this is for other
// builds.
func TestAllocs(t *testing.T) {
	r := newRig(t, 4, 2).defaults()
	r.opts.plainIndex = false
	e := r.open()
	b := bucketOf(t, e, "bucket")
	ctx := t.Context()
	p, buf := content(1, 4<<10), make([]byte, 4<<10)
	opts := &PutOptions{Headers: Headers{ContentType: "text/plain"}, Metadata: map[string]string{"owner": "ann"}}
	for key, opts := range map[string]*PutOptions{"plain": nil, "described": opts} {
		_, err := b.PutBytes(ctx, key, p, opts)
		require.NoError(t, err)
	}
	check := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	get := func(key string) func() {
		return func() {
			o, err := b.Get(ctx, key, nil)
			check(err)
			_, err = o.Read(buf)
			check(err)
			check(o.Close())
		}
	}
	for _, c := range []struct {
		name string
		most float64
		fn   func()
	}{
		{"get of 4 KiB", 4, get("plain")},
		{"get of 4 KiB with metadata", 9, get("described")},
		{"head", 3, func() {
			_, err := b.Head(ctx, "plain", nil)
			check(err)
		}},
		{"look-up alone", 2, func() {
			_, err := meta.HeadOf(e.index, 1, "plain", nil)
			check(err)
		}},
		{"put of 4 KiB", 80, func() {
			_, err := b.PutBytes(ctx, "again", p, nil)
			check(err)
		}},
	} {
		allocs, size := perRun(c.fn)
		t.Logf("%s: %.1f allocations, %.0f bytes", c.name, allocs, size)
		require.Less(t, allocs, c.most+0.5, c.name) // collections empty the pools
	}
}
