package meta

import (
	"fmt"
	"unicode/utf8"
)

const (
	// MaxHeaders bounds the bytes of an object's headers together.
	MaxHeaders = 64 << 10
	// MaxETag is the longest entity tag in bytes.
	MaxETag = 128
)

// Headers are the standard HTTP headers that an object is stored with. The
// engine keeps them as they are.
type Headers struct {
	ContentType        string
	CacheControl       string
	ContentEncoding    string
	ContentDisposition string
	ContentLanguage    string
	Expires            string
}

func (h *Headers) all() [6]*string {
	return [6]*string{
		&h.ContentType, &h.CacheControl, &h.ContentEncoding,
		&h.ContentDisposition, &h.ContentLanguage, &h.Expires,
	}
}

var headerNames = [6]string{
	"Content-Type", "Cache-Control", "Content-Encoding",
	"Content-Disposition", "Content-Language", "Expires",
}

// CheckHeaders returns nil if HTTP can send each header back as it is: valid
// UTF-8 without control characters other than the tab, and MaxHeaders bytes in
// all. Else the error wraps ErrMetadata and names the header.
func CheckHeaders(h *Headers) error {
	total := 0
	for i, s := range h.all() {
		if total += len(*s); total > MaxHeaders {
			return fmt.Errorf("%w: headers of %d bytes and more, the limit is %d", ErrMetadata, total, MaxHeaders)
		}
		if !sendable(*s) {
			return fmt.Errorf("%w: %s %.64q cannot be sent in a header", ErrMetadata, headerNames[i], *s)
		}
	}
	return nil
}

// CheckETag returns nil if etag may be an object's: at most MaxETag bytes that
// HTTP can send. Else the error wraps ErrMetadata.
func CheckETag(etag string) error {
	if len(etag) > MaxETag {
		return fmt.Errorf("%w: entity tag of %d bytes, the limit is %d", ErrMetadata, len(etag), MaxETag)
	}
	if !sendable(etag) {
		return fmt.Errorf("%w: entity tag %.64q cannot be sent in a header", ErrMetadata, etag)
	}
	return nil
}

// Size returns the bytes of all headers together.
func (h *Headers) Size() int {
	n := 0
	for _, s := range h.all() {
		n += len(*s)
	}
	return n
}

// sendable reports whether s can be a field value (RFC 9110, section 5.5).
func sendable(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return utf8.ValidString(s)
}

// append appends a mask of the headers that are set, and those, to b.
func (h *Headers) append(b []byte) []byte {
	all := h.all()
	var mask byte
	for i, s := range all {
		if *s != "" {
			mask |= 1 << i
		}
	}
	b = append(b, mask)
	for _, s := range all {
		if *s != "" {
			b = appendString(b, *s)
		}
	}
	return b
}

func (d *decoder) headers(h *Headers) {
	mask := d.byte()
	if mask == 0 || mask >= 1<<6 {
		d.fail()
	}
	total := 0
	for i, s := range h.all() {
		if mask&(1<<i) == 0 {
			continue
		}
		p := d.bytes()
		if total += len(p); len(p) == 0 || total > MaxHeaders {
			d.fail()
			return
		}
		if d.like != nil && string(p) == *d.like.all()[i] {
			*s = *d.like.all()[i]
		} else {
			*s = d.keep(p)
		}
	}
}
