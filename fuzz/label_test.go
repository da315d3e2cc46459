package fuzz

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/zeebo/blake3"

	"github.com/cairnstore/cairn/internal/label"
)

const (
	labelHead = 16
	labelSum  = 32
)

// FuzzLabel reads bytes as a slot of a label file, and as the body of a copy
// whose checksum is right.
func FuzzLabel(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte, at uint16, bit byte) {
		checkLabel(t, b)
		if len(b) > label.SlotSize-labelHead-labelSum {
			return
		}
		slot := sealLabel(label.Version, b)
		if !checkLabel(t, slot) {
			return
		}
		slot[int(at)%len(slot)] ^= 1 << (bit % 8)
		_, err := label.Decode(slot)
		require.ErrorIs(t, err, label.ErrLabel, "a flipped bit was accepted")
		_, err = label.Decode(sealLabel(label.Version+1, b))
		var newer *label.FormatError
		require.ErrorAs(t, err, &newer)
		require.EqualValues(t, label.Version+1, newer.Have)
	})
}

func checkLabel(t *testing.T, slot []byte) bool {
	l, err := label.Decode(slot)
	if err != nil {
		var newer *label.FormatError
		require.True(t, errors.Is(err, label.ErrLabel) || errors.As(err, &newer), "%v", err)
		return false
	}
	ids := len(l.Members)
	for _, v := range l.Beside {
		ids += len(v.Members)
	}
	for _, s := range l.Segments {
		ids += len(s.Disks)
	}
	require.LessOrEqual(t, ids*16+len(l.Segments)*25+len(l.Beside)*16, len(slot))
	again, err := label.Append(nil, l)
	require.NoError(t, err)
	back, err := label.Decode(again)
	require.NoError(t, err)
	require.Equal(t, l, back)
	return true
}

// sealLabel puts a body between head and checksum.
func sealLabel(version uint16, body []byte) []byte {
	b := binary.BigEndian.AppendUint16([]byte("cairnlbl"), version)
	b = binary.BigEndian.AppendUint32(append(b, 0, 0), uint32(len(body)))
	b = append(b, body...)
	sum := blake3.Sum256(b)
	return append(b, sum[:]...)
}

func labelSeeds(t testing.TB) map[string][]any {
	whole := golden(t, "internal/label/testdata/label.golden")
	body := whole[labelHead : len(whole)-labelSum]
	seeds := spoiled(body, uint16(40), byte(3))
	seeds["whole"] = []any{whole, uint16(0), byte(0)}
	many := append(body[:len(body):len(body)], make([]byte, 8)...)
	binary.BigEndian.PutUint16(many[92:], 4097) // members
	seeds["members"] = []any{many, uint16(0), byte(0)}
	return seeds
}
