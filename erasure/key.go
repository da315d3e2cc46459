package erasure

import (
	"encoding/binary"
	"fmt"
	"math"
	"sync"

	"github.com/zeebo/blake3"
)

// Key makes and checks the tags of one shard of one segment of one pool: bytes
// that were written for any other place do not verify. It is safe for
// concurrent use, and one Key should be kept as long as its shard is in use:
// its hashers (about 11 KiB each, one per goroutine inside a call) are pooled.
type Key struct {
	key     [32]byte
	hashers sync.Pool // of *tagger keyed with key
}

// tagger is a hasher with room for what surrounds the data, so that a tag
// needs no allocation.
type tagger struct {
	h    *blake3.Hasher
	head [16]byte
	sum  [TagSize]byte
}

// derivers holds BLAKE3 hashers in DeriveKey mode for keyContext.
var derivers = sync.Pool{New: func() any { return blake3.NewDeriveKey(keyContext) }}

// NewKey derives the key of a shard file: shard is its number within the
// segment, 0 to 65535, and out of that range a panic.
func NewKey(pool PoolID, seg SegmentID, shard int) *Key {
	if shard < 0 || shard > math.MaxUint16 {
		panic(fmt.Sprintf("erasure: shard number %d", shard))
	}
	k := new(Key)
	material := keyMaterial(pool, seg, uint16(shard))
	d := derivers.Get().(*blake3.Hasher)
	d.Reset()
	_, _ = d.Write(material[:]) // never fails
	d.Sum(k.key[:0])
	derivers.Put(d)
	return k
}

// Tag returns the keyed BLAKE3 hash over offset and len(data), each as 8 bytes
// big-endian, and data. Offset is the place in the shard file. It does not
// allocate and keeps no reference to data.
func (k *Key) Tag(offset int64, data []byte) [TagSize]byte {
	t := k.begin(offset, uint64(len(data)))
	_, _ = t.h.Write(data)
	return k.end(t)
}

// TagParts returns the [Key.Tag] of the concatenated parts.
func (k *Key) TagParts(offset int64, parts ...[]byte) [TagSize]byte {
	var length uint64
	for _, p := range parts {
		length += uint64(len(p))
	}
	t := k.begin(offset, length)
	for _, p := range parts {
		_, _ = t.h.Write(p)
	}
	return k.end(t)
}

func (k *Key) begin(offset int64, word uint64) *tagger {
	t, _ := k.hashers.Get().(*tagger)
	if t == nil {
		h, err := blake3.NewKeyed(k.key[:])
		if err != nil {
			panic("erasure: " + err.Error()) // only for a key that is not 32 bytes
		}
		t = &tagger{h: h}
	} else {
		t.h.Reset()
	}
	binary.BigEndian.PutUint64(t.head[:], uint64(offset))
	binary.BigEndian.PutUint64(t.head[8:], word)
	_, _ = t.h.Write(t.head[:])
	return t
}

func (k *Key) end(t *tagger) [TagSize]byte {
	t.h.Sum(t.sum[:0])
	sum := t.sum
	k.hashers.Put(t)
	return sum
}
