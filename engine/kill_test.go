package engine

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/disk/filedisk"
	"github.com/cairnstore/cairn/erasure"
)

var (
	victimDir  = flag.String("victim", "", "directory in which to write until killed; for TestCrashKill's own use")
	victimSeed = flag.Uint64("victim-seed", 0, "its seed")
)

// dirOptions returns the options of a store in real directories under dir.
func dirOptions(t testing.TB, dir string, k, m int, absent ...int) *Options {
	o := &Options{
		IndexDir: filepath.Join(dir, "index"), Geometry: erasure.Geometry{Data: k, Parity: m}, LogSegmentSize: 256 << 10, LogAhead: 64 << 10,
		PayloadSegmentSize: 1 << 20, PayloadAhead: 128 << 10, CheckInterval: time.Hour,
	}
	gone := map[int]bool{}
	for _, i := range absent {
		gone[i] = true
	}
	for i := range k + m {
		if gone[i] {
			continue
		}
		path := diskDir(dir, i)
		require.NoError(t, os.MkdirAll(path, 0o777))
		d, err := filedisk.Open(path, nil)
		require.NoError(t, err)
		o.Disks = append(o.Disks, d)
	}
	return o
}

func diskDir(dir string, i int) string { return filepath.Join(dir, fmt.Sprintf("disk%d", i)) }

// The victim's writers have their own keys. Each says on standard output what it
// is about to do, and says it again once it is done.
const (
	victimWriters = 4
	victimKeys    = 8
	victimBucket  = "victims"
)

// victim is one mutation: a put of what seed and size say, or a deletion.
type victim struct {
	writer, key int
	seed        uint64
	size        int // -1: deletion
}

func (v victim) name() string { return fmt.Sprintf("w%d/%d", v.writer, v.key) }

func (v victim) String() string { return fmt.Sprintf("%d %d %d %d", v.writer, v.key, v.seed, v.size) }

func nextVictim(r *rand.Rand, writer int) victim {
	v := victim{writer: writer, key: r.IntN(victimKeys), seed: r.Uint64(), size: r.IntN(8 << 10)}
	switch r.IntN(8) {
	case 0:
		v.size = -1
	case 1:
		v.size = 70<<10 + r.IntN(300<<10)
	}
	return v
}

// TestCrashVictim is the process that TestCrashKill kills; else it does nothing.
func TestCrashVictim(t *testing.T) {
	if *victimDir == "" {
		return
	}
	ctx := context.Background()
	e, err := Open(ctx, dirOptions(t, *victimDir, 4, 2))
	require.NoError(t, err)
	if err := e.CreateBucket(ctx, victimBucket); !errors.Is(err, ErrBucketExists) {
		require.NoError(t, err)
	}
	b := e.Bucket(victimBucket)
	say := func(word string, v victim) {
		_, err := fmt.Fprintf(os.Stdout, "%s %v\n", word, v) // one write, not buffered
		require.NoError(t, err)
	}
	var wg sync.WaitGroup
	for writer := range victimWriters {
		r := rand.New(rand.NewPCG(*victimSeed, uint64(writer)))
		wg.Go(func() {
			for {
				v := nextVictim(r, writer)
				say("begin", v)
				if v.size < 0 {
					_, err = b.Delete(ctx, v.name(), nil)
				} else {
					_, err = b.PutBytes(ctx, v.name(), content(v.seed, v.size), nil)
				}
				if err != nil {
					_, _ = fmt.Fprintf(os.Stderr, "%v: %v\n", v, err) // the parent hears of it
					os.Exit(3)
				}
				say("done", v)
			}
		})
	}
	wg.Wait()
}

// TestCrashKill kills a process with kill -9 while it writes to six directories,
// again and again: all that it had said to be done is there.
func TestCrashKill(t *testing.T) {
	kills := 30
	if *long {
		kills = 200
	}
	dir := t.TempDir()
	seed := uint64(1)
	r := rand.New(rand.NewPCG(seed, 3))
	done, begun := map[string]victim{}, map[string]victim{}
	total := 0
	for kill := range kills {
		total += killOnce(t, r, dir, uint64(kill), done, begun)
		var absent []int
		if r.IntN(3) == 0 {
			absent = r.Perm(6)[:r.IntN(3)]
		}
		if r.IntN(6) == 0 {
			require.NoError(t, os.RemoveAll(filepath.Join(dir, "index")))
		}
		e, err := Open(context.Background(), dirOptions(t, dir, 4, 2, absent...))
		require.NoError(t, err, "kill %d", kill)
		checkVictims(t, e, done, begun)
		require.NoError(t, e.Close())
		if len(absent) > 0 {
			// All of them are back before the next kill.
			e, err = Open(context.Background(), dirOptions(t, dir, 4, 2))
			require.NoError(t, err)
			require.False(t, e.Status().ReadOnly)
			checkVictims(t, e, done, begun)
			require.NoError(t, e.Close())
		}
	}
	t.Logf("%d kills, %d mutations acknowledged", kills, total)
	require.Greater(t, total, kills, "the victims got nothing done")
}

// victimCommand returns the command of a victim that writes under dir.
func victimCommand(ctx context.Context, dir string, seed uint64) *exec.Cmd {
	return exec.CommandContext(ctx, os.Args[0], "-test.run=^TestCrashVictim$", "-victim="+dir, fmt.Sprint("-victim-seed=", seed))
}

// killOnce runs a victim for a while and kills it. It returns how many mutations
// were done.
func killOnce(t *testing.T, r *rand.Rand, dir string, seed uint64, done, begun map[string]victim) int {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := victimCommand(ctx, dir, seed)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	var said bytes.Buffer
	cmd.Stderr = &said
	require.NoError(t, cmd.Start())
	// Killed after so many lines and some microseconds more: at a random moment
	// of its work, however slow the machine.
	left := r.IntN(120)
	late := time.Duration(r.IntN(2000)) * time.Microsecond
	if r.IntN(5) == 0 {
		// Or while it opens.
		time.AfterFunc(time.Duration(r.IntN(100_000))*time.Microsecond, func() { _ = cmd.Process.Kill() })
	}
	n := 0
	for lines := bufio.NewScanner(out); lines.Scan(); left-- {
		if left == 0 {
			time.AfterFunc(late, func() { _ = cmd.Process.Kill() })
		}
		var word string
		var v victim
		if _, err := fmt.Sscan(lines.Text(), &word, &v.writer, &v.key, &v.seed, &v.size); err != nil {
			continue // a line cut short by the kill
		}
		if word == "done" {
			done[v.name()] = v
			delete(begun, v.name())
			n++
		} else {
			begun[v.name()] = v
		}
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	require.False(t, exit.Exited(), "not killed: %v: %s", err, said.String())
	return n
}

// checkVictims compares the store with what was said: the last mutation done,
// or a later one begun, which is then settled.
func checkVictims(t *testing.T, e *Engine, done, begun map[string]victim) {
	b := e.Bucket(victimBucket)
	listed := 0
	for _, err := range b.List(context.Background(), nil) {
		require.NoError(t, err)
		listed++
	}
	for writer := range victimWriters {
		for key := range victimKeys {
			name := victim{writer: writer, key: key}.name()
			d, ok := done[name]
			if !ok {
				d.size = -1
			}
			got, err := read(b, name)
			if errors.Is(err, ErrNoBucket) {
				require.Empty(t, done)
				continue
			}
			if err == nil {
				listed--
			} else {
				require.ErrorIs(t, err, ErrNotFound, name)
			}
			if d.is(got, err) {
				continue
			}
			next, inFlight := begun[name]
			require.True(t, inFlight && next.is(got, err), "%s: %d bytes, %v; done was %+v, begun %+v", name, len(got), err, d, next)
			done[name] = next
		}
	}
	require.Zero(t, listed, "listed and read are not the same keys")
	if !e.Status().ReadOnly {
		clear(begun)
	}
}

// is reports whether got, or the lack of it, is what v left.
func (v victim) is(got []byte, err error) bool {
	if err != nil {
		return v.size < 0
	}
	return len(got) == v.size && string(got) == string(content(v.seed, v.size))
}
