package fuzz

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/engine"
	"github.com/cairnstore/cairn/erasure"
)

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// lines returns n bytes of text: stores of it, parity too, stay small in an
// archive.
func lines(n int) []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "line %x of an object in a golden store\n", i%16)
	}
	return b.Bytes()[:n]
}

// makeStore makes a store in which every kind of record and every shape of
// group, object and segment occurs, and saves it: several epochs, some of them
// after a power cut, a process that died, or with a disk lost.
func makeStore(t *testing.T, g erasure.Geometry, base string) {
	ctx := context.Background()
	r := newRig(g, 77)
	e, err := r.open(nil)
	require.NoError(t, err)
	require.NoError(t, e.CreateBucket(ctx, "alpha"))
	require.NoError(t, e.CreateBucket(ctx, "beta.gamma"))
	require.NoError(t, e.CreateBucket(ctx, "gone"))
	require.NoError(t, e.DeleteBucket(ctx, "gone"))
	require.NoError(t, e.Bucket("alpha").UpdateSettings(ctx, func(s *engine.BucketSettings) error {
		s.Tags = map[string]string{"owner": "kim", "π": ""}
		s.Documents = map[string][]byte{"policy": []byte("{}")}
		return nil
	}))
	put := func(bucket, key string, n int, o *engine.PutOptions) {
		_, err := e.Bucket(bucket).PutBytes(ctx, key, lines(n), o)
		require.NoError(t, err)
	}
	for i, key := range keyNames {
		put("alpha", key, 1+i*313, nil)
	}
	put("alpha", "empty", 0, &engine.PutOptions{Headers: engine.Headers{ContentType: "text/plain", CacheControl: "no-cache",
		ContentEncoding: "identity", ContentDisposition: "inline", ContentLanguage: "cy", Expires: "never"}})
	put("alpha", "metadata", 10, &engine.PutOptions{Metadata: map[string]string{"owner": "kim", "empty": "", "π": strings.Repeat("v", 2000)}})
	put("alpha", "etag", 20, &engine.PutOptions{ETag: `5d41402abc4b2a76b9719d911017c592-2`})
	put("alpha", "tags", 30, &engine.PutOptions{Tags: map[string]string{"team": "vision", "π": ""}})
	put("alpha", "retagged", 40, &engine.PutOptions{Tags: map[string]string{"old": "tag"}})
	require.NoError(t, e.Bucket("alpha").PutTags(ctx, "retagged", map[string]string{"new": "tag"}, nil))
	put("alpha", "untagged", 50, &engine.PutOptions{Tags: map[string]string{"old": "tag"}})
	require.NoError(t, e.Bucket("alpha").DeleteTags(ctx, "untagged", nil))
	put("alpha", "packed/most", engine.PackMax, nil)
	put("alpha", "striped/least", engine.PackMax+1, nil)
	put("alpha", "striped/no hash", 200_000, &engine.PutOptions{NoHash: true})
	put("alpha", "striped/rows", 400_000, nil)
	together(t, e, 12) // a group of several blocks
	require.NoError(t, e.Close())

	// More epochs: overwritten, deleted, with a power cut and a dead process.
	e, err = r.open(nil)
	require.NoError(t, err)
	put("alpha", "a/b", 77, nil)
	_, err = e.Bucket("alpha").Delete(ctx, "z", nil)
	require.NoError(t, err)
	for i := range 8 {
		put("beta.gamma", fmt.Sprintf("below/%d", i), 100, nil)
	}
	_, err = e.Bucket("beta.gamma").DeletePrefix(ctx, "below/")
	require.NoError(t, err)
	r.machine.Cut()
	_ = e.Close()
	r.cut(rand.New(rand.NewPCG(1, 1)))
	e, err = r.open(nil)
	require.NoError(t, err)
	put("beta.gamma", "after the power cut", 1000, nil)
	r.kill()
	_ = e.Close()
	e, err = r.open(nil)
	require.NoError(t, err)
	put("beta.gamma", "after the kill", 1000, nil)
	if g.Parity > 0 {
		r.faults[1].Lose() // a narrower segment
	}
	put("beta.gamma", "without a disk", 90_000, nil)
	together(t, e, 6)
	r.faults[g.Shards()-1].Return()
	r.faults[min(1, g.Shards()-1)].Return()
	_ = e.Close() // a lost disk may show
	e, err = r.open(nil)
	require.NoError(t, err)
	put("beta.gamma", "last", 5, nil)
	text, err := manifest(e)
	require.NoError(t, err)
	require.NoError(t, e.Close())
	saveStore(t, r.mems, base+".tar.gz")
	writeNew(t, base+".txt", []byte(text))
}

// together puts n objects of 40 KB that share groups.
func together(t *testing.T, e *engine.Engine, n int) {
	var all []*engine.Pending
	for i := range n {
		p, err := e.Bucket("alpha").PutAsync(context.Background(), fmt.Sprintf("together/%02d", i), lines(40_000), nil)
		require.NoError(t, err)
		all = append(all, p)
	}
	for _, p := range all {
		_, err := p.Wait(context.Background())
		require.NoError(t, err)
	}
}
