package meta

import (
	"bytes"
	"fmt"

	"github.com/zeebo/blake3"

	"github.com/cairnstore/cairn/erasure"
)

// The marker file says that a directory is an index of a pool. Without it
// nothing in a directory is touched. It is 64 bytes:
//
//	 0  magic, 11 bytes
//	11  index format version, 1 byte
//	12  zero, 4 bytes
//	16  pool id, 16 bytes
//	32  BLAKE3 of the 32 bytes before
const (
	markerName  = "CAIRN-INDEX"
	markerTemp  = "CAIRN-INDEX.tmp"
	markerMagic = "cairn index"
	markerSize  = 64
)

func appendMarker(b []byte, pool erasure.PoolID) []byte {
	start := len(b)
	b = append(b, markerMagic...)
	b = append(b, indexVersion, 0, 0, 0, 0)
	b = append(b, pool[:]...)
	sum := blake3.Sum256(b[start:])
	return append(b, sum[:]...)
}

// decodeMarker returns the pool that a marker names, and the version of the
// index beside it: this one or an older one. A newer version is a *FormatError,
// also where the rest of it makes no sense to this one; anything else that is
// wrong wraps ErrEntry.
func decodeMarker(b []byte) (pool erasure.PoolID, version byte, err error) {
	if len(b) != markerSize || !bytes.HasPrefix(b, []byte(markerMagic)) {
		return pool, 0, fmt.Errorf("%w: marker of %d bytes", ErrEntry, len(b))
	}
	if sum := blake3.Sum256(b[:32]); !bytes.Equal(sum[:], b[32:]) {
		return pool, 0, fmt.Errorf("%w: marker does not match its checksum", ErrEntry)
	}
	version = b[len(markerMagic)]
	if version > indexVersion {
		return pool, version, &FormatError{What: "index", Have: uint64(version), Want: indexVersion}
	}
	copy(pool[:], b[16:])
	return pool, version, nil
}
