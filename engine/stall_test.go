package engine

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/meta"
)

// stallIndex is an index whose calls can be held up.
type stallIndex struct {
	meta.Index

	commits atomic.Int64 // groups gathered

	mu      sync.Mutex
	gate    chan struct{}     // Apply waits for it; nil: no wait
	waiting int               // Apply calls that wait
	looks   map[string]func() // called once, by the next look-up of a key by a caller or the committer
	befores map[string]func() // the same, by the applier
}

// stall puts a stallIndex under e, which nobody has used yet.
func stall(e *Engine) *stallIndex {
	s := &stallIndex{Index: e.index, looks: map[string]func(){}, befores: map[string]func(){}}
	e.index = s
	clock := e.opts.Clock
	e.opts.Clock = func() time.Time {
		s.commits.Add(1) // the committer asks when it has gathered a group
		return clock()
	}
	return s
}

// Apply implements meta.Index.
func (s *stallIndex) Apply(b *meta.Batch, pos meta.Position) error {
	s.mu.Lock()
	gate := s.gate
	s.waiting++
	s.mu.Unlock()
	if gate != nil {
		<-gate
	}
	s.mu.Lock()
	s.waiting--
	s.mu.Unlock()
	return s.Index.Apply(b, pos)
}

// Get implements meta.Reader: what it has found may be old when it returns.
func (s *stallIndex) Get(key, dst []byte) ([]byte, error) {
	v, err := s.Index.Get(key, dst)
	s.mu.Lock()
	looks := s.looks
	if applying() {
		looks = s.befores
	}
	look := looks[string(key)]
	delete(looks, string(key))
	s.mu.Unlock()
	if look != nil {
		look()
	}
	return v, err
}

// applying reports whether the applier is the caller.
func applying() bool {
	var pcs [16]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	for {
		f, more := frames.Next()
		if strings.HasSuffix(f.Function, "(*before).look") {
			return true
		}
		if !more {
			return false
		}
	}
}

// onBefore is onLook for the look-up that is made in the request's place in the
// order. fn must not wait for a mutation.
func (s *stallIndex) onBefore(key string, fn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.befores[string(meta.AppendHeadKey(nil, 1, key))] = fn
}

// onLook has fn called, once, before the next look-up of key in the first bucket
// returns what it saw.
func (s *stallIndex) onLook(key string, fn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looks[string(meta.AppendHeadKey(nil, 1, key))] = fn
}

// holdApplies has groups that become durable wait before anybody sees them. The
// committer stands still when the function returns: one group is being applied,
// one waits for that, and one, gathered, for a place. What is queued from now on
// is one group, and goes on with release.
func (s *stallIndex) holdApplies(t testing.TB, e *Engine, b *Bucket) (release func()) {
	t.Helper()
	gate := make(chan struct{})
	s.mu.Lock()
	s.gate = gate
	s.mu.Unlock()
	groups, commits := e.Metrics().Groups, s.commits.Load()
	var all []*Pending
	reached := []func() bool{
		func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.waiting == 1 },
		func() bool { return e.Metrics().Groups == groups+2 },
		func() bool { return s.commits.Load() == commits+3 },
	}
	for i, done := range reached {
		p, err := b.PutAsync(t.Context(), fmt.Sprint("filler/", i), nil, nil)
		require.NoError(t, err)
		all = append(all, p)
		await(t, done)
	}
	open := sync.OnceFunc(func() {
		s.mu.Lock()
		s.gate = nil
		s.mu.Unlock()
		close(gate)
	})
	t.Cleanup(open)
	return func() {
		open()
		for _, p := range all {
			_, err := p.Wait(t.Context())
			require.NoError(t, err)
		}
	}
}

// await waits until done, busily: what it waits for is close.
func await(t testing.TB, done func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !done(); runtime.Gosched() {
		if time.Now().After(end) {
			require.FailNow(t, "it does not come")
		}
	}
}

// idle waits until no mutation is in the engine: every slot came back.
func idle(t testing.TB, e *Engine) {
	t.Helper()
	await(t, func() bool { return len(e.slots) == 0 && len(e.queue) == 0 })
}

// visible is what a key shows.
type visible struct {
	info *ObjectInfo
	body []byte
}

// look reads key, which must be whole; nil if there is none.
func look(t testing.TB, b *Bucket, key string) *visible {
	t.Helper()
	info, err := b.Head(t.Context(), key, nil)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	require.NoError(t, err)
	p, err := read(b, key)
	require.NoError(t, err)
	require.EqualValues(t, info.Size, len(p))
	return &visible{info, p}
}

// requireSame has two looks at a key show the same version.
func requireSame(t testing.TB, want, got *visible, msg ...any) {
	t.Helper()
	if want == nil || got == nil {
		require.True(t, want == got, append([]any{"one of them is nothing"}, msg...)...)
		return
	}
	require.Equal(t, want.info, got.info, msg...)
	require.True(t, bytes.Equal(want.body, got.body), msg...)
}
