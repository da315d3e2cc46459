package meta_test

import (
	"fmt"

	"github.com/cairnstore/cairn/meta"
)

// Records become entries and state; a listing reads them back.
func Example() {
	x, state, batch := meta.NewMemory(), meta.NewState(), meta.NewBatch()
	records := []meta.Record{
		{Kind: meta.KindCreateBucket, Epoch: 1, Name: "photos"}, // sequence 1, so this is bucket 1
		{Kind: meta.KindPut, Epoch: 1, Bucket: 1, Key: "2026/a.jpg", Object: &meta.Object{}},
		{Kind: meta.KindPut, Epoch: 1, Bucket: 1, Key: "2026/b.jpg", Object: &meta.Object{}},
		{Kind: meta.KindPut, Epoch: 1, Bucket: 1, Key: "cover.jpg", Object: &meta.Object{}},
	}
	group := &meta.Group{First: 1, Last: 4}
	current := func(bucket uint64, key string) (*meta.Version, error) { return meta.HeadOf(x, bucket, key, nil) }
	if err := state.Apply(batch, group, records, current); err != nil {
		fmt.Println(err)
		return
	}
	if err := x.Apply(batch, meta.Position{Seq: group.Last}); err != nil {
		fmt.Println(err)
		return
	}

	photos, _ := state.Bucket("photos")
	fmt.Println(photos.Usage.Objects, "objects")
	page, err := meta.List(x, meta.ListQuery{Bucket: photos.ID, Delimiter: "/"})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, e := range page.Entries {
		fmt.Println(e.Prefix + e.Key)
	}
	// Output:
	// 3 objects
	// 2026/
	// cover.jpg
}
