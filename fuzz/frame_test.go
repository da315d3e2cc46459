package fuzz

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/erasure"
)

var frameKey = erasure.NewKey(erasure.PoolID{1}, erasure.SegmentID{Epoch: 2, Random: 3, Counter: 4}, 5)

// FuzzFrame opens bytes as a frame, and seals them and opens that.
func FuzzFrame(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte, offset int64, at uint16, bit byte) {
		data, err := frameKey.OpenFrame(b, offset)
		if err == nil {
			again := make([]byte, len(b))
			copy(again, data)
			frameKey.SealFrame(again, len(data), offset)
			require.Equal(t, b, again)
		} else {
			require.Nil(t, data)
			require.True(t, errors.Is(err, erasure.ErrFrame) || errors.Is(err, erasure.ErrFormat), "%v", err)
		}
		n := min(len(b), erasure.FrameData)
		frame := make([]byte, erasure.FrameLen(n))
		copy(frame, b[:n])
		frameKey.SealFrame(frame, n, offset)
		data, err = frameKey.OpenFrame(frame, offset)
		require.NoError(t, err)
		require.True(t, bytes.Equal(b[:n], data))
		_, err = frameKey.OpenFrame(frame, offset+erasure.Align)
		require.ErrorIs(t, err, erasure.ErrFrame, "accepted in another place")
		frame[int(at)%len(frame)] ^= 1 << (bit % 8)
		_, err = frameKey.OpenFrame(frame, offset)
		require.ErrorIs(t, err, erasure.ErrFrame, "a flipped bit was accepted")
	})
}

// FuzzGeometry reads strings as geometries.
func FuzzGeometry(f *testing.F) {
	f.Fuzz(func(t *testing.T, s string) {
		g, err := erasure.ParseGeometry(s)
		if err != nil {
			require.ErrorIs(t, err, erasure.ErrGeometry)
			return
		}
		require.NoError(t, g.Validate())
		require.Equal(t, s, g.String())
		require.LessOrEqual(t, g.Shards(), 48)
	})
}

func frameSeeds(t testing.TB) map[string][]any {
	two := golden(t, "erasure/testdata/frame_v1.bin")
	seeds := spoiled(two[:4096], int64(4096), uint16(9), byte(0))
	sealed := make([]byte, 4096)
	copy(sealed, "a frame of this key")
	frameKey.SealFrame(sealed, 19, 8192)
	seeds["sealed"] = []any{sealed, int64(8192), uint16(4095), byte(7)}
	long := bytes.Clone(sealed)
	binary.BigEndian.PutUint32(long[4056:], 1<<32-1)
	seeds["huge"] = []any{long, int64(8192), uint16(0), byte(0)}
	return seeds
}

func geometrySeeds(testing.TB) map[string][]any {
	return map[string][]any{
		"real": {"4+2"}, "one": {"1+0"}, "most": {"32+16"}, "padded": {"04+2"}, "three": {"4+2+1"},
		"sign": {"+4+2"}, "overflow": {"18446744073709551620+2"}, "empty": {""},
	}
}
