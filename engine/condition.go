package engine

import (
	"fmt"
	"time"

	"github.com/cairnstore/cairn/meta"
	"github.com/cairnstore/cairn/versioning"
)

// Conditions must all hold for the current version of the key at the moment of
// the commit, or the call fails with ErrPrecondition and nothing happens; where
// the key has no current version and one is asked for, the error is ErrNotFound
// too. Zero fields ask for nothing. Of many callers whose conditions exclude
// each other exactly one succeeds.
type Conditions struct {
	// IfMatch is the ETag that the current version must have; "*": any, but
	// there must be one.
	IfMatch string
	// IfNoneMatch is the ETag that the current version must not have; "*":
	// there must be none.
	IfNoneMatch string
	IfVersion   string    // VersionID of the current version
	IfSize      *int64    // its size in bytes
	IfModified  time.Time // when it was committed, compared by the second, as in S3
}

// clone returns a copy that shares nothing with c.
func (c *Conditions) clone() *Conditions {
	if c == nil {
		return nil
	}
	o := *c
	if c.IfSize != nil {
		size := *c.IfSize
		o.IfSize = &size
	}
	return &o
}

// compile checks the conditions' own form.
func (c *Conditions) compile() error {
	if c == nil || c.IfVersion == "" {
		return nil
	}
	if _, err := versioning.ParseID(c.IfVersion); err != nil {
		return fmt.Errorf("%w: version id %.80q", ErrVersionID, c.IfVersion)
	}
	return nil
}

// check compares with the current version, nil if there is none.
func (c *Conditions) check(v *meta.Version) error {
	if c == nil {
		return nil
	}
	if v == nil {
		if c.IfMatch == "" && c.IfVersion == "" && c.IfSize == nil && c.IfModified.IsZero() {
			return nil
		}
		return &both{ErrPrecondition, ErrNotFound}
	}
	refuse := func(format string, args ...any) error {
		return fmt.Errorf("%w: "+format, append([]any{ErrPrecondition}, args...)...)
	}
	if c.IfNoneMatch == "*" {
		return refuse("the key exists")
	}
	if c.IfMatch != "" || c.IfNoneMatch != "" {
		tag := infoOf("", "", v).ETag
		switch {
		case c.IfMatch != "" && c.IfMatch != "*" && c.IfMatch != tag:
			return refuse("the ETag is %q, not %.128q", tag, c.IfMatch)
		case c.IfNoneMatch == tag:
			return refuse("the ETag is %q", tag)
		}
	}
	if c.IfVersion != "" && c.IfVersion != v.ID.String() {
		return refuse("the version is %s, not %.80s", v.ID, c.IfVersion)
	}
	if c.IfSize != nil && *c.IfSize != v.Size {
		return refuse("the size is %d, not %d", v.Size, *c.IfSize)
	}
	if !c.IfModified.IsZero() && c.IfModified.Unix() != timeOf(v.Modified).Unix() {
		return refuse("it was modified at %s, not %s", timeOf(v.Modified).Format(time.RFC3339), c.IfModified.UTC().Format(time.RFC3339))
	}
	return nil
}
