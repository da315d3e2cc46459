//go:build !race

package meta

import "testing"

// TestListAllocs: what a listing allocates does not grow with its keys, but for
// the memory that they take. Pools drop at random under the race detector: this is
// for other builds.
func TestListAllocs(t *testing.T) {
	x := openDir(t, PebbleOptions{InMemory: true})
	fillBench(t, x, 2048, 64)
	allocs := func(limit int) float64 {
		return testing.AllocsPerRun(20, func() {
			if page, err := List(x, ListQuery{Bucket: 1, Limit: limit}); err != nil || len(page.Entries) != limit {
				t.Fatal(len(page.Entries), err)
			}
		})
	}
	if few, many := allocs(1), allocs(1000); few > 30 || many > 100 {
		t.Errorf("a page of one key allocates %v times, one of 1000 %v times", few, many)
	}
}
