package log

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"

	"github.com/zeebo/blake3"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/erasure"
	"github.com/cairnstore/cairn/internal/protocol"
	"github.com/cairnstore/cairn/internal/segment"
)

// facts is what the present disks show of the log: the protocol.Source of the
// decision, and what replay needs of the segments on the path.
type facts struct {
	l *Log

	// files: which shard files lie on which disk.
	files map[erasure.SegmentID][]place
	// opened: log segments of which an opening group was seen.
	opened map[erasure.SegmentID]*seenSegment
	// looked: segments whose headers have been read, log segments or not.
	looked map[erasure.SegmentID]bool
	// unread: disks that could not be read where a group of a segment should
	// be: absent, for that segment.
	unread map[unreadOf]bool
	err    error // first error that is no statement about a disk
}

type unreadOf struct {
	segment erasure.SegmentID
	disk    disk.ID
}

type place struct {
	disk  disk.ID
	shard int
}

// seenSegment is a log segment with what was read of its opening group.
type seenSegment struct {
	desc    *segment.Descriptor
	opening *opening
	seen    []bool // by shard: the opening group verified there
	first   int64  // where groups begin in the shard files
	facts   protocol.Opening
}

// collect lists the shard files of all present disks and reads the opening
// groups from the newest log segment back to its parent.
func (l *Log) collect() (*facts, error) {
	f := &facts{l: l, files: map[erasure.SegmentID][]place{}, opened: map[erasure.SegmentID]*seenSegment{}, looked: map[erasure.SegmentID]bool{}, unread: map[unreadOf]bool{}}
	var mu sync.Mutex
	var wg sync.WaitGroup
	var errs []error
	for id, m := range l.members {
		wg.Go(func() {
			entries, err := m.disk.List()
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, l.absentOrError(id, err))
				return
			}
			for _, e := range entries {
				if seg, shard, ok := segment.ParseFileName(e.Name); ok {
					f.files[seg] = append(f.files[seg], place{id, shard})
				}
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	ids := make([]erasure.SegmentID, 0, len(f.files))
	for id := range f.files {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b erasure.SegmentID) int { return b.Compare(a) })
	var parent erasure.SegmentID
	for _, id := range ids {
		if len(f.opened) > 0 && id.Compare(parent) < 0 {
			break
		}
		s := f.look(id)
		if s != nil && parent.IsZero() {
			parent = s.opening.parent.Segment
			if parent.IsZero() {
				break // the newest segment begins the log
			}
		}
	}
	return f, f.err
}

// absentOrError passes on what says nothing about the disk; any other failure
// makes the disk absent.
func (l *Log) absentOrError(id disk.ID, err error) error {
	if errors.Is(err, disk.ErrBusy) {
		return err
	}
	l.state.Lock()
	defer l.state.Unlock()
	l.gone[id] = err
	l.live = slices.DeleteFunc(l.live, func(d disk.ID) bool { return d == id })
	return nil
}

// look reads the header and, of a log segment, the opening group of id from
// every present disk. It returns nil if no verified opening group is seen.
func (f *facts) look(id erasure.SegmentID) *seenSegment {
	if f.looked[id] {
		return f.opened[id]
	}
	f.looked[id] = true
	var s *seenSegment
	page := make([]byte, segment.HeaderSize)
	for _, at := range f.files[id] {
		h, err := f.header(id, at, page)
		if err != nil || h == nil || h.Kind != segment.KindLog || at.shard >= len(h.Disks) || h.Disks[at.shard] != at.disk {
			continue
		}
		body := make([]byte, int(min(h.BodyLength, maxOpening)))
		if f.read(at.disk, id, at.shard, body, segment.HeaderSize) != nil || blake3.Sum256(body) != h.BodyHash {
			continue
		}
		if s == nil {
			o, err := decodeOpening(body)
			if err != nil {
				var format *FormatError
				if errors.As(err, &format) {
					f.fail(err)
				}
				continue
			}
			d := h.Descriptor
			s = &seenSegment{desc: &d, opening: o, seen: make([]bool, len(d.Disks)), first: erasure.AlignUp(segment.HeaderSize + h.BodyLength)}
			s.facts = protocol.Opening{Disks: d.Disks, Parity: d.Geometry.Parity, Parent: o.parent, Acked: o.acked}
			for _, c := range o.copies {
				s.facts.Copies = append(s.facts.Copies, protocol.Span{First: c.first, Last: c.last})
			}
		}
		s.seen[at.shard] = true
		s.facts.Seen++
	}
	if s != nil {
		f.opened[id] = s
	}
	return s
}

// settle makes the opening groups that were seen durable, so that a power cut
// after this open cannot take back what is decided on them. A shard that cannot
// be synced was not seen.
func (f *facts) settle() {
	for id, s := range f.opened {
		for shard, seen := range s.seen {
			if !seen {
				continue
			}
			file, err := f.l.members[s.desc.Disks[shard]].disk.Open(segment.FileName(id, shard))
			if err == nil {
				err = errors.Join(file.Sync(), file.Close())
			}
			if f.note(err) != nil {
				s.seen[shard] = false
				s.facts.Seen--
			}
		}
		if s.facts.Seen == 0 {
			delete(f.opened, id)
		}
	}
}

// header reads and verifies one header page.
func (f *facts) header(id erasure.SegmentID, at place, page []byte) (*segment.Header, error) {
	if err := f.read(at.disk, id, at.shard, page, 0); err != nil {
		return nil, err
	}
	h, err := segment.DecodeHeader(page, f.l.pool, id, at.shard)
	var format *segment.FormatError
	if errors.As(err, &format) {
		f.fail(err)
	}
	return h, err
}

// read reads from a shard file by disk, not through a descriptor, which is not
// known yet.
func (f *facts) read(id disk.ID, seg erasure.SegmentID, shard int, p []byte, off int64) error {
	file, err := f.l.members[id].disk.Open(segment.FileName(seg, shard))
	if err != nil {
		return f.note(err)
	}
	defer file.Close()
	_, err = file.ReadAt(p, off)
	return f.note(err)
}

// note remembers errors that say nothing about a disk: with them, no decision
// may be made.
func (f *facts) note(err error) error {
	if errors.Is(err, disk.ErrBusy) {
		f.fail(err)
	}
	return err
}

func (f *facts) fail(err error) {
	if f.err == nil {
		f.err = err
	}
}

// Openings implements protocol.Source.
func (f *facts) Openings() []erasure.SegmentID {
	var ids []erasure.SegmentID
	for id := range f.opened {
		ids = append(ids, id)
	}
	return ids
}

// Opening implements protocol.Source.
func (f *facts) Opening(id erasure.SegmentID) *protocol.Opening {
	if s := f.look(id); s != nil {
		return &s.facts
	}
	return nil
}

// Absent implements protocol.Source.
func (f *facts) Absent(id erasure.SegmentID, disks []disk.ID) []disk.ID {
	var absent []disk.ID
	page := make([]byte, segment.HeaderSize)
	for shard, d := range disks {
		m := f.l.members[d]
		if m == nil || f.l.goneErr(d) != nil || f.unread[unreadOf{id, d}] {
			absent = append(absent, d)
			continue
		}
		// A file that is there and readable speaks, whatever it says: its disk
		// held it before a label named the segment.
		if err := f.read(d, id, shard, page, 0); err != nil {
			absent = append(absent, d)
		}
	}
	return absent
}

// Groups implements protocol.Source.
func (f *facts) Groups(id erasure.SegmentID, after, upTo uint64) ([]protocol.Group, error) {
	s := f.look(id)
	if s == nil {
		return nil, fmt.Errorf("segment %v: %w", id, fs.ErrNotExist)
	}
	sc := f.l.scan(s.desc, s.first, s.opening.parent.Last, s.opening.parent.Hash)
	var heads []*header
	acked := max(f.l.from.Seq, s.opening.acked)
	for upTo == 0 || sc.last < upTo {
		h, err := sc.next()
		if err != nil {
			return nil, err
		}
		if h == nil {
			break
		}
		acked = max(acked, h.acked)
		if h.first > after {
			heads = append(heads, h)
		}
	}
	acked = max(acked, sc.proof)
	var groups []protocol.Group
	for _, h := range heads {
		g := protocol.Group{Span: protocol.Span{First: h.first, Last: h.last}, Acked: max(h.acked, sc.proof), Hash: h.hash}
		switch {
		case h.last <= f.l.from.Seq:
			g.Whole = true // the index has it
		case h.last <= acked:
			// Proved: only its records are needed to go on; bytes of objects
			// that are lost are an error of those objects.
			_, err := sc.records(h)
			g.Whole = err == nil
		default:
			g.Whole = sc.whole(h) >= h.data
		}
		groups = append(groups, g)
	}
	if sc.busy != nil {
		f.fail(sc.busy)
	}
	for shard := range sc.unread {
		f.unread[unreadOf{id, s.desc.Disks[shard]}] = true
	}
	if len(groups) == 0 && sc.proof > after {
		groups = append(groups, protocol.Group{Acked: sc.proof})
	}
	return groups, f.err
}

func (l *Log) goneErr(id disk.ID) error {
	l.state.RLock()
	defer l.state.RUnlock()
	return l.gone[id]
}
