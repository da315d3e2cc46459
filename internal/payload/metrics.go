package payload

import "sync/atomic"

// Metrics counts what a Store did since it was made, but for the last two,
// which are as of now.
type Metrics struct {
	FramesRead        int64 // frames that were verified or found bad
	FramesBad         int64 // frames missing or bad, those of absent shards included
	RowsReconstructed int64 // stripe rows of which something was rebuilt

	BytesWritten   int64 // to shard files, headers included, zero-fill not
	Syncs          int64 // of shard files
	Segments       int64 // created
	WindowsWritten int64 // windows made durable
	WindowsAgain   int64 // windows written again after a disk failed
	// DeadBytes were allocated in shard files, all shards together, for streams
	// that were aborted and for windows that were written again elsewhere.
	DeadBytes int64

	OpenSegments int64
	Windows      int64 // in use
}

type metrics struct {
	framesRead, framesBad, reconstructed     atomic.Int64
	written, syncs, segments, windows, again atomic.Int64
	dead                                     atomic.Int64
	openSegments                             atomic.Int64
}

// Metrics returns the counters. They are read one after the other.
func (s *Store) Metrics() Metrics {
	m := &s.metrics
	return Metrics{
		FramesRead:        m.framesRead.Load(),
		FramesBad:         m.framesBad.Load(),
		RowsReconstructed: m.reconstructed.Load(),
		BytesWritten:      m.written.Load(),
		Syncs:             m.syncs.Load(),
		Segments:          m.segments.Load(),
		WindowsWritten:    m.windows.Load(),
		WindowsAgain:      m.again.Load(),
		DeadBytes:         m.dead.Load(),
		OpenSegments:      m.openSegments.Load(),
		Windows:           int64(len(s.tokens)),
	}
}
