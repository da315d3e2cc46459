package meta

import (
	"errors"
	"strings"
	"testing"
)

func TestCheckKey(t *testing.T) {
	for _, key := range []string{"a", "/", "a//b", "..", "\x00", "\x00\xc3\xa9", " ", "é", strings.Repeat("k", 1024), "\ufffd", "\U0010ffff"} {
		if err := CheckKey(key); err != nil {
			t.Errorf("%.20q is refused: %v", key, err)
		}
	}
	for _, key := range []string{"", strings.Repeat("k", 1025), "a\xff", "\xc3", "\xed\xa0\x80" /* a surrogate */} {
		if err := CheckKey(key); !errors.Is(err, ErrKey) {
			t.Errorf("%.20q gives %v, want ErrKey", key, err)
		}
	}
}

func TestCheckBucketName(t *testing.T) {
	for _, name := range []string{
		"abc", "a1b", "0ab", "my-bucket", "my.bucket", "a-.b", strings.Repeat("a", 63), "1.2.3", "1.2.3.4.5",
		"1.2.3.256", "1.2.3.4a", "xn-a", "mrap", "a.mrap.b", "s3alias", "a--x-s3a",
	} {
		if err := CheckBucketName(name); err != nil {
			t.Errorf("%s is refused: %v", name, err)
		}
	}
	for _, name := range []string{
		"", "ab", strings.Repeat("a", 64), "Abc", "a_b", "a b", "é.bucket", "-abc", "abc-", ".abc", "abc.",
		"a..b", "1.2.3.4", "255.255.255.255", "01.02.03.04", "xn--abc", "sthree-abc", "amzn-s3-demo-abc",
		"abc-s3alias", "abc--ol-s3", "abc.mrap", "abc--x-s3", "abc--table-s3", "a/b", "abc\n",
	} {
		if err := CheckBucketName(name); !errors.Is(err, ErrBucketName) {
			t.Errorf("%q gives %v, want ErrBucketName", name, err)
		}
	}
}
