package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/cairnstore/cairn/engine"
)

// readAll compares every object with its original.
func (d *demo) readAll(ctx context.Context, e *engine.Engine) error {
	before := e.Metrics().Reconstructed
	err := d.phase(ctx, &d.read, "Read with 4 of 6 disks", d.source.originals, d.comparer(e))
	d.rebuilt = e.Metrics().Reconstructed - before
	return err
}

// readSample compares the large object and every sampleEvery-th other one.
func (d *demo) readSample(ctx context.Context, e *engine.Engine) error {
	if s := e.Status(); s.ReadOnly {
		return fmt.Errorf("the store came back read-only: %w", s.Reason)
	}
	sample := []original{d.source.originals[0]}
	for i := sampleEvery; i < len(d.source.originals); i += sampleEvery {
		sample = append(sample, d.source.originals[i])
	}
	d.printf("Closed, and reopened on the 4 disks in %.2f s\n", d.reopen.Seconds())
	return d.phase(ctx, &d.sample, "Read a sample again", sample, d.comparer(e))
}

// comparer returns a function that reads one object back. What differs is
// noted and does not end the phase; a done context does.
func (d *demo) comparer(e *engine.Engine) func(context.Context, *original, *buffers) error {
	b := e.Bucket(bucketName)
	return func(ctx context.Context, o *original, buf *buffers) error {
		if err := compare(ctx, b, o, buf); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			d.losses.add(fmt.Errorf("%s: %w", o.key, err))
		}
		return nil
	}
}

// compare reads an object beside its original, a piece at a time.
func compare(ctx context.Context, b *engine.Bucket, o *original, buf *buffers) (err error) {
	obj, err := b.Get(ctx, o.key, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, obj.Close()) }()
	if got, want := obj.Info().ContentType, contentType(o.key); got != want {
		return fmt.Errorf("content type is %q, not %q", got, want)
	}
	r := o.open()
	defer func() { err = errors.Join(err, r.Close()) }()
	for at := int64(0); ; {
		n, errWant := io.ReadFull(r, buf.want)
		m, errGot := io.ReadFull(obj, buf.got)
		if errGot != nil && errGot != io.EOF && errGot != io.ErrUnexpectedEOF {
			return errGot
		}
		if errWant != nil && errWant != io.EOF && errWant != io.ErrUnexpectedEOF {
			return fmt.Errorf("the original: %w", errWant)
		}
		if !bytes.Equal(buf.want[:n], buf.got[:m]) {
			return fmt.Errorf("differs from %s between bytes %d and %d", o.parts[0], at, at+int64(max(n, m)))
		}
		if at += int64(n); n < len(buf.want) {
			return nil
		}
	}
}

// losses collects what was not read back as it was stored.
type losses struct {
	mu    sync.Mutex
	n     int
	first []error
}

func (l *losses) add(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.n++; len(l.first) < 5 {
		l.first = append(l.first, err)
	}
}

// err returns nil if nothing was lost.
func (l *losses) err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.n == 0 {
		return nil
	}
	return fmt.Errorf("%d reads were not what was stored, the first of them:\n%w", l.n, errors.Join(l.first...))
}
