package meta

import (
	"fmt"
	"sync"
	"sync/atomic"
)

// failure is the first error that an index met. It may be set from anywhere,
// under any lock of Pebble's too, and takes none itself.
type failure struct {
	first atomic.Pointer[error]
	ch    chan struct{}
	once  sync.Once
}

func newFailure() *failure { return &failure{ch: make(chan struct{})} }

// set records err as the failure, unless there is one.
func (f *failure) set(err error) {
	if f.first.Load() != nil {
		return
	}
	f.once.Do(func() {
		wrapped := fmt.Errorf("%w: %w", ErrIndexFailed, err)
		f.first.Store(&wrapped)
		close(f.ch)
	})
}

// err returns the failure, which is ErrIndexFailed, or nil.
func (f *failure) err() error {
	if p := f.first.Load(); p != nil {
		return *p
	}
	return nil
}

// failed is closed by the first set.
func (f *failure) failed() <-chan struct{} { return f.ch }

// gate counts the users of something that is to be closed. A mutex would not
// do: a user may enter again while another waits to close, and must be refused
// then, not made to wait for itself.
type gate struct {
	state atomic.Int64 // twice the users, plus one when shut
	once  *sync.Once
	empty chan struct{}
}

func newGate() gate { return gate{once: new(sync.Once), empty: make(chan struct{})} }

// enter reports whether the gate is open; then leave must follow.
func (g *gate) enter() bool {
	if g.state.Add(2)&1 == 0 {
		return true
	}
	g.leave()
	return false
}

func (g *gate) leave() { g.settle(g.state.Add(-2)) }

// shut lets nobody in any more.
func (g *gate) shut() { g.settle(g.state.Or(1) | 1) }

func (g *gate) settle(state int64) {
	if state == 1 {
		g.once.Do(func() { close(g.empty) })
	}
}

// drained is closed when the gate is shut and the last user has left.
func (g *gate) drained() <-chan struct{} { return g.empty }
