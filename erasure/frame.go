package erasure

import (
	"bytes"
	"fmt"
)

// SealFrame completes the frame that will stand at offset in the shard file.
// frame is FrameLen(dataLen) bytes, offset a multiple of [Align], and the data
// is already in frame[:dataLen]. It zeroes the padding and writes the trailer;
// it does not allocate. Other lengths are a panic.
func (k *Key) SealFrame(frame []byte, dataLen int, offset int64) {
	if dataLen < 0 || dataLen > FrameData || len(frame) != FrameLen(dataLen) {
		panic(fmt.Sprintf("erasure: sealing %d bytes in a frame of %d", dataLen, len(frame)))
	}
	end := len(frame) - TrailerSize
	clear(frame[dataLen:end])
	t := trailer{length: uint32(dataLen), keyID: noKeyID}
	t.tag = k.tagFrame(offset, &t, frame[:dataLen])
	t.encode(frame[end:])
}

// OpenFrame verifies a whole frame read from offset of the shard file and
// returns its data, which aliases frame. It does not allocate unless it fails:
//
//   - [ErrFrame]: the bytes are not those that were sealed for this place
//     (any bit of data, padding or trailer, or the whole of it).
//   - [ErrFormat]: the frame verifies but names a key id that this version
//     does not know, or len(frame) is no frame's length.
func (k *Key) OpenFrame(frame []byte, offset int64) ([]byte, error) {
	if len(frame) == 0 || len(frame) > FrameSize || len(frame)%Align != 0 {
		return nil, fmt.Errorf("%w: %d bytes at offset %d are no whole frame", ErrFormat, len(frame), offset)
	}
	end := len(frame) - TrailerSize
	t := decodeTrailer(frame[end:])
	// A length that does not give this frame's is rot as any other. Checked in
	// 64 bits, for it may be anything.
	if int64(t.length) > int64(end) || FrameLen(int(t.length)) != len(frame) {
		return nil, frameError(offset)
	}
	data := frame[:t.length:t.length]
	if k.tagFrame(offset, &t, data) != t.tag || !isZero(frame[t.length:end]) {
		return nil, frameError(offset)
	}
	// After the tag, so that a rotten key id is not taken for a newer format.
	if t.keyID != noKeyID {
		return nil, fmt.Errorf("%w: frame at offset %d has key id %d, known is %d", ErrFormat, offset, t.keyID, noKeyID)
	}
	return data, nil
}

func (k *Key) tagFrame(offset int64, t *trailer, data []byte) [TagSize]byte {
	h := k.begin(offset, t.word())
	_, _ = h.h.Write(data)
	return k.end(h)
}

func frameError(offset int64) error {
	return fmt.Errorf("%w: offset %d", ErrFrame, offset)
}

// isZero reports whether b, shorter than Align, is all zeros.
func isZero(b []byte) bool { return bytes.Equal(b, zeros[:len(b)]) }
