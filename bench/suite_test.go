package bench

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestMain lets the test be the child of the suite that it runs.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "child" {
		if err := Child(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// All parts run, with hardly any work, and the report has all that was asked
// for. What the figures are is nobody's business here.
func TestSuite(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	place := t.TempDir()
	r, err := Run(context.Background(), Config{Places: []string{place}, Tiny: true, Rounds: 1, Profile: t.TempDir(), Self: []string{self, "child"}, Log: t.Logf})
	require.NoError(t, err)

	tiny := (&Config{Tiny: true}).scale()
	whole := func(size, goroutines int) bool { return int64(size)*int64(goroutines) <= tiny.large }
	require.Len(t, r.Puts, len(sizes)*len(goroutines))
	require.Len(t, r.Gets, len(sizes)*len(goroutines))
	for _, p := range r.Puts {
		require.Len(t, p.Rounds, 1, p.name())
		m := p.Rounds[0]
		require.Positive(t, m.Ops, p.name())
		require.Positive(t, m.Groups, p.name())
		require.GreaterOrEqual(t, m.Written, m.Bytes, p.name())
		if whole(p.Size, p.Goroutines) {
			require.EqualValues(t, m.Ops*int64(p.Size), m.Bytes, p.name())
		}
		require.Positive(t, m.limit(), p.name())
	}
	for _, g := range r.Gets {
		m := g.Rounds[0]
		require.Positive(t, m.Ops, g.name())
		if whole(g.Size, g.Goroutines) {
			require.EqualValues(t, m.Ops*int64(g.Size), m.Bytes, g.name())
		}
		require.Positive(t, m.Verify.Bytes, g.name())
		require.Positive(t, m.Read.Bytes, g.name())
	}
	require.Len(t, r.Async, 1)
	require.Len(t, r.Fair, 3)
	require.Len(t, r.Ops, 8)
	for _, o := range r.Ops {
		require.Positive(t, o.Rounds[0].Ops, o.Name)
	}
	require.Len(t, r.Opens, 3)
	require.EqualValues(t, 0, r.Opens[0].Rounds[0].Replayed, "a clean close leaves nothing to replay")
	require.Positive(t, r.Opens[1].Rounds[0].Replayed, "a kill does")
	require.Greater(t, r.Opens[2].Rounds[0].Replayed, int64(r.Opens[0].Objects), "a lost index means all of it")
	require.Len(t, r.Memory, len(presets))
	require.Len(t, r.Flat, 2)
	require.NotEmpty(t, r.Scaling)

	for _, g := range r.goals() {
		if g.Met == notRun && g.Seen == "" && !strings.Contains(g.Text, "edge") {
			t.Errorf("the run says nothing of the goal: %s", g.Text)
		}
	}
	var text strings.Builder
	_, err = r.WriteTo(&text)
	require.NoError(t, err)
	for _, want := range []string{"## Goals", "## Put", "## Get", "## PutAsync", "## Keys", "## Small puts", "## Open", "## Memory", "## Flatness", "## Cores", r.Machine.CPU, "fsync policy"} {
		require.Contains(t, text.String(), want)
	}
	require.NotContains(t, text.String(), "%!", "a format that does not fit")
	tables(t, text.String())
	for name, svg := range r.Charts() {
		require.Contains(t, text.String(), "("+name+")")
		wellFormed(t, svg)
	}
	left, err := os.ReadDir(place)
	require.NoError(t, err)
	require.Empty(t, left, "what the run made is removed")
}

// tables checks that all rows of a table have as many cells.
func tables(t *testing.T, text string) {
	cells := 0
	for _, line := range strings.Split(text, "\n") {
		if !strings.HasPrefix(line, "|") {
			cells = 0
			continue
		}
		n := strings.Count(line, "|")
		if cells == 0 {
			cells = n
		}
		require.Equal(t, cells, n, line)
	}
}

func wellFormed(t *testing.T, svg string) {
	d := xml.NewDecoder(strings.NewReader(svg))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatalf("%v in %s", err, svg)
		}
	}
}

func TestOnly(t *testing.T) {
	s := &suite{Config: Config{Only: regexp.MustCompile("put/4KiB/64|fair")}}
	for name, want := range map[string]bool{"put": true, "put/4KiB/64": true, "put/4KiB/8": false, "get": false, "fair": true, "flat": false} {
		require.Equal(t, want, s.wants(name), name)
	}
}

// A run that is interrupted leaves nothing.
func TestInterrupted(t *testing.T) {
	place := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	_, err := Run(ctx, Config{Places: []string{place}, Tiny: true, Only: regexp.MustCompile("put"), Log: func(string, ...any) { cancel() }})
	require.ErrorIs(t, err, context.Canceled)
	left, err := os.ReadDir(place)
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestStatistics(t *testing.T) {
	require.Equal(t, spread{2, 1, 9}, spreadOf([]float64{9, 1, 2}))
	require.Equal(t, spread{2.5, 1, 9}, spreadOf([]float64{9, 1, 2, 3}))
	require.Equal(t, "50% (25..100)", spread{0.5, 0.25, 1}.percent())
	require.Equal(t, 3, quantile([]int{1, 2, 3, 4}, 0.5))
	require.Equal(t, 4, quantile([]int{1, 2, 3, 4}, 0.99))
	require.Equal(t, 0, quantile([]int(nil), 0.5))
	for v, want := range map[float64]string{1234567: "1,234,567", 999.6: "1,000", 12.34: "12.3", 0.5: "0.50"} {
		require.Equal(t, want, short(v))
	}
	require.Equal(t, "64 KiB", sizeName(64<<10))
	require.Equal(t, "256MiB", rowSize(256<<20))
}

// The verdicts are those of the medians.
func TestGoals(t *testing.T) {
	round := func(ops int64, cpu, wall time.Duration, allocs int64) sample {
		return sample{Ops: ops, Bytes: ops * 4096, Wall: wall, CPU: cpu, Allocs: allocs}
	}
	r := &Report{
		Puts: []putRow{{Size: 4 << 10, Goroutines: 64, Rounds: []putRound{
			{sample: round(1000, time.Second, time.Second, 0), Disk: 700 * time.Millisecond, Compute: time.Millisecond},
		}}},
		Gets: []getRow{{Size: 4 << 10, Goroutines: 1, Rounds: []getRound{
			{sample: round(1000, 16*time.Millisecond, time.Second, 4000), Verify: round(1000, 0, time.Second, 0), Read: round(1000, 0, time.Second, 0)},
		}}},
		Ops: []opRow{{Name: "list", Rounds: []sample{round(600_000, 0, time.Second, 0)}}},
	}
	verdicts := map[string]verdict{}
	for _, g := range r.goals() {
		verdicts[g.Text] = g.Met
	}
	require.Equal(t, met, verdicts["64 writers of 4 KiB at least 60% of raw"])
	require.Equal(t, missed, verdicts["4 KiB get from the page cache at most 15 us CPU and 4 allocations"])
	require.Equal(t, met, verdicts["list at least 500,000 keys/s"])
	require.Equal(t, notRun, verdicts["head at most 5 us CPU"])
}

// A budget is given out once, however it is asked for.
func TestBudget(t *testing.T) {
	b := &budget{}
	b.left.Store(1000)
	var total int64
	for range 3 {
		n, err := io.Copy(io.Discard, &repeat{p: noise(77), n: 600, b: b})
		require.NoError(t, err)
		total += n
	}
	require.EqualValues(t, 1000, total)
}

// Every goroutine of a crew works, however late it comes to run; none goes
// beyond n, and a failure ends them all.
func TestCrew(t *testing.T) {
	var ran [8]atomic.Int64
	n, err := crew(len(ran), 100, time.Nanosecond, func(g, _ int) error { ran[g].Add(1); return nil })
	require.NoError(t, err)
	require.EqualValues(t, len(ran), n)
	for g := range ran {
		require.EqualValues(t, 1, ran[g].Load())
	}
	var seen [100]atomic.Bool
	n, err = crew(len(ran), len(seen), 0, func(_, i int) error {
		require.False(t, seen[i].Swap(true))
		return nil
	})
	require.NoError(t, err)
	require.EqualValues(t, len(seen), n)
	broken := errors.New("broken")
	n, err = crew(4, 1<<40, 0, func(_, i int) error {
		if i == 50 {
			return broken
		}
		return nil
	})
	require.ErrorIs(t, err, broken)
	require.Less(t, n, int64(1)<<40)
}
