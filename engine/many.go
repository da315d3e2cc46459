package engine

import (
	"context"
	"errors"
	"iter"
)

// GetManyOptions bound what GetMany does at once. Zero values mean the defaults
// given; nil means them all.
type GetManyOptions struct {
	Memory   int64 // bytes fetched and not yet consumed; 64 MiB. Reading on in a large object takes as any Read.
	Parallel int   // objects fetched at once; 16, less where Memory does not hold PackMax of each
}

// GetMany reads many objects, in parallel, and yields them in the order of
// keys. Each is yielded with its first Memory/Parallel bytes in memory, so most
// are there whole; the rest is read as it is asked for. An object is the loop's
// for one turn: GetMany closes it. An error, beside a nil Object, is that of one
// key, which the *Error names, and the loop goes on; only when ctx is done its
// error is the last. keys is drawn from by the loop's goroutine.
func (b *Bucket) GetMany(ctx context.Context, keys iter.Seq[string], opts *GetManyOptions) iter.Seq2[*Object, error] {
	var o GetManyOptions
	if opts != nil {
		o = *opts
	}
	if o.Parallel <= 0 {
		o.Parallel = 16
	}
	if o.Memory <= 0 {
		o.Memory = 64 << 20
	}
	o.Parallel = int(min(int64(o.Parallel), max(1, o.Memory/PackMax))) // packed objects are read whole
	return func(yield func(*Object, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		fetch := func(key string) (*Object, error) { return b.fetch(ctx, key, o.Memory/int64(o.Parallel)) }
		for obj, err := range ordered(keys, o.Parallel, fetch, closeObject) {
			more := yield(obj, err)
			closeObject(obj)
			if !more || endedBy(ctx, err) {
				cancel() // before ordered waits for the fetches that are under way
				return
			}
		}
	}
}

// endedBy reports whether err says that ctx is done.
func endedBy(ctx context.Context, err error) bool {
	return ctx.Err() != nil && errors.Is(err, ctx.Err())
}

func closeObject(o *Object) {
	if o != nil {
		_ = o.Close() // there is nothing that could fail
	}
}

// fetch opens the current version of key and reads its first n bytes.
func (b *Bucket) fetch(ctx context.Context, key string, n int64) (*Object, error) {
	o, err := b.Get(ctx, key, nil)
	if err != nil || o.packed != nil || o.length == 0 {
		return o, err
	}
	if err := o.ahead.fill(0, n); err != nil {
		closeObject(o)
		return nil, o.fail(o.lost(err))
	}
	return o, nil
}

// HeadMany describes the current versions of many keys, in the order of keys,
// looking some of them up at once. An error, beside a nil ObjectInfo, is that of
// one key, which the *Error names, and the loop goes on; only when ctx is done
// its error is the last.
func (b *Bucket) HeadMany(ctx context.Context, keys iter.Seq[string]) iter.Seq2[*ObjectInfo, error] {
	return func(yield func(*ObjectInfo, error) bool) {
		head := func(key string) (*ObjectInfo, error) { return b.Head(ctx, key, nil) }
		for info, err := range ordered(keys, headsAtOnce, head, nil) {
			if !yield(info, err) || endedBy(ctx, err) {
				return
			}
		}
	}
}

const headsAtOnce = 16

// ordered calls fn for the keys, width of them at once, and yields what it
// returns in the order of keys. What was not yielded goes to drop, if that is not
// nil. No call is under way when it returns.
func ordered[T any](keys iter.Seq[string], width int, fn func(string) (T, error), drop func(T)) iter.Seq2[T, error] {
	type result struct {
		value T
		err   error
	}
	// lane takes one key after another; the keys go around the lanes.
	type lane struct {
		in  chan string
		out chan result
	}
	return func(yield func(T, error) bool) {
		next, stop := iter.Pull(keys)
		defer stop()
		var lanes []lane
		asked, yielded := 0, 0 // keys
		defer func() {
			for ; yielded < asked; yielded++ {
				if r := <-lanes[yielded%width].out; drop != nil {
					drop(r.value)
				}
			}
			for _, l := range lanes {
				close(l.in)
			}
		}()
		for {
			for asked < yielded+width {
				key, ok := next()
				if !ok {
					break
				}
				if len(lanes) < width {
					l := lane{make(chan string, 1), make(chan result, 1)}
					lanes = append(lanes, l)
					go func() {
						for key := range l.in {
							value, err := fn(key)
							l.out <- result{value, err}
						}
					}()
				}
				lanes[asked%width].in <- key
				asked++
			}
			if yielded == asked {
				return
			}
			r := <-lanes[yielded%width].out
			yielded++
			if !yield(r.value, r.err) {
				return
			}
		}
	}
}
