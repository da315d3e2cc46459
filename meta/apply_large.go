package meta

import (
	"errors"
	"fmt"
)

// Large says how ApplyLarge goes about a large transaction. The zero Large will
// do.
type Large struct {
	// Chunk is the most keys that one batch changes; 0 is DefaultChunk.
	Chunk int
	// Hide is called before the first of several batches becomes visible:
	// readers are to see a Snapshot from now until ApplyLarge returns. It is
	// not called if one batch does it all. Its error ends ApplyLarge with
	// nothing done.
	Hide func() error
	// Final adds to the last batch, the one that moves the position.
	Final func(*Batch)
}

const (
	// DefaultChunk is the most keys that a batch of a large transaction changes.
	DefaultChunk = 10_000
	// chunkBytes ends a chunk of long keys earlier: an index holds a few
	// batches in memory.
	chunkBytes = 2 << 20
)

// Deleted counts what a large transaction deleted.
type Deleted struct {
	Objects int64
	Bytes   int64 // of content
}

// ApplyLarge applies the group g, whose only record is rec, a KindDeletePrefix,
// to x and to s. The record's effect is that of deleting each key under the
// prefix that is current before it. b is scratch; what it holds already goes out
// with the first batch, and it is empty at the end.
//
// It makes the effects in batches of at most l.Chunk keys, so that memory stays
// bounded. All but the last leave the position where it is, and with it an entry
// that names the transaction, see Pending; entries agree with each other after
// each. s changes at the end. After a crash in between, applying the same group
// does what is left and ends in the same index; Deleted then counts what this
// call did.
//
// Errors: ErrApply for a record that cannot follow, with nothing done, and for
// an index that holds a part of another transaction. After any error the index
// may hold a part: it is to be given up, or opened anew and the group applied
// again.
func (s *State) ApplyLarge(x Index, b *Batch, g *Group, rec *Record, pos Position, l Large) (Deleted, error) {
	a := large{s: s, x: x, b: b, g: g, rec: rec, l: l}
	defer b.Reset()
	if err := a.run(pos); err != nil {
		return Deleted{}, fmt.Errorf("record %d (%s): %w", g.First, rec.Kind, err)
	}
	return a.deleted, nil
}

// Pending reports whether the index holds a part of a large transaction, and the
// sequence of its record. After replay none may be left: else the log lacks it.
func Pending(r Reader) (seq uint64, ok bool, err error) {
	p, ok, err := readPending(r)
	return p.Seq, ok, err
}

func readPending(r Reader) (p pending, ok bool, err error) {
	value, err := r.Get(pendingKey, nil)
	if errors.Is(err, ErrNoEntry) {
		return p, false, nil
	}
	if err == nil {
		err = decodePending(&p, value)
	}
	return p, err == nil, err
}

// large is a large transaction on its way.
type large struct {
	s   *State
	x   Index
	b   *Batch
	g   *Group
	rec *Record
	l   Large

	bucket  Bucket // with the usage so far
	deleted Deleted
	upper   []byte // of the heads under the prefix
	next    []byte // the first head that no chunk took; nil: all are taken

	key, value []byte // scratch
}

func (a *large) run(pos Position) error {
	begun, err := a.check(pos)
	if err != nil {
		return err
	}
	part := pending{Seq: a.g.First, Hash: a.g.Hash}
	before := a.x.Position()
	for first := true; ; first = false {
		if err := a.chunk(); err != nil {
			return err
		}
		if a.next == nil {
			break
		}
		if first && a.l.Hide != nil {
			if err := a.l.Hide(); err != nil {
				return err
			}
		}
		begun = true
		a.b.Set(pendingKey, part.append(nil))
		if err := a.x.Apply(a.b, before); err != nil {
			return err
		}
		a.b.Reset()
	}
	if begun {
		a.b.Delete(pendingKey)
	}
	a.b.Set(AppendGroupKey(nil, a.g.First), a.g.Append(nil))
	if a.l.Final != nil {
		a.l.Final(a.b)
	}
	if err := a.x.Apply(a.b, pos); err != nil {
		return err
	}
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	a.s.buckets[a.bucket.ID] = a.bucket
	return nil
}

// check says whether the record can follow, and whether a part of it did
// already.
func (a *large) check(pos Position) (begun bool, err error) {
	refuse := func(format string, args ...any) (bool, error) {
		return false, fmt.Errorf("%w: %s", ErrApply, fmt.Sprintf(format, args...))
	}
	if a.rec.Kind != KindDeletePrefix {
		return refuse("it is no large transaction")
	}
	if a.g.First != a.g.Last || pos.Seq != a.g.Last || pos.Hash != a.g.Hash {
		return refuse("group %d to %d, to be at %d", a.g.First, a.g.Last, pos.Seq)
	}
	if at := a.x.Position().Seq; at >= a.g.First {
		return refuse("the index is at %d already", at)
	}
	if err := a.g.check(); err != nil {
		return refuse("group %d: %v", a.g.First, err)
	}
	if err := CheckPrefix(a.rec.Prefix); err != nil {
		return refuse("%v", err)
	}
	var ok bool
	if a.bucket, ok = a.s.BucketByID(a.rec.Bucket); !ok {
		return refuse("bucket %d does not exist", a.rec.Bucket)
	}
	p, begun, err := readPending(a.x)
	if err != nil {
		return false, err
	}
	if begun && p != (pending{a.g.First, a.g.Hash}) {
		return refuse("the index holds a part of record %d with hash %x", p.Seq, p.Hash)
	}
	q := ListQuery{Bucket: a.rec.Bucket, Prefix: a.rec.Prefix}
	a.next, a.upper = q.bounds()
	return begun, nil
}

// chunk appends to the batch the end of some keys and the usage after it, and
// moves next behind them. It has its own iterator: one that stayed open over
// many batches would keep all of them in memory.
func (a *large) chunk() (err error) {
	limit := a.l.Chunk
	if limit <= 0 {
		limit = DefaultChunk
	}
	it, err := a.x.NewIter(a.next, a.upper)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	start := a.b.Bytes()
	for n := 0; it.Next(); n++ {
		if n > 0 && (n == limit || a.b.Bytes()-start >= chunkBytes) {
			a.next = append(a.next[:0], it.Key()...)
			a.usage()
			return nil
		}
		if err := a.drop(it); err != nil {
			return err
		}
	}
	a.next = nil
	a.usage()
	return it.Error()
}

func (a *large) usage() {
	a.key = AppendUsageKey(a.key[:0], a.bucket.ID)
	a.value = a.bucket.Usage.append(a.value[:0])
	a.b.Set(a.key, a.value)
}

// drop ends the version under the iterator.
func (a *large) drop(it Iterator) error {
	_, key, err := DecodeHeadKey(it.Key())
	if err != nil {
		return err
	}
	value, err := it.Value()
	if err != nil {
		return err
	}
	var v Version
	if err := decodeVersion(&v, value); err != nil {
		return err
	}
	if err := a.bucket.lose(v.Size); err != nil {
		return err
	}
	a.deleted.Objects++
	a.deleted.Bytes += v.Size
	a.b.Delete(it.Key())
	a.key = v.eachRef(a.key, a.bucket.ID, key, func(ref []byte, _ int64) { a.b.Delete(ref) })
	return nil
}
