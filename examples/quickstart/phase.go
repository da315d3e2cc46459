package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// measure counts what a phase has done.
type measure struct {
	objects, bytes atomic.Int64
	took           time.Duration
}

// buffers are one worker's, for comparing.
type buffers struct{ want, got []byte }

// phase calls do for every original from several goroutines, shows progress on
// a terminal, and prints one line at the end. The first error ends it.
func (d *demo) phase(ctx context.Context, m *measure, title string, originals []original, do func(context.Context, *original, *buffers) error) error {
	began := time.Now()
	stop := d.progress(m, title, len(originals))
	group, ctx := errgroup.WithContext(ctx)
	var next atomic.Int64
	for range workers {
		group.Go(func() error {
			buf := &buffers{make([]byte, 256<<10), make([]byte, 256<<10)}
			for {
				i := int(next.Add(1)) - 1
				if i >= len(originals) {
					return nil
				}
				if err := ctx.Err(); err != nil {
					return err
				}
				o := &originals[i]
				if err := do(ctx, o, buf); err != nil {
					return err
				}
				m.objects.Add(1)
				m.bytes.Add(o.size)
			}
		})
	}
	err := group.Wait()
	m.took = time.Since(began)
	stop()
	if err == nil {
		d.printf("%s: %d objects, %s, %.1f s\n", title, m.objects.Load(), megabytes(m.bytes.Load()), m.took.Seconds())
	}
	return err
}

// progress rewrites one line of the terminal until the function that it
// returns is called.
func (d *demo) progress(m *measure, title string, of int) (stop func()) {
	if !d.show {
		return func() {}
	}
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			d.printf("\r%s: %d of %d objects, %s\x1b[K", title, m.objects.Load(), of, megabytes(m.bytes.Load()))
			select {
			case <-tick.C:
			case <-end:
				d.printf("\r\x1b[K")
				return
			}
		}
	}()
	return func() { close(end); <-ended }
}

// isTerminal reports whether w is a character device, as a terminal is.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }
