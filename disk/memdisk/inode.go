package memdisk

import (
	"maps"
	"slices"
)

// Sizes of the two levels of a file's page table, and the largest file.
const (
	pageSize  = 4096
	leafPages = 256
	leafSize  = pageSize * leafPages
	maxFile   = 1 << 40
)

const pageSectors = pageSize / SectorSize

// token identifies one store's right to write a leaf or page in place. Clones
// share leaves and pages; whoever writes first copies.
type token struct{ _ byte }

type pageData [pageSize]byte

type sectorData [SectorSize]byte

// inode is the content of one file: what is read now, and what a power cut may
// go back to. A nil leaf or page is zeros.
type inode struct {
	size    int64
	synced  int64 // the size that survives a cut; at most size
	removed bool  // by Remove; its handles live on

	leaves []*leaf
	dirty  map[int64]struct{}     // numbers of the pages with unsynced sectors
	mid    map[int64][]sectorData // by sector: written over since the last sync
}

type leaf struct {
	tok   *token
	pages [leafPages]*page
}

type page struct {
	tok   *token
	data  *pageData
	dirty uint8     // bit i: sector i is unsynced
	old   *pageData // what was synced, where dirty; nil is zeros; never written
}

// at returns page n, or nil.
func (ino *inode) at(n int64) *page {
	i := n / leafPages
	if i >= int64(len(ino.leaves)) || ino.leaves[i] == nil {
		return nil
	}
	return ino.leaves[i].pages[n%leafPages]
}

// slot returns the place of page n in a leaf that tok may write.
func (ino *inode) slot(tok *token, n int64) **page {
	i := n / leafPages
	for int64(len(ino.leaves)) <= i {
		ino.leaves = append(ino.leaves, nil)
	}
	l := ino.leaves[i]
	if l == nil {
		l = &leaf{tok: tok}
	} else if l.tok != tok {
		l = &leaf{tok: tok, pages: l.pages}
	}
	ino.leaves[i] = l
	return &l.pages[n%leafPages]
}

// own returns page n with data that tok may write.
func (ino *inode) own(tok *token, n int64) *page {
	s := ino.slot(tok, n)
	p := *s
	if p == nil {
		p = &page{tok: tok, data: new(pageData)}
	} else if p.tok != tok {
		data := *p.data
		p = &page{tok: tok, data: &data, dirty: p.dirty, old: p.old}
	}
	*s = p
	return p
}

func (ino *inode) readAt(b []byte, off int64) {
	for len(b) > 0 {
		at := off % pageSize
		n := min(int64(len(b)), pageSize-at)
		if p := ino.at(off / pageSize); p != nil {
			copy(b[:n], p.data[at:])
		} else {
			clear(b[:n])
		}
		b, off = b[n:], off+n
	}
}

func (ino *inode) writeAt(tok *token, b []byte, off int64) {
	if ino.dirty == nil {
		ino.dirty = make(map[int64]struct{})
	}
	for len(b) > 0 {
		n, at := off/pageSize, off%pageSize
		c := min(int64(len(b)), pageSize-at)
		ino.writePage(tok, n, int(at), b[:c])
		ino.dirty[n] = struct{}{}
		b, off = b[c:], off+c
	}
}

// writePage writes b, which lies within page n, at byte at of it.
func (ino *inode) writePage(tok *token, n int64, at int, b []byte) {
	var p *page
	if before := ino.at(n); before != nil && before.dirty == 0 {
		// The first write since the sync: the data there now is what a cut
		// may go back to, and stays as it is.
		data := *before.data
		p = &page{tok: tok, data: &data, old: before.data}
		*ino.slot(tok, n) = p
	} else {
		p = ino.own(tok, n)
	}
	for i := at / SectorSize; i <= (at+len(b)-1)/SectorSize; i++ {
		if p.dirty&(1<<i) != 0 {
			if ino.mid == nil {
				ino.mid = make(map[int64][]sectorData)
			}
			k := n*pageSectors + int64(i)
			ino.mid[k] = append(ino.mid[k], sectorData(p.data[i*SectorSize:]))
		}
		p.dirty |= 1 << i
	}
	copy(p.data[at:], b)
}

// sync makes everything written durable.
func (ino *inode) sync(tok *token) {
	for n := range ino.dirty {
		s := ino.slot(tok, n)
		if p := *s; p.tok == tok {
			p.dirty, p.old = 0, nil
		} else {
			*s = &page{data: p.data} // no token: the data is shared
		}
	}
	ino.synced = ino.size
	clear(ino.dirty)
	clear(ino.mid)
}

// clone returns a copy with the same unsynced state. Both sides' stores must
// take new tokens.
func (ino *inode) clone() *inode {
	return &inode{
		size: ino.size, synced: ino.synced, removed: ino.removed,
		leaves: slices.Clone(ino.leaves),
		dirty:  maps.Clone(ino.dirty),
		// The slices are shared: append of both sides would meet, so they
		// are cut to their length.
		mid: cloneMid(ino.mid),
	}
}

func cloneMid(mid map[int64][]sectorData) map[int64][]sectorData {
	mid = maps.Clone(mid)
	for k, v := range mid {
		mid[k] = slices.Clip(v)
	}
	return mid
}
