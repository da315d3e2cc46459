package segment

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/erasure"
)

// place names one shard file on one disk.
type place struct {
	id    erasure.SegmentID
	disk  disk.ID
	shard int
}

// member is a disk of the pool.
type member struct {
	id      disk.ID
	disk    disk.Disk
	dropped atomic.Pointer[error] // why; nil while it may be written
}

func (m *member) absent(p place) error {
	return fmt.Errorf("%w: %s: disk dropped: %w", ErrAbsent, FileName(p.id, p.shard), *m.dropped.Load())
}

// handle is an open shard file, or one being opened.
type handle struct {
	place
	member *member
	// refs counts the cache, while it has the handle, and each reader: the last
	// closes the file. It is raised under the stripe's lock only, while the
	// cache has it, so it never comes back from zero.
	refs atomic.Int64
	pins atomic.Int64 // writers; a pinned handle is not evicted
	used atomic.Int64 // Set.clock at the last use

	opened atomic.Bool   // done is closed
	done   chan struct{} // closed when file or err is set
	file   disk.File
	err    error
}

func (h *handle) ready(f disk.File, err error) {
	h.file, h.err = f, err
	h.opened.Store(true)
	close(h.done)
}

func (h *handle) wait() {
	if !h.opened.Load() {
		<-h.done
	}
}

// release drops a reference and returns the error of the close it led to. Whoever
// opens the file has a reference until it is ready.
func (h *handle) release() error {
	if h.refs.Add(-1) != 0 || h.file == nil {
		return nil
	}
	return h.file.Close()
}

// pinned is the file that Set.Create returns: it keeps its handle open until it
// is closed, and writes no more once the disk is dropped.
type pinned struct {
	disk.File
	h    *handle
	once sync.Once
}

func (p *pinned) WriteAt(b []byte, off int64) (int, error) {
	if p.h.member.dropped.Load() != nil {
		return 0, p.h.member.absent(p.h.place)
	}
	return p.File.WriteAt(b, off)
}

func (p *pinned) Extend(size int64) error {
	if p.h.member.dropped.Load() != nil {
		return p.h.member.absent(p.h.place)
	}
	return p.File.Extend(size)
}

// Reserve implements disk.Reserver, whether the file inside does or not.
func (p *pinned) Reserve(size int64) error {
	if p.h.member.dropped.Load() != nil {
		return p.h.member.absent(p.h.place)
	}
	return disk.Reserve(p.File, size)
}

func (p *pinned) Sync() error {
	if p.h.member.dropped.Load() != nil {
		return p.h.member.absent(p.h.place)
	}
	return p.synced(p.File.Sync())
}

// StartSync implements disk.SyncStarter, whether the file inside does or not.
func (p *pinned) StartSync() (wait func() error) {
	if p.h.member.dropped.Load() != nil {
		err := p.h.member.absent(p.h.place)
		return func() error { return err }
	}
	inner := disk.StartSync(p.File)
	return func() error { return p.synced(inner()) }
}

// synced is the outcome of a sync that has ended. A disk that was dropped
// meanwhile is not one of those that the caller counts on.
func (p *pinned) synced(err error) error {
	if err == nil && p.h.member.dropped.Load() != nil {
		err = p.h.member.absent(p.h.place)
	}
	return err
}

// Close ends the writer's claim; readers may go on.
func (p *pinned) Close() error {
	p.once.Do(func() {
		if f, ok := p.File.(disk.WriteEnder); ok {
			f.EndWrites()
		}
		p.h.pins.Add(-1)
	})
	return nil
}
