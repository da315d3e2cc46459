package faultdisk

import (
	"errors"
	"path"
	"time"
)

// Op is a set of operations.
type Op uint16

// The operations of a disk and its files. Size of a file is none of them.
const (
	OpCreate Op = 1 << iota
	OpOpen
	OpRead
	OpWrite
	OpSync
	OpExtend // Extend and Reserve
	OpRemove
	OpList
	OpCheck
	OpUsage
	OpClose // of the disk (with the name "") and of files

	OpAll Op = 1<<iota - 1
)

var opNames = [...]string{"create", "open", "read", "write", "sync", "extend", "remove", "list", "check", "usage", "close"}

// String returns the names of the operations in the set, joined by "|".
func (o Op) String() string {
	s := ""
	for i, name := range opNames {
		if o&(1<<i) == 0 {
			continue
		}
		if s != "" {
			s += "|"
		}
		s += name
	}
	return s
}

// Call is one operation on one file.
type Call struct {
	Op   Op
	Name string // of the file; "" for List, Check, Usage and Close of the disk
	Off  int64  // of a read or write, in bytes
	Size int64  // of a read or write, in bytes; the size given to Create, Extend and Reserve
}

// ErrInjected is what a rule returns that must fail and names no error.
var ErrInjected = errors.New("injected fault")

// Rule says which calls to disturb, and how. Which: Ops, Name, then Nth and
// Sticky, then Prob. How: Hook, Delay and Block first, of all rules that fire;
// then the first rule that fires and has any of the others decides the outcome.
type Rule struct {
	Ops    Op
	Name   string  // path.Match pattern of the file's name; "" is any
	Nth    int     // fire on the Nth call that matches, from 1; 0 is every one
	Sticky bool    // with Nth: and on all later ones
	Prob   float64 // fire with this probability; 0 is always

	Err       error           // returned instead of the call
	After     bool            // the call takes place, then Err is returned
	Delay     time.Duration   // wait that long first
	Block     <-chan struct{} // wait until it is closed first
	Torn      int             // WriteAt: only the first Torn bytes are written, then Err is returned
	Lie       bool            // Sync, WriteAt: nil is returned and nothing is done
	Misdirect int64           // WriteAt, ReadAt: the offset is shifted by this, to 0 at the least
	Flip      bool            // ReadAt: one bit of what was read is flipped
	Hook      func(Call)      // called first, without any lock held
}

// decides reports whether r has an outcome for op.
func (r *Rule) decides(op Op) bool {
	switch op {
	case OpRead:
		return r.Err != nil || r.After || r.Misdirect != 0 || r.Flip
	case OpWrite:
		return r.Err != nil || r.After || r.Misdirect != 0 || r.Lie || r.Torn > 0
	case OpSync:
		return r.Err != nil || r.After || r.Lie
	default:
		return r.Err != nil || r.After
	}
}

func (r *Rule) err() error {
	if r.Err == nil {
		return ErrInjected
	}
	return r.Err
}

// active is a rule that was added, with what it has seen.
type active struct {
	Rule
	seen int // under Disk.mu
}

// fires counts the call and reports whether the rule fires on it; roll returns
// a number in [0,1).
func (a *active) fires(c Call, roll func() float64) bool {
	if a.Ops&c.Op == 0 {
		return false
	}
	if a.Name != "" {
		if ok, err := path.Match(a.Name, c.Name); err != nil || !ok {
			return false
		}
	}
	a.seen++
	if a.Nth > 0 && a.seen != a.Nth && (!a.Sticky || a.seen < a.Nth) {
		return false
	}
	return a.Prob == 0 || roll() < a.Prob
}
