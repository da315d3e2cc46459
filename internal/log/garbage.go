package log

import (
	"github.com/cairnstore/cairn/erasure"
	"github.com/cairnstore/cairn/internal/segment"
)

// Garbage counts the shard files on the present disks that nothing refers to,
// and their bytes (rule 13): files of an epoch before this open's that were
// made ahead and never begun, and those of payload segments that known does not
// know. It deletes nothing. It may be called once the log is started and
// applied to its end; before that nothing is proved to be garbage, and it
// returns zeros. Log segments that are off the path are left out.
func (l *Log) Garbage(known func(erasure.SegmentID) bool) (files int, bytes int64) {
	now := l.EpochNumber()
	if l.Refusal() != nil {
		return 0, 0
	}
	page := make([]byte, segment.HeaderSize)
	for _, m := range l.sorted() {
		entries, err := m.disk.List()
		if err != nil {
			continue // a failing disk is found by others, and proves nothing here
		}
		for _, e := range entries {
			id, shard, ok := segment.ParseFileName(e.Name)
			if !ok || id.Epoch >= now || known(id) {
				continue
			}
			f, err := m.disk.Open(e.Name)
			if err != nil {
				continue
			}
			_, err = f.ReadAt(page, 0)
			_ = f.Close() // only read
			if err != nil {
				continue
			}
			h, err := segment.DecodeHeader(page, l.pool, id, shard)
			if allZero(page) || (err == nil && h.Kind == segment.KindPayload) {
				files++
				bytes += e.Size
			}
		}
	}
	return files, bytes
}
