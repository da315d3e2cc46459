package engine

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// goodKeys stay apart from each other, whatever they look like.
var goodKeys = []string{
	"a", "a/", "a/b", "a//b", "a//", "/", "//", "/a", ".", "..", "../a", "a/../b", " ", "a ", "\x00", "a\x00", "a\x00b", "\x00\x00", "\x01",
	"\n", "\\", "%2F", "a%00", "é", "e\u0301", "日本", "\U0001F600", "\uffff", "\U0010ffff", "A", "con", "a\u202eb", "\x7f",
	strings.Repeat("k", 1023), strings.Repeat("k", 1024), strings.Repeat("/", 1024), strings.Repeat("\x00", 1024), strings.Repeat("\U0010ffff", 256),
}

var badKeys = map[string]string{
	"empty": "", "1025 bytes": strings.Repeat("k", 1025), "1026 bytes in 342 letters": strings.Repeat("日", 342), "a megabyte": strings.Repeat("k", 1<<20),
	"no UTF-8": "\xff", "cut letter": "a\xc3", "surrogate": "\xed\xa0\x80", "overlong": "\xc0\x80", "beyond Unicode": "\xf4\x90\x80\x80",
}

func TestKeys(t *testing.T) {
	for _, plain := range []bool{true, false} {
		r := newRig(t, 2, 1)
		r.opts.plainIndex = plain
		e := r.open()
		b := bucketOf(t, e, "bucket")
		for _, k := range goodKeys {
			_, err := b.PutBytes(t.Context(), k, []byte("of "+k), nil)
			require.NoError(t, err, "%q", k)
		}
		sorted := slices.Sorted(slices.Values(goodKeys))
		for range 2 {
			require.Equal(t, sorted, keysOf(t, b))
			for _, k := range goodKeys {
				got, err := read(b, k)
				require.NoError(t, err, "%q", k)
				require.Equal(t, "of "+k, string(got))
				info, err := b.Head(t.Context(), k, nil)
				require.NoError(t, err)
				require.Equal(t, k, info.Key)
			}
			e = r.reopen(e)
			b = e.Bucket("bucket")
		}
		for name, k := range badKeys {
			for op, err := range calls(t, e, "bucket", k) {
				if op != "list" {
					requireError(t, err, ErrKey, op, "bucket", k, name)
					require.Less(t, len(err.Error()), 5000, "the message stays readable")
				}
			}
		}
		require.Equal(t, sorted, keysOf(t, b))
		for i, k := range goodKeys {
			res, err := b.Delete(t.Context(), k, nil)
			require.NoError(t, err)
			require.True(t, res.Existed, "%q", k)
			require.Len(t, keysOf(t, b), len(goodKeys)-i-1, "%q takes no other with it", k)
		}
	}
}

// keysOf lists a bucket.
func keysOf(t testing.TB, b *Bucket) []string {
	t.Helper()
	keys := []string{}
	for o, err := range b.List(t.Context(), nil) {
		require.NoError(t, err)
		keys = append(keys, o.Key)
	}
	return keys
}

func TestBucketNames(t *testing.T) {
	r := newRig(t, 2, 1)
	e := r.open()
	good := []string{"abc", "a-b", "a.b.c", "123", "1.2.3", "1.2.3.4.5", "0x1.2.3.4", strings.Repeat("a", 63)}
	for _, name := range good {
		require.NoError(t, e.CreateBucket(t.Context(), name), name)
	}
	bad := []string{
		"", "a", "ab", strings.Repeat("a", 64), "Abc", "a_b", "a b", "-ab", "ab-", ".ab", "ab.", "a..b", "192.168.5.4", "192.168.05.4", "xn--abc",
		"sthree-a", "amzn-s3-demo-a", "a-s3alias", "a--ol-s3", "a.mrap", "a--x-s3", "a--table-s3", "../etc", "a/b", "a\x00b", strings.Repeat("\xff", 1<<20), "é-é", "\xff\xff\xff",
	}
	for _, name := range bad {
		err := e.CreateBucket(t.Context(), name)
		requireError(t, err, ErrBucketName, "create bucket", name, "")
		require.Less(t, len(err.Error()), 1000, "the message stays readable")
		_, err = e.Bucket(name).PutBytes(t.Context(), "key", nil, nil)
		requireError(t, err, ErrNoBucket, "put", name, "key")
		requireError(t, e.DeleteBucket(t.Context(), name), ErrNoBucket, "delete bucket", name, "")
	}
	slices.Sort(good)
	for range 2 {
		var names []string
		infos, err := e.Buckets(t.Context())
		require.NoError(t, err)
		for _, info := range infos {
			names = append(names, info.Name)
			require.False(t, info.Created.IsZero())
		}
		require.Equal(t, good, names)
		e = r.reopen(e)
	}
}
