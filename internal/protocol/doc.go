// Package protocol holds the decisions of the log protocol: which disks form
// the pool, where the log ends, what must be written again before it is shown,
// and when a store must refuse to be written. It is pure: facts read from
// disks go in, decisions come out. internal/log gathers the facts and carries
// the decisions out; internal/protocol/model runs random histories of crashes,
// losses and returns against the same decisions.
//
// docs/format/log.md states the rules; the numbers in comments are theirs.
package protocol

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cairnstore/cairn/disk"
)

// Errors that make a store read-only. Callers test with errors.Is.
var (
	// ErrStaleQuorum reports that half or fewer of the newest view are present.
	ErrStaleQuorum = errors.New("half or fewer of the pool's disks are present")
	// ErrLogMissing reports that acknowledged groups may lie on absent disks.
	ErrLogMissing = errors.New("part of the log is missing")
	// ErrEpochConflict reports two epochs with one number of which neither can
	// be shown never to have come into force.
	ErrEpochConflict = errors.New("two epochs with the same number")
)

// Refusal says why a store may only be read, and which disks would help.
// It wraps ErrStaleQuorum, ErrLogMissing or ErrEpochConflict.
type Refusal struct {
	Err    error
	Reason string
	Disks  []disk.ID // absent disks whose return may settle it
}

func (r *Refusal) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v: %s", r.Err, r.Reason)
	if len(r.Disks) > 0 {
		b.WriteString("; absent disks")
		for _, d := range r.Disks {
			b.WriteString(" " + d.String())
		}
	}
	return b.String()
}

func (r *Refusal) Unwrap() error { return r.Err }

func refuse(err error, disks []disk.ID, format string, args ...any) *Refusal {
	return &Refusal{Err: err, Reason: fmt.Sprintf(format, args...), Disks: slices.Clone(disks)}
}
