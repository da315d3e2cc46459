package meta

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
)

func TestTags(t *testing.T) {
	many := map[string]string{}
	for i := range MaxTags {
		many[fmt.Sprint("k", i)] = strings.Repeat("\U0010ffff", i*MaxTagValue/(MaxTags-1))
	}
	for _, m := range []map[string]string{
		nil,
		{"b": "2", "a": "", "\ufffd": "a literal replacement character", "+-=._:/@ \n\x00": "any character"},
		{strings.Repeat("\U0010ffff", MaxTagKey): strings.Repeat("\U0010ffff", MaxTagValue)},
		many,
	} {
		b, err := AppendTags([]byte("before"), m)
		if err != nil {
			t.Fatalf("%d tags: %v", len(m), err)
		}
		b = b[len("before"):]
		back, err := DecodeTags(b)
		if err != nil || !maps.Equal(m, back) || (len(b) == 0) != (len(m) == 0) {
			t.Errorf("%v came back as %v, %v", m, back, err)
		}
	}

	refuse := func(name string, m map[string]string) {
		if b, err := AppendTags([]byte("x"), m); !errors.Is(err, ErrTags) || string(b) != "x" {
			t.Errorf("%s: %d bytes, %v", name, len(b), err)
		}
		var b []byte
		for _, k := range sortedIDs(m) {
			b = appendString(appendString(b, k), m[k])
		}
		if back, err := DecodeTags(b); !errors.Is(err, ErrTags) {
			t.Errorf("%s: a block of it decodes to %v, %v", name, back, err)
		}
	}
	refuse("no key", map[string]string{"": "v"})
	refuse("a long key", map[string]string{strings.Repeat("k", MaxTagKey+1): ""})
	refuse("a long value", map[string]string{"k": strings.Repeat("é", MaxTagValue+1)})
	refuse("a huge value", map[string]string{"k": strings.Repeat("x", 1<<20)})
	refuse("half a rune", map[string]string{"\xc3": "v"})
	refuse("a surrogate", map[string]string{"k": "\xed\xa0\x80"})
	many["one more"] = ""
	refuse("too many", many)
	for _, b := range [][]byte{{0}, {1}, {1, 'a'}, {1, 'a', 5, 'x'}, {1, 'a', 0, 1, 'a', 0}, {1, 'b', 0, 1, 'a', 0}} {
		if m, err := DecodeTags(b); !errors.Is(err, ErrTags) {
			t.Errorf("%x decodes to %v, %v", b, m, err)
		}
	}
}

func TestCheckHeaders(t *testing.T) {
	if err := CheckHeaders(&Headers{ContentType: "text/plain; charset=utf-8", ContentDisposition: "attachment; filename=\"\té.txt\""}); err != nil {
		t.Error(err)
	}
	full := Headers{ContentType: strings.Repeat("x", MaxHeaders-1), Expires: "0"}
	if err := CheckHeaders(&full); err != nil {
		t.Errorf("exactly the limit: %v", err)
	}
	full.CacheControl = "x"
	if err := CheckHeaders(&full); !errors.Is(err, ErrMetadata) {
		t.Errorf("one more byte: %v", err)
	}
	var h Headers
	for i, s := range h.all() {
		for _, bad := range []string{"a\r\nSet-Cookie: b", "\n", "\x00", "\x1f", "\x7f", "\xff", "\xed\xa0\x80"} {
			*s = bad
			if err := CheckHeaders(&h); !errors.Is(err, ErrMetadata) || !strings.Contains(err.Error(), headerNames[i]) {
				t.Errorf("%s %q: %v", headerNames[i], bad, err)
			}
			if err := CheckETag(bad); !errors.Is(err, ErrMetadata) {
				t.Errorf("entity tag %q: %v", bad, err)
			}
		}
		*s = ""
	}
	if err := CheckETag(strings.Repeat("x", MaxETag)); err != nil {
		t.Error(err)
	}
	if err := CheckETag(strings.Repeat("x", MaxETag+1)); !errors.Is(err, ErrMetadata) {
		t.Errorf("a long entity tag: %v", err)
	}
}
