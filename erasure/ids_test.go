package erasure

import (
	"slices"
	"testing"
)

func TestSegmentIDEncoding(t *testing.T) {
	id := SegmentID{Epoch: 0x0102, Random: 0xA1B2C3D4E5F60718, Counter: 0x0A}
	b := id.Append([]byte{0xFF})
	equal(t, []byte{0xFF, 0, 0, 0, 0, 0, 0, 1, 2, 0xA1, 0xB2, 0xC3, 0xD4, 0xE5, 0xF6, 0x07, 0x18, 0, 0, 0, 0, 0, 0, 0, 0x0A}, b)
	equal(t, SegmentIDSize, len(b)-1)
	equal(t, id, DecodeSegmentID(b[1:]))
	equal(t, "00000102-a1b2c3d4e5f60718-0000000a", id.String())
	equal(t, false, id.IsZero())
	equal(t, true, SegmentID{}.IsZero())
}

func TestSegmentIDOrder(t *testing.T) {
	ids := []SegmentID{{1, 1, 1}, {1, 2, 1}, {1, 1, 2}, {2, 0, 0}, {1 << 63, 0, 0}}
	for i := range ids {
		for j := range ids {
			want := slices.Compare([]int{i}, []int{j})
			equal(t, want, ids[i].Compare(ids[j]), "%v and %v", ids[i], ids[j])
		}
	}
}
