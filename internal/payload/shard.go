package payload

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/erasure"
)

// shard is one shard file that is being written.
type shard struct {
	disk    disk.ID
	file    disk.File
	key     *erasure.Key
	reserve bool        // grows by reserving, else by zeros
	dirty   atomic.Bool // written since the last sync began

	mu    sync.Mutex
	ready int64         // zero-filled or reserved up to here
	busy  chan struct{} // closed when the extension under way ends; nil: none
	err   error         // first failure: the shard is dead (I6)
}

// write writes b at off, beyond everything that was written there before.
// The file is grown to size if it is too short for that.
func (f *shard) write(b []byte, off, size int64) error {
	end := off + int64(len(b))
	if err := f.extend(end, max(end, size), true); err != nil {
		return err
	}
	_, err := f.file.WriteAt(b, off)
	f.dirty.Store(true)
	return err
}

// startSync begins to make durable what was written before, if anything was since
// the last. wait, which must be called, returns the outcome.
func (f *shard) startSync() (wait func() (synced bool, err error)) {
	f.mu.Lock()
	err := f.err
	f.mu.Unlock()
	if err != nil || !f.dirty.Swap(false) {
		return func() (bool, error) { return false, err }
	}
	inner := disk.StartSync(f.file)
	return func() (bool, error) {
		if err := inner(); err != nil {
			return true, err
		}
		// An extension syncs too, and may be the one that was told of a failed
		// write of ours: the kernel reports it once. So its outcome counts.
		f.mu.Lock()
		defer f.mu.Unlock()
		f.idle()
		return true, f.err
	}
}

// idle waits, with mu held, until no extension is under way.
func (f *shard) idle() {
	for f.busy != nil {
		busy := f.busy
		f.mu.Unlock()
		<-busy
		f.mu.Lock()
	}
}

// grow makes the file size bytes long.
func (f *shard) grow(size int64) error {
	if f.reserve {
		return disk.Reserve(f.file, size)
	}
	return f.file.Extend(size)
}

// extend grows the file to size unless it is ready up to need, one
// extension at a time. A writer needs it; ahead of need, a full disk is left to
// the writer to find.
func (f *shard) extend(need, size int64, writer bool) error {
	f.mu.Lock()
	for f.busy != nil && f.err == nil && f.ready < need {
		f.idle()
	}
	if f.err != nil || f.ready >= need {
		defer f.mu.Unlock()
		return f.err
	}
	busy := make(chan struct{})
	f.busy = busy
	f.mu.Unlock()

	size = erasure.AlignUp(size)
	err := f.grow(size)
	if writer && errors.Is(err, disk.ErrNoSpace) && erasure.AlignUp(need) < size {
		// No visible effect. It may be enough for what is needed now.
		size = erasure.AlignUp(need)
		err = f.grow(size)
	}

	f.mu.Lock()
	defer f.mu.Unlock()
	f.busy = nil
	close(busy)
	switch {
	case err == nil:
		f.ready = max(f.ready, size)
	case !writer && errors.Is(err, disk.ErrNoSpace):
		return nil // no visible effect
	case f.err == nil:
		// Here, not by the caller: sync looks at it as soon as busy ends.
		f.err = err
	}
	return err
}
