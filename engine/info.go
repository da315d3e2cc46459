package engine

import (
	"encoding/hex"
	"time"

	"github.com/cairnstore/cairn/meta"
	"github.com/cairnstore/cairn/versioning"
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

	VersionID string // opaque
	Size      int64  // bytes
	HasHash   bool
	Hash      Hash   // BLAKE3 of the content, if HasHash
	ETag      string // entity tag: PutOptions.ETag, else Hash, else VersionID
	Headers
	// Metadata and Tags are the user's; the caller may keep and change them.
	// Listings leave them nil.
	Metadata map[string]string
	Tags     map[string]string
	Modified time.Time // when it was committed, UTC

	// Survives is set by Put: how many further disks can be lost without
	// losing the object.
	Survives int
}

// infoOf describes a version.
func infoOf(bucket, key string, v *meta.Version) *ObjectInfo {
	info := new(ObjectInfo)
	describe(info, bucket, key, v)
	return info
}

// describe fills info, but for metadata and tags.
func describe(info *ObjectInfo, bucket, key string, v *meta.Version) {
	info.Bucket, info.Key = bucket, key
	info.Size, info.HasHash, info.Hash = v.Size, v.HasHash, v.Hash
	info.Headers, info.Modified = Headers(v.Headers), timeOf(v.Modified)
	// One string for both, as listings make many.
	var buf [versioning.StringLen + 2*len(v.Hash)]byte
	text := v.ID.Append(buf[:0])
	if v.ETag == "" && v.HasHash {
		text = hex.AppendEncode(text, v.Hash[:])
	}
	both := string(text)
	info.VersionID, info.ETag = both[:versioning.StringLen], both[versioning.StringLen:]
	switch {
	case v.ETag != "":
		info.ETag = v.ETag
	case !v.HasHash:
		info.ETag = info.VersionID
	}
}

// describeFully fills info, metadata and tags included.
func describeFully(info *ObjectInfo, bucket, key string, v *meta.Version) (err error) {
	describe(info, bucket, key, v)
	if len(v.Metadata) > 0 {
		info.Metadata, err = meta.DecodeMetadata(v.Metadata)
	}
	if len(v.Tags) > 0 && err == nil {
		info.Tags, err = meta.DecodeTags(v.Tags)
	}
	return err
}
