package versioning

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrID reports a string that is no version id.
var ErrID = errors.New("bad version id")

// StringLen is the length of every encoded ID in bytes.
const StringLen = 26

// ID names one version of one key for ever. Sequence is the commit sequence of
// the mutation that made it, Epoch the number of the epoch that committed it:
// two histories of a store that was forked and forced open may both have used a
// sequence, but not under one epoch.
type ID struct {
	Epoch    uint64
	Sequence uint64
}

// IsZero reports whether id names no version.
func (id ID) IsZero() bool { return id == ID{} }

// Compare orders ids by commit: by Sequence, then by Epoch. A later version of
// a key compares greater.
func (id ID) Compare(o ID) int {
	if c := cmp.Compare(id.Sequence, o.Sequence); c != 0 {
		return c
	}
	return cmp.Compare(id.Epoch, o.Epoch)
}

const alphabet = "0123456789abcdefghijklmnopqrstuv"

// String returns the form of id that users see: StringLen characters of
// [0-9a-v], safe in URLs, file names and headers.
//
// The string is opaque. Its order says nothing about the order of versions, and
// ids of neighbouring commits do not look alike, so that nobody comes to rely
// on either or reads the rate of commits off two ids. That is hygiene and not
// secrecy: no key is involved.
func (id ID) String() string {
	var b [StringLen]byte
	return string(id.Append(b[:0]))
}

// Append appends what String returns to b.
func (id ID) Append(b []byte) []byte {
	hi := mix(id.Sequence)
	lo := mix(id.Epoch ^ hi)
	for shift := 59; shift >= 4; shift -= 5 {
		b = append(b, alphabet[hi>>shift&31])
	}
	b = append(b, alphabet[(hi<<1|lo>>63)&31])
	for shift := 58; shift >= 3; shift -= 5 {
		b = append(b, alphabet[lo>>shift&31])
	}
	// 128 bits are 25 digits and 3 bits; the last digit carries them on top.
	return append(b, alphabet[lo<<2&31])
}

// ParseID reads what String wrote. Anything else, the zero ID included, is
// ErrID.
func ParseID(s string) (ID, error) {
	if len(s) != StringLen {
		return ID{}, fmt.Errorf("%w: %d bytes long, want %d", ErrID, len(s), StringLen)
	}
	var w [16]byte
	var acc, bits uint
	n := 0
	for i := range len(s) {
		d, ok := digit(s[i])
		if !ok {
			return ID{}, fmt.Errorf("%w: byte %#02x at %d", ErrID, s[i], i)
		}
		acc = acc<<5 | d
		if bits += 5; bits >= 8 {
			bits -= 8
			w[n] = byte(acc >> bits)
			n++
			acc &= 1<<bits - 1
		}
	}
	if acc != 0 {
		return ID{}, fmt.Errorf("%w: stray bits in the last digit", ErrID)
	}
	m := binary.BigEndian.Uint64(w[:])
	id := ID{Sequence: unmix(m), Epoch: unmix(binary.BigEndian.Uint64(w[8:])) ^ m}
	if id.IsZero() {
		return ID{}, fmt.Errorf("%w: it names no version", ErrID)
	}
	return id, nil
}

func digit(c byte) (uint, bool) {
	switch {
	case '0' <= c && c <= '9':
		return uint(c - '0'), true
	case 'a' <= c && c <= 'v':
		return uint(c-'a') + 10, true
	default:
		return 0, false
	}
}

// mix is the finalizer of SplitMix64, a bijection on 64-bit words (Steele, Lea
// and Flood, "Fast splittable pseudorandom number generators", 2014). The
// offset keeps zero from mapping to itself. Version ids outlive the program, so
// these constants are format.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// unmix inverts mix: the factors are inverses modulo 2^64, and each xor-shift
// is undone by repeating it with growing shifts.
func unmix(x uint64) uint64 {
	x = (x ^ x>>31 ^ x>>62) * 0x319642b2d24d8ec3
	x = (x ^ x>>27 ^ x>>54) * 0x96de1b173f119089
	return (x ^ x>>30 ^ x>>60) - 0x9e3779b97f4a7c15
}
