package engine

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/disk/filedisk"
)

var (
	edgeDir  = flag.String("edge", "", "directory of an edge store; for TestEdgeMemory's own use")
	edgeHeap = flag.String("edge-heap", "", "file for the heap profile of the idle edge store")
)

// edgeIdle is what EdgeOptions promise of an idle process, in KiB.
const edgeIdle = 48 << 10

// TestEdgeProcess is the process that TestEdgeMemory measures; else it does
// nothing. It says on standard output what it has come to.
func TestEdgeProcess(t *testing.T) {
	if *edgeDir == "" {
		return
	}
	ctx := context.Background()
	o := EdgeOptions()
	o.IndexDir = filepath.Join(*edgeDir, "index")
	for i := range 4 {
		path := diskDir(*edgeDir, i)
		require.NoError(t, os.MkdirAll(path, 0o777))
		d, err := filedisk.Open(path, nil)
		require.NoError(t, err)
		o.Disks = append(o.Disks, d)
	}
	e, err := Open(ctx, &o)
	require.NoError(t, err)
	say := func(what string) {
		fmt.Printf("edge: %d KiB resident, %d at most, %s\n", residentKiB(t, "VmRSS"), residentKiB(t, "VmHWM"), what)
	}
	say("after the open")
	b := bucketOf(t, e, "bucket")
	const small, large = 2000, 64 << 20
	p := content(1, 4<<10)
	pending := make([]*Pending, small)
	for i := range pending {
		pending[i], err = b.PutAsync(ctx, fmt.Sprintf("small/%04d", i), p, nil)
		require.NoError(t, err)
	}
	for _, p := range pending {
		_, err := p.Wait(ctx)
		require.NoError(t, err)
	}
	say("after the small objects")
	info, err := b.Put(ctx, "large", io.LimitReader(&endless{}, large), nil)
	require.NoError(t, err)
	require.EqualValues(t, large, info.Size)
	say("after the large one")
	n := 0
	for object, err := range b.GetMany(ctx, func(yield func(string) bool) {
		for i := range small {
			if !yield(fmt.Sprintf("small/%04d", i)) {
				return
			}
		}
	}, nil) {
		require.NoError(t, err)
		got, err := io.ReadAll(object)
		require.NoError(t, err)
		require.True(t, bytes.Equal(p, got))
		n++
	}
	require.Equal(t, small, n)
	object, err := b.Get(ctx, "large", nil)
	require.NoError(t, err)
	written, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, bounded{object}, make([]byte, 32<<10))
	require.NoError(t, err)
	require.EqualValues(t, large, written)
	require.NoError(t, object.Close())
	say("after reading all back")

	// From here on it is idle. By itself the runtime collects every two minutes,
	// pools are empty after the second time, and what is free goes back in the
	// minutes after that; here it is done at once, unless there is time.
	if !*long {
		runtime.GC()
		debug.FreeOSMemory()
	}
	begun := time.Now()
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for residentKiB(t, "VmRSS") >= edgeIdle && *long && time.Since(begun) < 8*time.Minute {
		<-tick.C
	}
	say(fmt.Sprintf("idle for %v", time.Since(begun).Round(time.Second)))
	if *edgeHeap != "" {
		runtime.GC() // for the profile to be of what is live
		f, err := os.Create(*edgeHeap)
		require.NoError(t, err)
		require.NoError(t, pprof.Lookup("heap").WriteTo(f, 0))
		require.NoError(t, f.Close())
	}
	require.NoError(t, e.Close())
}

// residentKiB reads a line of /proc/self/status.
func residentKiB(t *testing.T, line string) (n int) {
	status, err := os.ReadFile("/proc/self/status")
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(status), line+":")
	require.True(t, found)
	_, err = fmt.Sscan(rest, &n)
	require.NoError(t, err)
	return n
}

// TestEdgeMemory has a process of its own use an edge store, with large objects
// too, and come to rest: it is then resident with less than 48 MiB. (Not under
// the race detector, whose shadow memory counts.)
func TestEdgeMemory(t *testing.T) {
	if raceEnabled {
		t.Log("not measured under the race detector")
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestEdgeProcess$", "-edge="+t.TempDir(), "-edge-heap="+*edgeHeap, fmt.Sprint("-long=", *long))
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	resident := 0
	for line := range strings.Lines(string(out)) {
		if _, err := fmt.Sscanf(line, "edge: %d KiB", &resident); err == nil {
			t.Log(strings.TrimSpace(line))
		}
	}
	require.Positive(t, resident, "%s", out)
	require.Less(t, resident, edgeIdle, "KiB when idle")
}
