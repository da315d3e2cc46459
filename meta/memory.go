package meta

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Memory is an index in memory: the plain twin of the one on Pebble, for tests
// and for small stores that rebuild it at every open. Everything is as obvious
// as it gets; its iterators copy.
type Memory struct {
	gets, seeks, steps atomic.Int64

	mu        sync.Mutex
	closed    bool
	data      map[string]string
	pos       Position
	sorted    []memoryEntry // data in key order; nil when stale; never changed once made
	flushed   map[string]string
	durable   Position
	applied   int64
	flushedAt int64 // what applied was at the last flush
	flushes   int64
	byteSize  int64
	frozen    bool
}

type memoryEntry struct{ key, value string }

var _ Index = (*Memory)(nil)

// NewMemory returns an empty index in memory.
func NewMemory() *Memory {
	return &Memory{data: map[string]string{}, flushed: map[string]string{}}
}

// Crash returns what a crash would leave: an index that holds what was flushed.
// m itself is not changed.
func (m *Memory) Crash() *Memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := NewMemory()
	c.data, c.flushed = maps.Clone(m.flushed), maps.Clone(m.flushed)
	c.pos, c.durable = m.durable, m.durable
	for k, v := range c.data {
		c.byteSize += int64(len(k) + len(v))
	}
	return c
}

// Get implements Reader.
func (m *Memory) Get(key, dst []byte) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, ErrClosed
	}
	m.gets.Add(1)
	v, ok := m.data[string(key)]
	if !ok {
		return nil, ErrNoEntry
	}
	return append(dst[:0], v...), nil
}

// NewIter implements Reader.
func (m *Memory) NewIter(lower, upper []byte) (Iterator, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, ErrClosed
	}
	return m.iter(m.sortedLocked(), lower, upper), nil
}

// sortedLocked returns all entries in order, in a slice that never changes.
func (m *Memory) sortedLocked() []memoryEntry {
	if m.sorted == nil {
		m.sorted = make([]memoryEntry, 0, len(m.data))
		for k, v := range m.data {
			m.sorted = append(m.sorted, memoryEntry{k, v})
		}
		slices.SortFunc(m.sorted, func(a, b memoryEntry) int { return strings.Compare(a.key, b.key) })
	}
	return m.sorted
}

func (m *Memory) iter(all []memoryEntry, lower, upper []byte) Iterator {
	if upper != nil {
		all = all[:seekMemory(all, string(upper))]
	}
	return &memoryIter{m: m, all: all[seekMemory(all, string(lower)):], at: -1}
}

// seekMemory returns the index of the first entry at or after key.
func seekMemory(all []memoryEntry, key string) int {
	i, _ := slices.BinarySearchFunc(all, key, func(e memoryEntry, key string) int { return strings.Compare(e.key, key) })
	return i
}

// Apply implements Index.
func (m *Memory) Apply(b *Batch, pos Position) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return ErrClosed
	}
	if pos.Seq < m.pos.Seq {
		return errBackwards(pos, m.pos)
	}
	if m.pos == (Position{}) {
		m.set(formatKey, []byte{indexVersion})
	}
	b.each(m.set, m.del)
	m.set(positionKey, pos.append(nil))
	m.pos = pos
	m.sorted = nil
	m.applied++
	return nil
}

func (m *Memory) set(key, value []byte) {
	m.del(key)
	m.data[string(key)] = string(value)
	m.byteSize += int64(len(key) + len(value))
}

func (m *Memory) del(key []byte) {
	if old, ok := m.data[string(key)]; ok {
		m.byteSize -= int64(len(key) + len(old))
		delete(m.data, string(key))
	}
}

// Flush implements Index.
func (m *Memory) Flush() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return ErrClosed
	}
	m.flush()
	return nil
}

func (m *Memory) flush() {
	if m.flushedAt == m.applied || m.frozen {
		return
	}
	m.flushedAt = m.applied
	m.flushed, m.durable = maps.Clone(m.data), m.pos
	m.flushes++
}

// Position implements Index.
func (m *Memory) Position() Position {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.pos
}

// Durable implements Index.
func (m *Memory) Durable() Position {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.durable
}

// Metrics implements Index.
func (m *Memory) Metrics() IndexMetrics {
	m.mu.Lock()
	defer m.mu.Unlock()
	return IndexMetrics{
		Gets: m.gets.Load(), Seeks: m.seeks.Load(), Steps: m.steps.Load(),
		Applied: m.applied, Flushes: m.flushes, Bytes: m.byteSize,
	}
}

// Freeze implements Index.
func (m *Memory) Freeze() error {
	err := m.Flush()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.frozen = true
	return err
}

// Close implements Index. What was flushed stays for Crash.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.closed {
		m.flush()
		m.closed = true
	}
	return nil
}

// errBackwards says that a batch does not follow what was applied.
func errBackwards(pos, last Position) error {
	return fmt.Errorf("%w: position %d after %d", ErrApply, pos.Seq, last.Seq)
}

// memoryIter walks a part of a sorted copy, which no later Apply touches.
type memoryIter struct {
	m            *Memory
	all          []memoryEntry
	at           int // -1 before the first entry
	seeks, steps int64
}

func (i *memoryIter) SeekGE(key []byte) bool {
	i.seeks++
	i.at = seekMemory(i.all, string(key))
	return i.Valid()
}

func (i *memoryIter) Next() bool {
	i.steps++
	i.at = min(i.at+1, len(i.all))
	return i.Valid()
}

func (i *memoryIter) Valid() bool            { return i.at >= 0 && i.at < len(i.all) }
func (i *memoryIter) Key() []byte            { return []byte(i.all[i.at].key) }
func (i *memoryIter) Value() ([]byte, error) { return []byte(i.all[i.at].value), nil }
func (i *memoryIter) Error() error           { return nil }

func (i *memoryIter) Close() error {
	i.m.seeks.Add(i.seeks)
	i.m.steps.Add(i.steps)
	i.seeks, i.steps = 0, 0
	return nil
}
