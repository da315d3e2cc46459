package model

import (
	"flag"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	histories = flag.Int("histories", defaultHistories, "histories that TestModel runs")
	firstSeed = flag.Uint64("seed", 1, "seed of the first history")
	replay    = flag.Uint64("replay", 0, "run the history of this seed alone, and print it")
)

// of is the pool that a seed runs on.
func of(seed uint64) Geometry { return Geometries[seed%uint64(len(Geometries))] }

// TestModel runs histories under the protocol as it is: none may fail.
func TestModel(t *testing.T) {
	if *replay != 0 {
		lines := Explain(*replay, of(*replay), 0)
		t.Logf("seed %d, %v\n%s", *replay, of(*replay), strings.Join(lines, "\n"))
		if f := Run(*replay, of(*replay), 0, nil); f != nil {
			t.Error(f.What)
		}
		return
	}
	start := time.Now()
	failures, events := runAll(*firstSeed, *histories, 0, of)
	t.Logf("%d histories in %v: %v", *histories, time.Since(start).Round(time.Millisecond), &events)
	if f := shortest(failures); f != nil {
		t.Fatalf("%d histories failed; the shortest:\n%s", len(failures), explain(f, 0))
	}
	if *histories >= 5_000 && !events.Complete() {
		t.Error("something never happened")
	}
}

// runAll runs n histories on all processors.
func runAll(first uint64, n int, broken Switch, of func(uint64) Geometry) ([]*Failure, Events) {
	var next atomic.Int64
	var mu sync.Mutex
	var wg sync.WaitGroup
	var failures []*Failure
	var events Events
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			var mine Events
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				seed := first + uint64(i)
				if f := Run(seed, of(seed), broken, &mine); f != nil {
					mu.Lock()
					failures = append(failures, f)
					mu.Unlock()
				}
			}
			mu.Lock()
			defer mu.Unlock()
			events.Merge(&mine)
		})
	}
	wg.Wait()
	return failures, events
}

func shortest(failures []*Failure) *Failure {
	var least *Failure
	for _, f := range failures {
		if least == nil || f.Steps < least.Steps || f.Steps == least.Steps && f.Seed < least.Seed {
			least = f
		}
	}
	return least
}

func explain(f *Failure, broken Switch) string {
	return fmt.Sprintf("seed %d, %v\n%s\nreplay with -replay %d", f.Seed, f.Geometry, strings.Join(Explain(f.Seed, f.Geometry, broken), "\n"), f.Seed)
}
