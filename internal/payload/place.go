package payload

import (
	"context"
	"fmt"

	"github.com/cairnstore/cairn/erasure"
)

// alloc gives a fitted window its place in a lane.
func (w *window) alloc(ctx context.Context, l *lane) error {
	g, off, err := l.alloc(ctx, w.length)
	if err != nil {
		return err
	}
	w.seg, w.off = g, off
	return nil
}

// place writes a window to its place, and has a new one for it in the lane when
// a disk fails or it has none. On nil it is written to all shards and not yet
// durable.
func (s *Store) place(ctx context.Context, l *lane, w *window) error {
	for {
		if w.seg == nil {
			if err := w.alloc(ctx, l); err != nil {
				return err
			}
		}
		g := w.seg
		if g.desc.Geometry != w.g {
			w.convert(g.desc.Geometry)
		}
		err := s.write(g, w)
		if err == nil {
			return nil
		}
		if err := s.unplace(w, err); err != nil {
			return err
		}
	}
}

// unplace gives up a window's place, which failed with cause. The error is that
// it failed too often.
func (s *Store) unplace(w *window, cause error) error {
	s.dead(w)
	s.metrics.again.Add(1)
	g := w.seg
	w.seg = nil
	g.release()
	if w.again++; w.again >= maxAttempts {
		return fmt.Errorf("payload: window of %d bytes failed in %d segments: %w", w.length, maxAttempts, cause)
	}
	return nil
}

// dead counts the space of a window whose place is given up. What lies in a
// stream's own segment goes with that, or is counted when it is kept.
func (s *Store) dead(w *window) {
	if g := w.seg; g.lane.kind == own {
		g.dead.Add(w.allocated())
	} else {
		s.metrics.dead.Add(w.allocated())
	}
}

// allocated returns what the placed window takes of shard files.
func (w *window) allocated() int64 {
	return erasure.ExtentSize(w.g.Data, w.length) * int64(w.g.Shards())
}

func (s *Store) write(g *open, w *window) error {
	if err := w.encode(g.codec); err != nil {
		return err
	}
	// Shards beyond the columns of a lone short row have nothing to write.
	err := g.each(func(i int, f *shard) error {
		if g.err() != nil {
			return nil // this window goes elsewhere
		}
		if w.shards[i] == nil || len(w.shards[i].B) == 0 {
			return nil
		}
		b := w.seal(i, f.key, w.off)
		if len(b) == 0 {
			return nil
		}
		end := w.off + int64(len(b))
		err := f.write(b, w.off, g.ahead(end))
		if err == nil {
			s.metrics.written.Add(int64(len(b)))
		}
		return err
	})
	if err == nil {
		err = g.err() // another stream's failure: sync would say so too
	}
	return err
}
