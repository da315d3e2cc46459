package erasure

import (
	"fmt"
	"strconv"
	"strings"
)

// Limits of a Geometry.
const (
	MaxData   = 32
	MaxParity = 16
)

// Geometry says how a segment is spread: Data (k) shards that hold the bytes
// themselves and Parity (m) that any m lost shards are rebuilt from.
type Geometry struct {
	Data   int // k, 1-32
	Parity int // m, 0-16
}

// ParseGeometry reads what [Geometry.String] prints, "4+2", and nothing else.
// The error wraps [ErrGeometry].
func ParseGeometry(s string) (Geometry, error) {
	data, parity, ok := strings.Cut(s, "+")
	if !ok {
		return Geometry{}, fmt.Errorf("%w: %q is not of the form k+m", ErrGeometry, s)
	}
	k, errK := strconv.Atoi(data)
	m, errM := strconv.Atoi(parity)
	g := Geometry{Data: k, Parity: m}
	// Printing it again refuses signs, spaces and leading zeros: one spelling each.
	if errK != nil || errM != nil || g.String() != s {
		return Geometry{}, fmt.Errorf("%w: %q is not of the form k+m", ErrGeometry, s)
	}
	if err := g.Validate(); err != nil {
		return Geometry{}, err
	}
	return g, nil
}

// Validate returns nil or an error that wraps [ErrGeometry] and names the
// limit that g breaks.
func (g Geometry) Validate() error {
	if g.Data < 1 || g.Data > MaxData {
		return fmt.Errorf("%w: %s: %d data shards, not 1 to %d", ErrGeometry, g, g.Data, MaxData)
	}
	if g.Parity < 0 || g.Parity > MaxParity {
		return fmt.Errorf("%w: %s: %d parity shards, not 0 to %d", ErrGeometry, g, g.Parity, MaxParity)
	}
	return nil
}

// Shards returns k + m, the number of disks that a segment takes.
func (g Geometry) Shards() int { return g.Data + g.Parity }

// String returns g as "4+2".
func (g Geometry) String() string {
	return strconv.Itoa(g.Data) + "+" + strconv.Itoa(g.Parity)
}

// Narrow returns the geometry for a new segment when only disks disks are
// healthy: k is given up, m never, so an acknowledgement still survives m
// losses. On five disks 4+2 becomes 3+2, on two 2+1 becomes 1+1. With enough
// disks g is returned as it is; with fewer than m+1 the answer is false.
func (g Geometry) Narrow(disks int) (Geometry, bool) {
	if disks < g.Parity+1 {
		return Geometry{}, false
	}
	return Geometry{Data: min(g.Data, disks-g.Parity), Parity: g.Parity}, true
}
