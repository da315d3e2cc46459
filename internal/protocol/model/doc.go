// Package model runs random histories of a pool against the decisions of
// package protocol, with no disks and no bytes: what is written is remembered
// piece by piece, with what a crash may leave of it.
//
// A history is a few opens of one pool. Each open sees a random subset of the
// disks, lets protocol.DecideMembership and protocol.Decide judge what they
// show, and carries the decision out as internal/log does: labels, opening
// group, groups, rolls, drops of failing disks. Between any two writes the
// process may be killed or the power may go; unsynced pieces then survive or
// not, each for itself. Disks are replaced by empty ones, rot, and return with
// whatever they held.
//
// A history fails if an open that writes contradicts an acknowledgement or
// anything a reader saw, or if it is refused though few enough disks are absent
// and the membership is decided (docs/format/log.md). Switches take one rule at
// a time out of what the model writes, to show that the histories would notice.
//
// One seed is one history.
package model
