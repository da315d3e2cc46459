package engine

import (
	"sync/atomic"

	"github.com/cairnstore/cairn/internal/payload"
	"github.com/cairnstore/cairn/meta"
)

type metrics struct {
	puts, gets, heads, deletes, lists atomic.Int64
	bytesPut, dead                    atomic.Int64
	reconstructed, badBlocks          atomic.Int64
	disksFailed, rebuilds, replayed   atomic.Int64
}

// count takes in mutations that succeeded.
func (m *metrics) count(requests []*request) {
	for _, r := range requests {
		switch r.record.Kind {
		case meta.KindPut:
			m.puts.Add(1)
			m.bytesPut.Add(r.record.Object.Size)
		case meta.KindDelete:
			m.deletes.Add(1)
		case meta.KindDeletePrefix:
			m.deletes.Add(r.deleted.Objects)
		}
	}
}

// Metrics counts what the engine did since Open.
type Metrics struct {
	Puts, Gets, Heads, Deletes, Lists int64 // what succeeded; Lists are pages, objects deleted by prefix count in Deletes
	BytesPut                          int64 // object bytes of those puts

	Groups       int64 // commits: groups made durable
	Syncs        int64 // fdatasyncs for commits and streams, zero-fill apart
	SyncsAhead   int64 // zero-fills ahead, each with one fdatasync
	BytesWritten int64 // to the disks, for commits and streams, parity included
	// BytesDead are bytes of streams that came to nothing. They take space
	// until reclaim exists.
	BytesDead int64

	Reconstructed int64 // objects or stripe rows rebuilt from other shards
	BadBlocks     int64 // places that could not be read as written
	DisksFailed   int64 // disks given up

	IndexGets     int64 // entries looked up
	IndexSteps    int64 // entries visited by listings
	IndexFlushes  int64
	IndexRebuilds int64 // at Open
	Replayed      int64 // records replayed at Open
}

// Metrics returns the counters.
func (e *Engine) Metrics() Metrics {
	m := &e.metrics
	l, i, p := e.log.Metrics(), e.index.Metrics(), e.payload.Metrics()
	return Metrics{
		Puts: m.puts.Load(), Gets: m.gets.Load(), Heads: m.heads.Load(), Deletes: m.deletes.Load(), Lists: m.lists.Load(),
		BytesPut: m.bytesPut.Load(),
		Groups:   l.Groups, Syncs: l.Syncs + p.Syncs, SyncsAhead: l.Extensions,
		BytesWritten: l.BytesWritten + p.BytesWritten, BytesDead: p.DeadBytes + m.dead.Load(),
		Reconstructed: m.reconstructed.Load() + p.RowsReconstructed, BadBlocks: m.badBlocks.Load(), DisksFailed: m.disksFailed.Load(),
		IndexGets: i.Gets, IndexSteps: i.Seeks + i.Steps, IndexFlushes: i.Flushes, IndexRebuilds: m.rebuilds.Load(), Replayed: m.replayed.Load(),
	}
}

func (e *Engine) badBlock(info BadBlockInfo) {
	e.metrics.badBlocks.Add(1)
	if f := e.opts.Events.BadBlock; f != nil {
		f(info)
	}
}

// badFrame hears of a frame that a stream read could not use.
func (e *Engine) badFrame(f payload.BadFrame) {
	e.badBlock(BadBlockInfo{Segment: f.Segment.String(), Shard: f.Shard, Disk: f.Disk.String(), Offset: f.Offset, Err: f.Err})
}
