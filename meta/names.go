package meta

import (
	"fmt"
	"net/netip"
	"strings"
	"unicode/utf8"
)

// MaxKey is the longest object key in bytes.
const MaxKey = 1024

// CheckKey returns nil if key may name an object: 1 to MaxKey bytes of valid
// UTF-8. Nothing else is refused: "/", "a//b", "..", "\x00" are keys. Else the
// error wraps ErrKey.
func CheckKey(key string) error {
	switch {
	case key == "":
		return fmt.Errorf("%w: it is empty", ErrKey)
	case len(key) > MaxKey:
		return fmt.Errorf("%w: %d bytes, the limit is %d", ErrKey, len(key), MaxKey)
	case !utf8.ValidString(key):
		return fmt.Errorf("%w: %.64q is not UTF-8", ErrKey, key)
	default:
		return nil
	}
}

// CheckPrefix returns nil if keys can be asked for by prefix in a record: at
// most MaxKey bytes of valid UTF-8. Else the error wraps ErrKey.
func CheckPrefix(prefix string) error {
	if prefix == "" {
		return nil
	}
	return CheckKey(prefix)
}

// What S3 reserves for its own names
// (docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html).
var (
	reservedPrefixes = []string{"xn--", "sthree-", "amzn-s3-demo-"}
	reservedSuffixes = []string{"-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"}
)

// CheckBucketName returns nil if name follows S3's rules for general purpose
// bucket names. Else the error wraps ErrBucketName and says which rule it
// breaks.
func CheckBucketName(name string) error {
	refuse := func(format string, args ...any) error {
		return fmt.Errorf("%w %.80q: %s", ErrBucketName, name, fmt.Sprintf(format, args...))
	}
	if len(name) < 3 || len(name) > 63 {
		return refuse("%d bytes long, want 3 to 63", len(name))
	}
	for i := range len(name) {
		if c := name[i]; !alphanumeric(c) && c != '.' && c != '-' {
			return refuse("byte %#02x at %d is none of a-z, 0-9, dot and hyphen", c, i)
		}
	}
	if !alphanumeric(name[0]) || !alphanumeric(name[len(name)-1]) {
		return refuse("it must begin and end with a letter or digit")
	}
	if strings.Contains(name, "..") {
		return refuse("two dots in a row")
	}
	if addressLike(name) {
		return refuse("it looks like an IPv4 address")
	}
	for _, p := range reservedPrefixes {
		if strings.HasPrefix(name, p) {
			return refuse("the prefix %s is reserved", p)
		}
	}
	for _, s := range reservedSuffixes {
		if strings.HasSuffix(name, s) {
			return refuse("the suffix %s is reserved", s)
		}
	}
	return nil
}

// addressLike reports whether name would be read as an IPv4 address. Leading
// zeros do not save it: resolvers differ on them.
func addressLike(name string) bool {
	parts := strings.Split(name, ".")
	if len(parts) != 4 {
		return false
	}
	for i, p := range parts {
		if parts[i] = strings.TrimLeft(p, "0"); parts[i] == "" {
			parts[i] = "0"
		}
	}
	addr, err := netip.ParseAddr(strings.Join(parts, "."))
	return err == nil && addr.Is4()
}

func alphanumeric(c byte) bool { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' }
