package meta

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
)

// Limits of a bucket's settings, beside MaxSettings for their encoded block.
const (
	MaxBucketTags   = 50 // S3's
	MaxDocuments    = 64
	MaxDocumentName = 128 // bytes
)

// Settings are what a bucket carries beside its objects. The encoded block is
// opaque to the rest of this package.
type Settings struct {
	Tags      map[string]string
	Documents map[string][]byte
}

const settingsVersion = 1

// AppendSettings appends the encoded block of s to b: a version byte, the tags
// and the documents, each in the order of their keys, and room for tagged
// fields. Settings beyond the limits are ErrTags or ErrSettings, and b is
// returned as it was.
func AppendSettings(b []byte, s *Settings) ([]byte, error) {
	if len(s.Tags) > MaxBucketTags {
		return b, fmt.Errorf("%w: %d of them on a bucket, the limit is %d", ErrTags, len(s.Tags), MaxBucketTags)
	}
	if len(s.Documents) > MaxDocuments {
		return b, fmt.Errorf("%w: %d documents, the limit is %d", ErrSettings, len(s.Documents), MaxDocuments)
	}
	start := len(b)
	b = append(b, settingsVersion)
	b = binary.AppendUvarint(b, uint64(len(s.Tags)))
	for _, k := range slices.Sorted(maps.Keys(s.Tags)) {
		if err := checkTag(k, s.Tags[k]); err != nil {
			return b[:start], err
		}
		b = appendString(b, k)
		b = appendString(b, s.Tags[k])
	}
	b = binary.AppendUvarint(b, uint64(len(s.Documents)))
	for _, k := range slices.Sorted(maps.Keys(s.Documents)) {
		if k == "" || len(k) > MaxDocumentName {
			return b[:start], fmt.Errorf("%w: a document's name of %d bytes, want 1 to %d", ErrSettings, len(k), MaxDocumentName)
		}
		b = appendString(b, k)
		b = appendBytes(b, s.Documents[k])
		if len(b)-start > MaxSettings {
			return b[:start], fmt.Errorf("%w: more than %d bytes in all", ErrSettings, MaxSettings)
		}
	}
	return b, nil
}

// DecodeSettings reads a block that AppendSettings wrote; an empty one is that
// of no settings. It keeps nothing of b. A newer version is a *FormatError,
// anything else that is wrong wraps ErrSettings.
func DecodeSettings(b []byte) (*Settings, error) {
	s := &Settings{Tags: map[string]string{}, Documents: map[string][]byte{}}
	if len(b) == 0 {
		return s, nil
	}
	d := decoder{b: b}
	if err := d.leading("bucket settings", settingsVersion); err != nil {
		return nil, err
	}
	last := ""
	for i := range d.length(2) {
		k := d.string()
		v := d.string()
		if i > 0 && k <= last || i >= MaxBucketTags || checkTag(k, v) != nil {
			d.fail()
		}
		s.Tags[k], last = v, k
	}
	last = ""
	for i := range d.length(2) {
		k := d.string()
		v := slices.Clone(d.bytes())
		if k <= last || i >= MaxDocuments || len(k) > MaxDocumentName {
			d.fail()
		}
		s.Documents[k], last = v, k
	}
	if d.tagged(); d.bad || len(b) > MaxSettings {
		return nil, fmt.Errorf("%w: block of %d bytes", ErrSettings, len(b))
	}
	return s, nil
}
