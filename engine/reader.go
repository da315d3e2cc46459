package engine

import (
	"errors"

	"github.com/cairnstore/cairn/meta"
)

// read runs f, perhaps more than once, with the index as callers may see it:
// while a large transaction is applied, as it was before.
func (e *Engine) read(f func(meta.Reader) error) error {
	for {
		turn := e.turns.Load()
		before := e.before.Load()
		if before == nil {
			// A transaction that began meanwhile may have been seen in part.
			err := f(e.index)
			if gone := e.indexGone.Load(); gone != nil {
				return *gone // perhaps in the middle of one
			}
			if e.turns.Load() == turn {
				return err
			}
			continue
		}
		// The transaction may have ended meanwhile.
		if err := f(*before); !errors.Is(err, meta.ErrClosed) || e.before.Load() == before {
			return err
		}
	}
}

// hide makes readers look at s until show.
func (e *Engine) hide(s meta.Snapshot) {
	e.before.Store(&s)
	e.turns.Add(1)
}

func (e *Engine) show() { e.before.Store(nil) }

// head reads the current version of key into v;
// meta.ErrNoEntry if it has none. scratch is as in meta.HeadInto.
func (e *Engine) head(bucket uint64, key string, scratch []byte, v *meta.Version) error {
	// Not by read: the hot path is to allocate nothing.
	if turn := e.turns.Load(); e.before.Load() == nil {
		err := meta.HeadInto(e.index, bucket, key, scratch, v)
		if e.turns.Load() == turn && e.indexGone.Load() == nil {
			return err
		}
	}
	return e.read(func(r meta.Reader) error { return meta.HeadInto(r, bucket, key, scratch, v) })
}
