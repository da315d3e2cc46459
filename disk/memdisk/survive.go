package memdisk

import (
	"maps"
	"math/rand/v2"
	"slices"
)

// survivor decides what of a disk's unsynced state a power cut leaves.
type survivor interface {
	// entry says whether an unsynced creation or removal happened.
	entry(file string) bool
	// sector returns what a sector holds, given what it held when last
	// synced, what was written to it in between, and what it holds now.
	// Returning old or now themselves, not a copy, is what tells them apart.
	sector(file string, n int64, old, now *sectorData, mid []sectorData) *sectorData
	// size returns the size of a file that grew from synced to size.
	size(file string, synced, size int64) int64
}

// clone returns a copy of the store for machine m, as the cut leaves it; a nil
// survivor keeps the unsynced state. s takes a new token, for its pages are
// shared from here on.
func (s *store) clone(m *Machine, sv survivor) *store {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tok = new(token)
	c := &store{machine: m, name: s.name, tok: new(token), capacity: s.capacity, files: make(map[string]*inode, len(s.files))}
	copies := make(map[*inode]*inode, len(s.files))
	dup := func(name string, ino *inode) *inode {
		if ino == nil {
			return nil
		}
		if copies[ino] == nil {
			k := ino.clone()
			k.removed = false
			if sv != nil {
				k.settle(c.tok, name, sv)
			}
			copies[ino] = k
		}
		return copies[ino]
	}
	entries := maps.Clone(s.files)
	for _, name := range sortedNames(s.unsynced) {
		e := s.unsynced[name]
		if sv == nil {
			c.remember(name, dup(name, e.before), dup(name, e.after))
			continue
		}
		ino := e.before
		if sv.entry(name) {
			ino = e.after
		}
		delete(entries, name)
		if ino != nil {
			entries[name] = ino
		}
	}
	for _, name := range sortedNames(entries) {
		k := dup(name, entries[name])
		c.files[name] = k
		c.used += k.size
	}
	return c
}

func sortedNames[V any](m map[string]V) []string {
	return slices.Sorted(maps.Keys(m))
}

// settle makes what survives of the file durable.
func (ino *inode) settle(tok *token, name string, sv survivor) {
	size := ino.synced
	if ino.size > size {
		size = sv.size(name, ino.synced, ino.size)
	}
	for _, n := range slices.Sorted(maps.Keys(ino.dirty)) {
		s := ino.slot(tok, n)
		var kept uint8
		*s, kept = (*s).settle(ino, name, n, sv)
		for i := range int64(pageSectors) {
			if kept&(1<<i) != 0 {
				end := n*pageSize + (i+1)*SectorSize
				size = max(size, min(end, ino.size))
			}
		}
	}
	ino.size, ino.synced = size, size
	ino.dirty, ino.mid = nil, nil
}

// settle returns the page that survives, and which sectors of it hold anything
// but what was synced. Where all or none do, no data is copied: the sectors that
// are not dirty are the same in data and old.
func (p *page) settle(ino *inode, name string, n int64, sv survivor) (*page, uint8) {
	old := p.old
	if old == nil {
		old = &zeroPage
	}
	var got [pageSectors]*sectorData
	var kept, isNew uint8
	for i := range pageSectors {
		bit := uint8(1) << i
		if p.dirty&bit == 0 {
			continue
		}
		k := n*pageSectors + int64(i)
		was, now := (*sectorData)(old[i*SectorSize:]), (*sectorData)(p.data[i*SectorSize:])
		got[i] = sv.sector(name, k, was, now, ino.mid[k])
		if got[i] != was {
			kept |= bit
		}
		if got[i] == now {
			isNew |= bit
		}
	}
	switch {
	case isNew == p.dirty:
		return &page{data: p.data}, kept
	case kept == 0 && p.old == nil:
		return nil, 0
	case kept == 0:
		return &page{data: p.old}, 0
	}
	mixed := *p.data
	for i, sector := range got {
		if sector != nil {
			copy(mixed[i*SectorSize:], sector[:])
		}
	}
	return &page{data: &mixed}, kept
}

// zeroPage is never written.
var zeroPage pageData

// choice is the survivor of RestartWith.
type choice struct {
	d    *Disk
	keep func(d *Disk, file string, sector int64) bool
}

func (c choice) entry(file string) bool { return c.keep(c.d, file, -1) }

func (c choice) sector(file string, n int64, old, now *sectorData, _ []sectorData) *sectorData {
	if c.keep(c.d, file, n) {
		return now
	}
	return old
}

func (c choice) size(file string, synced, size int64) int64 {
	if c.keep(c.d, file, (size-1)/SectorSize) {
		return size
	}
	return synced
}

// chance is the survivor of Restart.
type chance struct {
	r    *rand.Rand
	mode int // 0: all old, 1: all new, else a coin for each
	tear bool
}

func newChance(r *rand.Rand) *chance {
	return &chance{r: r, mode: r.IntN(4), tear: r.IntN(4) == 0}
}

func (c *chance) entry(string) bool {
	switch c.mode {
	case 0:
		return false
	case 1:
		return true
	default:
		return c.r.IntN(2) == 0
	}
}

func (c *chance) sector(_ string, _ int64, old, now *sectorData, mid []sectorData) *sectorData {
	if c.tear && c.r.IntN(4) == 0 {
		torn := *old
		copy(torn[:c.r.IntN(SectorSize+1)], now[:])
		return &torn
	}
	switch {
	case c.mode == 0:
		return old
	case c.mode == 1:
		return now
	case len(mid) > 0 && c.r.IntN(3) == 0:
		return &mid[c.r.IntN(len(mid))]
	case c.r.IntN(2) == 0:
		return old
	default:
		return now
	}
}

func (c *chance) size(_ string, synced, size int64) int64 {
	switch {
	case c.mode == 0:
		return synced
	case c.mode == 1:
		return size
	case c.r.IntN(4) == 0:
		return size
	default:
		return synced + c.r.Int64N(size-synced+1)
	}
}
