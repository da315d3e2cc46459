package engine

import (
	"encoding/hex"
	"time"

	"github.com/cairnstore/cairn/meta"
)

// Hash is a BLAKE3 hash of an object's content.
type Hash [32]byte

// String returns the hash in lower-case hexadecimal, as b3sum prints it.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// ObjectInfo describes a version of an object, or a common prefix of a listing.
type ObjectInfo struct {
	Bucket string
	Key    string // of a common prefix: the prefix, up to and with the delimiter
	// IsPrefix marks a common prefix; then only Bucket and Key are set.
	IsPrefix bool

	VersionID   string // opaque
	Size        int64  // bytes
	Hash        Hash   // BLAKE3 of the content
	ContentType string
	// Metadata is the user's; the caller may keep and change it. Listings
	// leave it nil.
	Metadata map[string]string
	Modified time.Time // when it was committed, UTC

	// Survives is set by Put: how many further disks can be lost without
	// losing the object.
	Survives int
}

// infoOf describes a version.
func infoOf(bucket, key string, v *meta.Version) *ObjectInfo {
	return &ObjectInfo{
		Bucket: bucket, Key: key, VersionID: v.ID.String(), Size: v.Size, Hash: v.Hash,
		ContentType: v.Headers.ContentType, Modified: timeOf(v.Modified),
	}
}

// fullInfoOf describes a version, metadata included.
func fullInfoOf(bucket, key string, v *meta.Version) (*ObjectInfo, error) {
	info := infoOf(bucket, key, v)
	var err error
	if len(v.Metadata) > 0 {
		info.Metadata, err = meta.DecodeMetadata(v.Metadata)
	}
	return info, err
}
