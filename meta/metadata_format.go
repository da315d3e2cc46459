package meta

import (
	"fmt"
	"maps"
	"slices"
)

// MaxMetadata is the most user metadata that an object may carry: the bytes of
// all its keys and values together.
const MaxMetadata = 64 << 10

// maxMetadataBlock bounds an encoded block: 64 Ki pairs of one byte each have
// 128 Ki bytes of lengths.
const maxMetadataBlock = 4 * MaxMetadata

// AppendMetadata appends the encoded block of m to b: for each pair, in the
// order of the keys, its key and its value, each after its length. An empty map
// appends nothing. Keys may not be empty and all of it may not exceed
// MaxMetadata; else the error wraps ErrMetadata and b is returned as it was.
func AppendMetadata(b []byte, m map[string]string) ([]byte, error) {
	if len(m) == 0 {
		return b, nil
	}
	total := 0
	for k, v := range m {
		if k == "" {
			return b, fmt.Errorf("%w: a key is empty", ErrMetadata)
		}
		total += len(k) + len(v)
	}
	if total > MaxMetadata {
		return b, fmt.Errorf("%w: %d bytes, the limit is %d", ErrMetadata, total, MaxMetadata)
	}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		b = appendString(b, k)
		b = appendString(b, m[k])
	}
	return b, nil
}

// DecodeMetadata reads a block that AppendMetadata wrote. It returns a map that
// the caller may keep and change, nil for an empty block. The error wraps
// ErrMetadata.
func DecodeMetadata(b []byte) (map[string]string, error) {
	if len(b) == 0 {
		return nil, nil
	}
	if err := checkMetadata(b); err != nil {
		return nil, err
	}
	m := make(map[string]string)
	for d := (decoder{b: b}); len(d.b) > 0; {
		k := d.string()
		m[k] = d.string()
	}
	return m, nil
}

// checkMetadata walks a block without building anything of it.
func checkMetadata(b []byte) error {
	if len(b) > maxMetadataBlock {
		return fmt.Errorf("%w: a block of %d bytes", ErrMetadata, len(b))
	}
	d := decoder{b: b}
	total := 0
	var last []byte
	for len(d.b) > 0 {
		k := d.bytes()
		v := d.bytes()
		if d.bad || len(k) == 0 || string(k) <= string(last) {
			return fmt.Errorf("%w: a pair is cut short, unnamed or out of order", ErrMetadata)
		}
		last = k
		total += len(k) + len(v)
	}
	if total > MaxMetadata {
		return fmt.Errorf("%w: %d bytes, the limit is %d", ErrMetadata, total, MaxMetadata)
	}
	return nil
}
