package log

import "sync/atomic"

type metrics struct {
	groups, syncs, written, created, extended, segments, labels atomic.Int64
}

// Metrics counts what the log did since it was opened.
type Metrics struct {
	Groups       int64 // groups made durable
	Syncs        int64 // fdatasyncs of shard files and labels, zero-fill apart
	BytesWritten int64 // to shard files, zero-fill and labels apart
	FilesCreated int64
	Extensions   int64 // zero-fills ahead of appends
	Segments     int64 // log segments begun
	LabelWrites  int64
}

// Metrics returns the counters.
func (l *Log) Metrics() Metrics {
	m := &l.metrics
	return Metrics{
		Groups: m.groups.Load(), Syncs: m.syncs.Load(), BytesWritten: m.written.Load(), FilesCreated: m.created.Load(),
		Extensions: m.extended.Load(), Segments: m.segments.Load(), LabelWrites: m.labels.Load(),
	}
}
