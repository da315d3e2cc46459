package meta

import (
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"
)

// S3's limits on the tags of an object
// (docs.aws.amazon.com/AmazonS3/latest/userguide/object-tagging.html).
const (
	MaxTags     = 10
	MaxTagKey   = 128 // Unicode characters
	MaxTagValue = 256 // Unicode characters
)

// AppendTags appends the encoded block of tags to b: for each tag, in the order
// of the keys, its key and its value, each after its length. An empty map
// appends nothing. Tags beyond the limits above, an empty key or what is not
// UTF-8 are ErrTags, and b is returned as it was.
func AppendTags(b []byte, tags map[string]string) ([]byte, error) {
	if len(tags) > MaxTags {
		return b, fmt.Errorf("%w: %d of them, the limit is %d", ErrTags, len(tags), MaxTags)
	}
	keys := slices.Sorted(maps.Keys(tags))
	for _, k := range keys {
		if err := checkTag(k, tags[k]); err != nil {
			return b, err
		}
	}
	for _, k := range keys {
		b = appendString(b, k)
		b = appendString(b, tags[k])
	}
	return b, nil
}

func checkTag[T string | []byte](key, value T) error {
	if n, ok := characters(key); !ok || n < 1 || n > MaxTagKey {
		return fmt.Errorf("%w: key %.64q is not 1 to %d characters of UTF-8", ErrTags, key, MaxTagKey)
	}
	if n, ok := characters(value); !ok || n > MaxTagValue {
		return fmt.Errorf("%w: the value of %.64q is not at most %d characters of UTF-8", ErrTags, key, MaxTagValue)
	}
	return nil
}

// characters returns the number of characters of s; not ok if it is not UTF-8,
// or too long to be of use to a tag.
func characters[T string | []byte](s T) (n int, ok bool) {
	if len(s) > MaxTagValue*utf8.UTFMax {
		return 0, false
	}
	for _, c := range string(s) {
		if c == utf8.RuneError && !utf8.ValidString(string(s)) {
			return 0, false
		}
		n++
	}
	return n, true
}

// DecodeTags reads a block that AppendTags wrote. It returns a map that the
// caller may keep and change, nil for an empty block. The error wraps ErrTags.
func DecodeTags(b []byte) (map[string]string, error) {
	if len(b) == 0 {
		return nil, nil
	}
	if err := checkTags(b); err != nil {
		return nil, err
	}
	tags := make(map[string]string)
	for d := (decoder{b: b}); len(d.b) > 0; {
		k := d.string()
		tags[k] = d.string()
	}
	return tags, nil
}

// checkTags walks a block without building anything of it.
func checkTags(b []byte) error {
	d := decoder{b: b}
	var last []byte
	for n := 1; len(d.b) > 0; n++ {
		k := d.bytes()
		v := d.bytes()
		if d.bad || string(k) <= string(last) {
			return fmt.Errorf("%w: one is cut short, unnamed or out of order", ErrTags)
		}
		if n > MaxTags {
			return fmt.Errorf("%w: more than %d", ErrTags, MaxTags)
		}
		if err := checkTag(k, v); err != nil {
			return err
		}
		last = k
	}
	return nil
}
