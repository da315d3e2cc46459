package segment

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/cairnstore/cairn/erasure"
)

const namePrefix = "s-"

// FileName returns the name of a shard file, "s-<id>.<shard>": the id as its
// String says and the shard in two hexadecimal digits.
func FileName(id erasure.SegmentID, shard int) string {
	return fmt.Sprintf("%s%s.%02x", namePrefix, id, shard)
}

// ParseFileName reads what [FileName] writes, and nothing else.
func ParseFileName(name string) (id erasure.SegmentID, shard int, ok bool) {
	rest, found := strings.CutPrefix(name, namePrefix)
	if !found {
		return id, 0, false
	}
	rest, last, found := strings.Cut(rest, ".")
	parts := strings.Split(rest, "-")
	if !found || len(parts) != 3 {
		return id, 0, false
	}
	n, err := strconv.ParseUint(last, 16, 8)
	if err != nil {
		return id, 0, false
	}
	for i, to := range []*uint64{&id.Epoch, &id.Random, &id.Counter} {
		if *to, err = strconv.ParseUint(parts[i], 16, 64); err != nil {
			return erasure.SegmentID{}, 0, false
		}
	}
	// Printing it again refuses upper case, signs and other numbers of digits.
	if FileName(id, int(n)) != name {
		return erasure.SegmentID{}, 0, false
	}
	return id, int(n), true
}
