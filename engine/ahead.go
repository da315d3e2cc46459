package engine

import (
	"github.com/cairnstore/cairn/erasure"
)

// ahead serves the sequential reads of a striped object from pieces that it
// fetches: the one that is read, and beside it the next, in the background. The
// pieces grow while the reads go straight on, up to Options.ReadAhead.
type ahead struct {
	o     *Object
	piece piece
	next  *fetch // under way or done; nil: none
	size  int64  // of the last piece asked for
	end   int64  // of the last read: reads that go on from there go straight on
}

// piece is a part of the object's range.
type piece struct {
	buf *erasure.Buffer
	at  int64
	n   int64
}

// from returns the bytes from pos on, nil if the piece does not hold pos.
func (p *piece) from(pos int64) []byte {
	if pos < p.at || pos >= p.at+p.n {
		return nil
	}
	return p.buf.B[pos-p.at : p.n]
}

func (p *piece) release() {
	if p.buf != nil {
		p.buf.Release()
	}
	*p = piece{}
}

// fetch is a piece that is being read.
type fetch struct {
	piece piece
	err   error
	done  chan struct{}
}

// firstAhead is the first piece: a reader may want no more.
const firstAhead = 256 << 10

// read reads from pos on into p, at least a byte.
func (a *ahead) read(p []byte, pos int64) (int, error) {
	n, err := a.readFrom(p, pos, pos > 0 && pos == a.end)
	if err == nil {
		a.end = pos + int64(n)
	}
	return n, err
}

func (a *ahead) readFrom(p []byte, pos int64, straight bool) (int, error) {
	if b := a.piece.from(pos); b != nil {
		return copy(p, b), nil
	}
	a.piece.release()
	if f := a.next; f != nil {
		a.next = nil
		if <-f.done; f.err == nil && f.piece.from(pos) != nil {
			a.piece = f.piece
			a.begin(a.piece.at + a.piece.n)
			return copy(p, a.piece.from(pos)), nil
		}
		f.piece.release()
	}
	if !straight {
		a.size = 0
	}
	a.grow()
	// A failure to fill may be of what is not asked for.
	if int64(len(p)) >= a.size || a.fill(pos, a.size) != nil {
		err := a.o.readRange(p, a.o.offset+pos)
		if err == nil && straight {
			a.begin(pos + int64(len(p)))
		}
		return len(p), err
	}
	if straight {
		a.begin(a.piece.at + a.piece.n)
	}
	return copy(p, a.piece.from(pos)), nil
}

func (a *ahead) grow() {
	limit := a.o.e.opts.ReadAhead
	a.size = min(max(2*a.size, firstAhead), limit)
}

// fill fetches up to n bytes from pos on.
func (a *ahead) fill(pos, n int64) error {
	a.piece = a.o.newPiece(pos, n)
	err := a.o.readRange(a.piece.buf.B, a.o.offset+pos)
	if err != nil {
		a.piece.release()
	}
	return err
}

func (o *Object) newPiece(pos, n int64) piece {
	n = min(n, o.length-pos)
	return piece{buf: erasure.GetBuffer(int(n)), at: pos, n: n}
}

// begin fetches the piece from pos on in the background.
func (a *ahead) begin(pos int64) {
	if pos >= a.o.length {
		return
	}
	a.grow()
	f := &fetch{piece: a.o.newPiece(pos, a.size), done: make(chan struct{})}
	a.next = f
	o := a.o
	go func() {
		defer close(f.done)
		f.err = o.readRange(f.piece.buf.B, o.offset+pos)
	}()
}

// close waits for what is under way and gives the memory back.
func (a *ahead) close() {
	a.piece.release()
	if f := a.next; f != nil {
		a.next = nil
		<-f.done
		f.piece.release()
	}
}
