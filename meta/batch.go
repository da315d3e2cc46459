package meta

import (
	"encoding/binary"
	"fmt"
)

// Batch is a sequence of changes that an index makes as one. Later changes of a
// key win. The zero Batch is empty and ready.
type Batch struct {
	// ops holds for each change a kind, a key and, for a set, a value, each
	// after its length; so a batch is one array, reused for ever.
	ops []byte
	n   int
}

const (
	opSet    = 1
	opDelete = 2
)

// NewBatch returns an empty batch.
func NewBatch() *Batch { return new(Batch) }

// Set stores value under key. Both are copied.
func (b *Batch) Set(key, value []byte) {
	b.ops = append(b.ops, opSet)
	b.ops = appendBytes(b.ops, key)
	b.ops = appendBytes(b.ops, value)
	b.n++
}

// Delete removes key, if it is there. It is copied.
func (b *Batch) Delete(key []byte) {
	b.ops = append(b.ops, opDelete)
	b.ops = appendBytes(b.ops, key)
	b.n++
}

// Reset empties the batch and keeps its memory.
func (b *Batch) Reset() { b.ops, b.n = b.ops[:0], 0 }

// Len returns the number of changes.
func (b *Batch) Len() int { return b.n }

// Bytes returns the size of the changes in bytes.
func (b *Batch) Bytes() int { return len(b.ops) }

// each calls set and del for the changes in order, with slices that are valid
// until the batch changes.
func (b *Batch) each(set func(key, value []byte), del func(key []byte)) {
	for rest := b.ops; len(rest) > 0; {
		kind := rest[0]
		var key, value []byte
		key, rest = cutBytes(rest[1:])
		switch kind {
		case opSet:
			value, rest = cutBytes(rest)
			set(key, value)
		case opDelete:
			del(key)
		default:
			panic(fmt.Sprintf("meta: batch holds kind %d", kind))
		}
	}
}

func cutBytes(b []byte) (p, rest []byte) {
	n, w := binary.Uvarint(b)
	end := w + int(n)
	return b[w:end:end], b[end:]
}

// batchMark is a point that a batch can be taken back to.
type batchMark struct{ ops, n int }

func (b *Batch) mark() batchMark { return batchMark{len(b.ops), b.n} }

func (b *Batch) rollback(m batchMark) { b.ops, b.n = b.ops[:m.ops], m.n }
