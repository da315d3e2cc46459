package erasure

import "errors"

// Errors that this package wraps. Callers test with errors.Is.
var (
	// ErrGeometry reports a geometry outside k = 1-32, m = 0-16, or text that
	// is not one.
	ErrGeometry = errors.New("bad geometry")
	// ErrBlocks reports blocks whose number or lengths do not fit the codec or
	// each other. It is a mistake of the caller, never rot.
	ErrBlocks = errors.New("blocks do not fit the geometry")
	// ErrTooFew reports that fewer blocks are present than data blocks were
	// written: what is missing cannot be rebuilt.
	ErrTooFew = errors.New("too few blocks to reconstruct")
	// ErrFrame reports a frame whose bytes do not verify: rotten, torn, never
	// written, or written for another place.
	ErrFrame = errors.New("frame does not verify")
	// ErrFormat reports something that this version cannot read: a frame that
	// verifies but names an unknown key id, or a length that no frame has.
	ErrFormat = errors.New("unknown frame format")
	// ErrDurability reports an argument that the durability formulas are not
	// defined for.
	ErrDurability = errors.New("bad durability argument")
)
