package meta

import "strings"

// text makes many strings in few allocations. The zero text is ready.
type text struct{ b strings.Builder }

// Sizes of what the strings are cut from. A string that is kept keeps all of
// its piece.
const (
	minText = 1 << 10
	maxText = 32 << 10
)

// keep returns b as a string.
func (t *text) keep(b []byte) string {
	if t.b.Cap()-t.b.Len() < len(b) {
		size := min(maxText, max(minText, 4*t.b.Cap()))
		t.b = strings.Builder{} // the strings so far have what they are in
		t.b.Grow(max(size, len(b)))
	}
	start := t.b.Len()
	t.b.Write(b)
	return t.b.String()[start:]
}
