package engine

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/disk/filedisk"
	"github.com/cairnstore/cairn/erasure"
	"github.com/cairnstore/cairn/internal/log"
	"github.com/cairnstore/cairn/internal/payload"
	"github.com/cairnstore/cairn/internal/segment"
	"github.com/cairnstore/cairn/meta"
)

// Engine is an open store.
type Engine struct {
	opts    *Options
	log     *log.Log
	index   meta.Index
	state   *meta.State
	payload *payload.Store

	slots   chan struct{} // one for each mutation in the engine
	queue   chan *request
	applied atomic.Uint64                 // last sequence that the index shows
	before  atomic.Pointer[meta.Snapshot] // what readers see during a large transaction
	turns   atomic.Uint64                 // large transactions begun

	descriptors sync.Map // erasure.SegmentID -> *segment.Descriptor

	gate      gate
	stop      chan struct{} // closed by Close: ends the health check and waits for a slot
	tasks     sync.WaitGroup
	indexGone atomic.Pointer[error]
	closeOnce sync.Once
	closeErr  error

	garbageFiles int // at Open
	garbageBytes int64
	metrics      metrics
}

// OpenDir opens a store of one directory, made if missing: data in path/data,
// index in path/index, geometry 1+0. Loss and rot are detected and named, not
// repaired.
func OpenDir(ctx context.Context, path string) (*Engine, error) {
	if err := ctx.Err(); err != nil {
		return nil, fail("open", "", "", err)
	}
	data := filepath.Join(path, "data")
	if err := filedisk.MakeDir(data); err != nil {
		return nil, fail("open", "", "", err)
	}
	d, err := filedisk.Open(data, nil)
	if err != nil {
		return nil, fail("open", "", "", err)
	}
	return Open(ctx, &Options{Disks: []disk.Disk{d}, IndexDir: filepath.Join(path, "index")})
}

// Close ends background work, waits for calls in flight, flushes the index and
// closes the disks. New calls get ErrClosed. It may be called more than once;
// nothing acknowledged depends on it.
func (e *Engine) Close() error {
	e.closeOnce.Do(func() {
		// Calls that wait for what an open Writer holds would wait for ever.
		close(e.stop)
		e.payload.Stop()
		e.gate.close()
		if e.queue != nil {
			close(e.queue)
		}
		e.tasks.Wait()
		e.closeErr = fail("close", "", "", e.release())
	})
	return e.closeErr
}

// release closes all parts, the disks last.
func (e *Engine) release() error {
	var errs []error
	if e.payload != nil {
		errs = append(errs, e.payload.Close())
	}
	if e.index != nil {
		if err := e.index.Close(); e.indexGone.Load() == nil {
			errs = append(errs, err)
		}
	}
	if e.log != nil {
		errs = append(errs, e.log.Close())
	}
	for _, d := range e.opts.Disks {
		if d != nil {
			errs = append(errs, d.Close())
		}
	}
	return errors.Join(errs...)
}

// begin admits a call; end must be called if it returns nil.
func (e *Engine) begin(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !e.gate.enter() {
		return ErrClosed
	}
	if err := e.indexGone.Load(); err != nil {
		e.gate.leave()
		return *err
	}
	return nil
}

func (e *Engine) end() { e.gate.leave() }

// writable returns why nothing can be committed, nil if it can.
func (e *Engine) writable() error {
	if err := e.indexGone.Load(); err != nil {
		return *err
	}
	return e.log.Refusal()
}

// indexFailed gives the index up until the next open.
func (e *Engine) indexFailed(cause error) {
	var err error = &both{ErrIndexFailed, cause}
	if e.indexGone.CompareAndSwap(nil, &err) {
		e.opts.Logger.Error("index failed; it will be built again at the next open", "error", cause)
		if f := e.opts.Events.IndexFailed; f != nil {
			f(err)
		}
	}
}

// descriptor returns the descriptor of a segment that the index refers to.
func (e *Engine) descriptor(id erasure.SegmentID) (*segment.Descriptor, error) {
	if d, ok := e.descriptors.Load(id); ok {
		return d.(*segment.Descriptor), nil
	}
	b, ok := e.state.Segment(id)
	if !ok {
		return nil, &both{ErrIndexFailed, errors.New("segment " + id.String() + " is not in the index")}
	}
	d, err := segment.DecodeDescriptor(b)
	if err != nil {
		return nil, err
	}
	e.descriptors.Store(id, d)
	return d, nil
}

// gate counts calls in flight, and refuses new ones once closed.
type gate struct {
	mu     sync.RWMutex
	closed bool
	calls  sync.WaitGroup
}

func (g *gate) enter() bool {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if g.closed {
		return false
	}
	g.calls.Add(1)
	return true
}

func (g *gate) leave() { g.calls.Done() }

func (g *gate) close() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.calls.Wait()
}
