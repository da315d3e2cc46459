package meta

import (
	"encoding/binary"
	"math/bits"
)

// decoder reads one encoded structure from b. The first thing that is wrong
// sets bad, and from then on every read returns zero; so callers check once, at
// the end. It never allocates more than its input is long.
type decoder struct {
	b   []byte
	bad bool

	// For those who decode many of a kind.
	skim bool     // opaque blocks are not looked into and left out
	text *text    // where strings are made; nil: each on its own
	like *Headers // strings that may be shared, if they are equal
}

func (d *decoder) fail() { d.b, d.bad = nil, true }

// uvarint reads a minimal varint. A padded one is refused, so that each value
// has one encoding and what is decoded encodes to the bytes that it came from.
func (d *decoder) uvarint() uint64 {
	if len(d.b) > 0 && d.b[0] < 0x80 { // most of them
		v := d.b[0]
		d.b = d.b[1:]
		return uint64(v)
	}
	v, n := binary.Uvarint(d.b)
	if n <= 0 || n > uvarintLen(v) {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

// length reads a varint that counts things of at least size bytes each, which
// follow.
func (d *decoder) length(size int) int {
	v := d.uvarint()
	if v > uint64(len(d.b)/size) {
		d.fail()
		return 0
	}
	return int(v)
}

// positive reads a varint that fits an int64.
func (d *decoder) positive() int64 {
	v := d.uvarint()
	if v > 1<<63-1 {
		d.fail()
		return 0
	}
	return int64(v)
}

// below reads a varint that must not exceed limit.
func (d *decoder) below(limit uint64) uint64 {
	v := d.uvarint()
	if v > limit {
		d.fail()
		return 0
	}
	return v
}

func (d *decoder) byte() byte {
	if p := d.take(1); p != nil {
		return p[0]
	}
	return 0
}

func (d *decoder) uint64() uint64 {
	if p := d.take(8); p != nil {
		return binary.BigEndian.Uint64(p)
	}
	return 0
}

// take returns the next n bytes, aliasing the input; nil if there are fewer.
func (d *decoder) take(n int) []byte {
	if n < 0 || n > len(d.b) {
		d.fail()
		return nil
	}
	p := d.b[:n:n]
	d.b = d.b[n:]
	return p
}

// bytes reads a length and that many bytes, aliasing the input; nil for none.
func (d *decoder) bytes() []byte {
	n := d.length(1)
	if n == 0 {
		return nil
	}
	return d.take(n)
}

func (d *decoder) string() string { return d.keep(d.bytes()) }

func (d *decoder) keep(p []byte) string {
	if d.text == nil {
		return string(p)
	}
	return d.text.keep(p)
}

// tagged takes all that is left, which must be a run of tagged fields (tag,
// length, bytes), and returns it unread: this version knows no tag. nil for
// none.
func (d *decoder) tagged() []byte {
	if len(d.b) == 0 {
		return nil
	}
	rest := d.b[:len(d.b):len(d.b)]
	for len(d.b) > 0 {
		d.uvarint()
		d.take(d.length(1))
	}
	if d.bad {
		return nil
	}
	return rest
}

func appendBytes(b, p []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(p)))
	return append(b, p...)
}

func appendString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// uvarintLen returns the bytes that v takes.
func uvarintLen(v uint64) int { return max(1, (bits.Len64(v)+6)/7) }
