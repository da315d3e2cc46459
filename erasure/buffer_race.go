//go:build race

package erasure

// poison overwrites released memory, so that tests under the race detector see
// a use after Release as wrong bytes.
func poison(b []byte) {
	for i := range b {
		b[i] = 0xDB
	}
}
