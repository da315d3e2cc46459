package fuzz

import (
	"context"
	"encoding/base64"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/engine"
	"github.com/cairnstore/cairn/erasure"
)

// FuzzPageToken lists with whatever a client may send as a token: it is refused,
// or the listing goes on in order and ends.
func FuzzPageToken(f *testing.F) {
	r := newRig(erasure.Geometry{Data: 1}, 1)
	e, err := r.open(nil)
	require.NoError(f, err)
	f.Cleanup(func() { _ = e.Close() })
	ctx := context.Background()
	require.NoError(f, e.CreateBucket(ctx, "bucket"))
	b := e.Bucket("bucket")
	for _, key := range keyNames {
		_, err := b.PutBytes(ctx, key, nil, nil)
		require.NoError(f, err)
	}
	f.Fuzz(func(t *testing.T, token, prefix, delimiter, after string, limit byte) {
		q := &engine.ListPageOptions{Token: token, Limit: int(limit % 8)}
		q.Prefix, q.Delimiter, q.StartAfter = prefix, delimiter, after
		last := ""
		for range len(keyNames) + 1 {
			page, err := b.ListPage(ctx, q)
			if q.Token == token && token != "" && err != nil {
				require.ErrorIs(t, err, engine.ErrToken)
				return
			}
			require.NoError(t, err)
			for i, o := range page.Objects {
				require.True(t, i == 0 && last == "" || o.Key > last, "%q after %q", o.Key, last)
				require.True(t, strings.HasPrefix(o.Key, prefix))
				require.True(t, o.IsPrefix || slices.Contains(keyNames, o.Key), "%q", o.Key)
				last = o.Key
			}
			if page.Token == "" {
				return
			}
			q.Token = page.Token
		}
		t.Fatal("the listing does not end")
	})
}

func pageTokenSeeds(testing.TB) map[string][]any {
	enc := base64.RawURLEncoding.EncodeToString
	all := map[string][]any{}
	for name, token := range map[string]string{
		"none": "", "key": enc([]byte("a/b")), "prefix": enc([]byte("a/")), "zero": enc([]byte{0}), "not-utf8": enc([]byte{0xff, 0xff}),
		"padded": base64.StdEncoding.EncodeToString([]byte("a")), "not-base64": "%%%", "long": enc([]byte(strings.Repeat("\xff", 3000))),
	} {
		all[name] = []any{token, "", "/", "", byte(2)}
		all[name+"-below"] = []any{token, "a/", "/", "a/b", byte(1)}
	}
	return all
}
