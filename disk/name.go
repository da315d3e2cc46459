package disk

import "fmt"

// MaxName is the length of the longest file name, in bytes.
const MaxName = 128

// ValidName returns nil if name may name a file of a Disk: 1 to MaxName bytes
// of [a-z0-9.-], the first not a dot. Otherwise the error wraps [ErrName] and
// quotes at most MaxName bytes of the name.
//
// The alphabet is the one that every file system keeps apart: no upper case to
// be folded, no separator, no name that is hidden or means a directory.
func ValidName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: empty", ErrName)
	case len(name) > MaxName:
		return fmt.Errorf("%w: %q... is %d bytes long, the limit is %d", ErrName, name[:MaxName], len(name), MaxName)
	case name[0] == '.':
		return fmt.Errorf("%w: %q begins with a dot", ErrName, name)
	}
	for i := range len(name) {
		c := name[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '.' && c != '-' {
			return fmt.Errorf("%w: %q has %q at byte %d", ErrName, name, c, i)
		}
	}
	return nil
}
