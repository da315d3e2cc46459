package payload

import (
	"context"
	"fmt"

	"github.com/cairnstore/cairn/erasure"
)

// place writes a fitted window to the open segment, or to the next ones when
// disks fail. On nil it is written to all shards and not yet durable.
func (s *Store) place(ctx context.Context, w *window) error {
	for {
		g, off, err := s.alloc(ctx, w.length)
		if err != nil {
			return err
		}
		if g.desc.Geometry != w.g {
			w.convert(g.desc.Geometry)
		}
		w.seg, w.off = g, off
		if err = s.write(g, w); err == nil {
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
	s.metrics.dead.Add(w.allocated())
	s.metrics.again.Add(1)
	g := w.seg
	w.seg = nil
	g.release()
	if w.again++; w.again >= maxAttempts {
		return fmt.Errorf("payload: window of %d bytes failed in %d segments: %w", w.length, maxAttempts, cause)
	}
	return nil
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
		err := f.write(b, w.off, min(end+s.cfg.Prealloc, s.cfg.SegmentSize))
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
