package fuzz

import (
	"encoding/binary"
	"flag"
	"math/rand/v2"
	"sync"
	"testing"

	"golang.org/x/sync/errgroup"
)

var (
	scripts = flag.Int("scripts", 250, "number of random scripts")
	from    = flag.Uint64("from", 1000, "number of the first")
)

// FuzzModel runs scripts of puts, deletes, reads, listings, bucket changes,
// power cuts, kills, closes, lost, absent and rotten disks (never more than m)
// and dropped indexes on an engine, and on an obvious twin in memory. What was
// acknowledged must be seen; what failed with a definite error must not; what
// was under way at a crash happened whole or not at all.
func FuzzModel(f *testing.F) {
	for number := range uint64(20) {
		f.Add(randomScript(number))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := runScript(b, t.TempDir, func(string) {}); err != nil {
			t.Fatal(err)
		}
	})
}

// randomScript returns a tape of 20 to 400 bytes.
func randomScript(number uint64) []byte {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], number)
	r := rand.NewChaCha8(key)
	b := make([]byte, 20+r.Uint64()%380)
	_, _ = r.Read(b) // never fails
	return b
}

// TestScripts runs random scripts, -scripts of them from number -from on, and
// shows that they meet every kind of trouble.
func TestScripts(t *testing.T) {
	var mu sync.Mutex
	seen := map[string]int{}
	var g errgroup.Group
	g.SetLimit(4)
	for n := range uint64(*scripts) {
		number := *from + n
		g.Go(func() error {
			err := runScript(randomScript(number), t.TempDir, func(what string) {
				mu.Lock()
				defer mu.Unlock()
				seen[what]++
			})
			if err != nil {
				t.Errorf("script %d: %v", number, err)
			}
			return err
		})
	}
	_ = g.Wait()
	t.Log(seen)
	for _, what := range []string{"close", "kill", "power cut", "lost", "returned", "rot", "doubt", "no quorum", "read-only", "index removed"} {
		if seen[what] == 0 {
			t.Errorf("%s never happened", what)
		}
	}
}
