package log

import (
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/erasure"
)

// layout is a group on its way to the tail. Append has one and reuses it.
type layout struct {
	parts  []part            // the header's
	disks  []disk.ID         // by part
	bufs   []*erasure.Buffer // by part: header, records, block, zeros to the boundary
	blocks [][]byte          // in bufs
	errs   []error           // by part
	waits  []func() error    // by part: for its sync
	heads  []int64           // by part: what of it is still to be written, from the start
	bodies sync.WaitGroup    // writes of the rest
}

// reset makes room for n parts.
func (w *layout) reset(n int) {
	if cap(w.parts) < n {
		w.parts, w.disks, w.bufs = make([]part, n), make([]disk.ID, n), make([]*erasure.Buffer, n)
		w.blocks, w.errs, w.waits, w.heads = make([][]byte, n), make([]error, n), make([]func() error, n), make([]int64, n)
	}
	w.parts, w.disks, w.bufs, w.blocks, w.errs, w.waits, w.heads = w.parts[:n], w.disks[:n], w.bufs[:n], w.blocks[:n], w.errs[:n], w.waits[:n], w.heads[:n]
	clear(w.parts)
	clear(w.errs)
}

// release gives the buffers back.
func (w *layout) release() {
	for i, b := range w.bufs {
		b.Release()
		w.bufs[i], w.blocks[i] = nil, nil
	}
}

// place completes h with where the parts of the group go in t. items are its
// data blocks.
func (l *Log) place(t *tail, h *header, items [][][]byte) {
	w, m := &l.layout, t.desc.Geometry.Parity
	w.reset(len(items) + m)
	h.segment, h.data, h.parity, h.parts = t.desc.ID, len(items), m, w.parts
	longest := int64(0)
	for i := range items {
		h.parts[i].length = sizeOf(items[i])
		longest = max(longest, h.parts[i].length)
	}
	for i := range h.parts {
		p := &h.parts[i]
		p.shard = (l.rotate + i) % len(t.files)
		p.records = i < m+1
		p.start = t.files[p.shard].pos
		if i >= h.data {
			p.length = longest
		}
		w.disks[i] = t.files[p.shard].disk
	}
	l.rotate = (l.rotate + len(h.parts)) % len(t.files)
}

// bulk reports whether the group, once placed, is one of large parts.
func (h *header) bulk() bool {
	for i := range h.parts {
		if h.end(i)-h.parts[i].start >= bulkPart {
			return true
		}
	}
	return false
}

// fill lays out the bytes of the group that place has placed: the blocks, their
// parity, their tags and, when all of these are known, the headers. With early
// set, writing begins meanwhile: of each part all but the pages before the first
// that has nothing but the block.
func (l *Log) fill(t *tail, h *header, records []byte, items [][][]byte, early bool) {
	w := &l.layout
	total := 0
	for i := range h.parts {
		w.bufs[i] = erasure.GetBuffer(int(h.end(i) - h.parts[i].start))
		at := h.blockAt(i) - h.parts[i].start
		w.blocks[i] = w.bufs[i].B[at : at+h.parts[i].length]
		w.heads[i] = int64(len(w.bufs[i].B))
		total += len(w.bufs[i].B)
	}
	body := func(i int) {
		from, whole := erasure.AlignUp(h.blockAt(i))-h.parts[i].start, w.heads[i]
		if !early || from >= whole {
			return
		}
		w.heads[i] = from
		w.bodies.Go(func() {
			f := t.files[h.parts[i].shard].file
			_, w.errs[i] = f.WriteAt(w.bufs[i].B[from:whole], h.parts[i].start+from)
		})
	}
	workers := 1
	if total >= parallelBytes {
		workers = runtime.GOMAXPROCS(0)
	}
	parallel(workers, len(h.parts), func(i int) {
		b, block := w.bufs[i].B, w.blocks[i]
		if h.parts[i].records {
			copy(b[h.size():], records)
		}
		clear(b[h.blockAt(i)-h.parts[i].start+int64(len(block)):])
		if i >= h.data {
			return
		}
		at := 0
		for _, p := range items[i] {
			at += copy(block[at:], p)
		}
		body(i)
	})
	tag := func(i int) {
		p := &h.parts[i]
		p.tag = t.files[p.shard].key.Tag(h.blockAt(i), w.blocks[i])
	}
	parallel(workers, h.data+1, func(i int) {
		if i > 0 {
			tag(i - 1)
			return
		}
		l.encode(w.blocks[:h.data], w.blocks[h.data:]) // takes longest, so first
		for j := h.data; j < len(h.parts); j++ {
			body(j)
		}
	})
	parallel(workers, h.parity, func(i int) { tag(h.data + i) })
	for i := range h.parts {
		h.encode(w.bufs[i].B[:0], i, t.files[h.parts[i].shard].key)
	}
}

// encode computes the parity of the blocks.
func (l *Log) encode(blocks, parity [][]byte) {
	if len(parity) == 0 || len(parity[0]) == 0 {
		return
	}
	codec, err := l.codecFor(len(parity))
	if err == nil {
		err = codec.Encode(blocks, parity)
	}
	if err != nil {
		panic("log: stripe of the log's own making does not encode: " + err.Error())
	}
}

// writeParts writes what fill has not and makes the parts durable, each on its
// disk. All are written before any is waited for, and all syncs are begun
// together.
func (l *Log) writeParts(t *tail, h *header) []diskError {
	w := &l.layout
	w.bodies.Wait()
	workers := 1
	if h.end(0)-h.parts[0].start >= apartBytes {
		workers = len(h.parts)
	}
	parallel(workers, len(h.parts), func(i int) {
		if w.errs[i] == nil {
			f := t.files[h.parts[i].shard].file
			_, w.errs[i] = f.WriteAt(w.bufs[i].B[:w.heads[i]], h.parts[i].start)
		}
	})
	for i := range h.parts {
		if w.errs[i] == nil {
			l.metrics.written.Add(int64(len(w.bufs[i].B)))
			l.metrics.syncs.Add(1)
			w.waits[i] = disk.StartSync(t.files[h.parts[i].shard].file)
		}
	}
	var failed []diskError
	for i := range h.parts {
		if w.errs[i] == nil {
			w.errs[i] = t.files[h.parts[i].shard].synced(w.waits[i]())
			w.waits[i] = nil
		}
		if w.errs[i] != nil {
			failed = append(failed, diskError{w.disks[i], w.errs[i]})
		}
	}
	return failed
}

// apartBytes is the size of a part from which each is written by a goroutine of
// its own: a small write is a copy to the page cache, over sooner than a
// goroutine begins.
const apartBytes = 128 << 10

// parallelBytes is the size from which a group is laid out on all cores: below
// it, waking them takes about as long.
const parallelBytes = 128 << 10

// parallel calls fn for 0 to n-1, on as many goroutines as it may.
func parallel(workers, n int, fn func(i int)) {
	workers = min(workers, n)
	if workers <= 1 {
		for i := range n {
			fn(i)
		}
		return
	}
	var next atomic.Int64
	run := func() {
		for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
			fn(i)
		}
	}
	var wg sync.WaitGroup
	for range workers - 1 {
		wg.Go(run)
	}
	run()
	wg.Wait()
}

// split deals the payload to at most k data blocks of about the same length, in
// order and without cutting an item: one block for each 64 KiB (rule 6).
func split(payload [][]byte, k int) [][][]byte {
	total := sizeOf(payload)
	n := min(max(int((total+BlockTarget-1)/BlockTarget), 1), k)
	blocks := make([][][]byte, 0, n)
	at, done := 0, int64(0)
	for left := n; left > 0 && at < len(payload); left-- {
		target := (total - done + int64(left) - 1) / int64(left)
		from, size := at, int64(0)
		for at < len(payload) && (left == 1 || size < target) {
			size += int64(len(payload[at]))
			at++
		}
		blocks = append(blocks, payload[from:at])
		done += size
	}
	if len(blocks) == 0 {
		blocks = append(blocks, nil)
	}
	return blocks
}

func sizeOf(payload [][]byte) (n int64) {
	for _, p := range payload {
		n += int64(len(p))
	}
	return n
}
