package meta

import "github.com/cockroachdb/pebble/v2"

// pebbleIter is an open iterator; it keeps the database open.
type pebbleIter struct {
	x            *pebbleIndex
	it           *pebble.Iterator
	moved        bool
	closed       bool
	seeks, steps int64
	err          error
}

func (i *pebbleIter) SeekGE(key []byte) bool {
	i.seeks++
	i.moved = true
	return i.good(i.it.SeekGE(key))
}

func (i *pebbleIter) Next() bool {
	i.steps++
	if !i.moved {
		i.moved = true
		return i.good(i.it.First())
	}
	return i.good(i.it.Next())
}

// good passes on whether a move found an entry, unless the index has failed.
func (i *pebbleIter) good(found bool) bool {
	if !found {
		if err := i.it.Error(); err != nil {
			i.x.fail.set(err)
		}
	}
	if err := i.x.fail.err(); err != nil {
		i.err = err
		return false
	}
	return found
}

func (i *pebbleIter) Valid() bool { return i.err == nil && i.moved && i.it.Valid() }
func (i *pebbleIter) Key() []byte { return i.it.Key() }

func (i *pebbleIter) Value() ([]byte, error) {
	v, err := i.it.ValueAndErr()
	if err != nil {
		i.x.fail.set(err)
	}
	if err := i.x.fail.err(); err != nil {
		i.err = err
		return nil, err
	}
	return v, nil
}

func (i *pebbleIter) Error() error { return i.err }

func (i *pebbleIter) Close() error {
	if i.closed {
		return i.err
	}
	i.closed = true
	if err := i.it.Close(); err != nil {
		i.x.fail.set(err)
		i.err = i.x.fail.err()
	}
	i.x.seeks.Add(i.seeks)
	i.x.steps.Add(i.steps)
	i.x.leave()
	return i.err
}
