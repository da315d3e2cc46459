package payload

import (
	"slices"

	"github.com/cairnstore/cairn/erasure"
	"github.com/cairnstore/cairn/internal/segment"
)

// placed is where a durable window lies, or several that lie as one.
type placed struct {
	seg    *open // nil: not durable yet
	extent erasure.Extent
	size   int64 // of shard files
}

// layout is where the windows of a stream lie, in object order. It is as long as
// the object has extents, not windows.
type layout struct {
	parts []placed
	front int      // windows in parts
	next  []placed // of those from front on
}

// add returns the number of the next window.
func (l *layout) add() int {
	l.next = append(l.next, placed{})
	return l.front + len(l.next) - 1
}

// set says where window i lies.
func (l *layout) set(i int, p placed) {
	l.next[i-l.front] = p
	n := 0
	for n < len(l.next) && l.next[n].seg != nil {
		l.merge(l.next[n])
		n++
	}
	l.front += n
	l.next = slices.Delete(l.next, 0, n)
}

// merge appends p, to the part before it if both lie as one would.
func (l *layout) merge(p placed) {
	k := p.seg.desc.Geometry.Data
	if n := len(l.parts); n > 0 {
		last := &l.parts[n-1]
		row := erasure.RowBytes(k)
		// An end of less than a row would be laid out together with the row
		// before it.
		if last.seg == p.seg && last.extent.Length%row == 0 &&
			last.extent.Offset+erasure.ExtentSize(k, last.extent.Length) == p.extent.Offset &&
			p.extent.Length >= row {
			last.extent.Length += p.extent.Length
			last.size += p.size
			return
		}
	}
	l.parts = append(l.parts, p)
}

// extents returns the parts and their segments.
func (l *layout) extents() ([]erasure.Extent, []*segment.Descriptor) {
	var extents []erasure.Extent
	var descs []*segment.Descriptor
	for _, p := range l.parts {
		extents = append(extents, p.extent)
		if !slices.Contains(descs, p.seg.desc) {
			descs = append(descs, p.seg.desc)
		}
	}
	return extents, descs
}

// dead returns how much of segments that stay the durable windows take.
func (l *layout) dead() (n int64) {
	for _, list := range [2][]placed{l.parts, l.next} {
		for _, p := range list {
			if p.seg != nil && p.seg.lane.kind != own {
				n += p.size
			}
		}
	}
	return n
}
