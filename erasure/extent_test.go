package erasure

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
)

// twinRows lays an extent out by the rule as it is written down: one row at a
// time from the front.
func twinRows(k, length int64) []Row {
	const frame, trailer, align = 65536, 40, 4096
	frameLen := func(n int64) int64 { return (n + trailer + align - 1) / align * align }
	full := k * (frame - trailer)
	var rows []Row
	var offset, data int64
	add := func(bytes, column int64) {
		rows = append(rows, Row{Offset: offset, Data: data, Length: bytes, Column: int(column), Columns: int((bytes + column - 1) / column)})
		offset += frameLen(column)
		data += bytes
	}
	for rest := length; rest > 0; rest = length - data {
		switch {
		case rest < full: // only if the whole object is less than a row
			add(rest, frameLen((rest+k-1)/k)-trailer)
		case length%full != 0 && rest < 2*full:
			column := frameLen((rest+2*k-1)/(2*k)) - trailer
			add(min(rest, k*column), column)
			if left := length - data; left > 0 {
				add(left, column)
			}
		default:
			add(full, frame-trailer)
		}
	}
	return rows
}

// interestingLengths are those around every boundary of the rule, and some.
func interestingLengths(k int, r *rand.Rand) []int64 {
	var out []int64
	full := RowBytes(k)
	around := func(n int64) {
		for _, d := range []int64{-int64(k) - 1, -int64(k), -1, 0, 1, int64(k), int64(k) + 1} {
			if n+d > 0 {
				out = append(out, n+d)
			}
		}
	}
	for frame := int64(1); frame <= 16; frame++ {
		column := frame*Align - TrailerSize
		around(int64(k) * column) // one row just fits columns of this length
		around(2 * int64(k) * column)
		around(full + int64(k)*column)
	}
	for rows := int64(1); rows <= 4; rows++ {
		around(rows * full)
		around(rows*full + full/2)
	}
	around(1)
	around(64 << 10)
	around(128 << 10)
	for range 50 {
		out = append(out, 1+r.Int64N(6*full), 1+r.Int64N(1<<40))
	}
	return out
}

var extentKs = []int{1, 2, 3, 4, 8, 17, 32}

// sampleRows returns the numbers of the first, the last and some other rows.
func sampleRows(n int64, r *rand.Rand) []int64 {
	var out []int64
	for i := range n {
		if i < 4 || i >= n-4 {
			out = append(out, i)
		}
		if n > 8 && i == 4 {
			break
		}
	}
	if n > 8 {
		for i := n - 4; i < n; i++ {
			out = append(out, i)
		}
		for range 4 {
			out = append(out, r.Int64N(n))
		}
	}
	return out
}

func TestRowsMatchTwin(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 0))
	for _, k := range extentKs {
		for _, length := range interestingLengths(k, r) {
			if length > 8*RowBytes(k) {
				continue
			}
			want := twinRows(int64(k), length)
			got := make([]Row, NumRows(k, length))
			for i := range got {
				got[i] = RowAt(k, length, int64(i))
			}
			equal(t, want, got, "k=%d length=%d", k, length)
		}
	}
}

// Rows follow each other without gap or overlap, in the object and in the
// shard files; columns fill rows; RowOf finds each byte.
func TestRowsTileTheObject(t *testing.T) {
	r := rand.New(rand.NewPCG(12, 0))
	for _, k := range extentKs {
		for _, length := range interestingLengths(k, r) {
			n := NumRows(k, length)
			for _, i := range sampleRows(n, r) {
				row := RowAt(k, length, i)
				next := Row{Data: length, Offset: ExtentSize(k, length)}
				if i < n-1 {
					next = RowAt(k, length, i+1)
				}
				if i == 0 && (row.Data != 0 || row.Offset != 0) {
					t.Fatalf("k=%d length=%d: first row is %+v", k, length, row)
				}
				equal(t, next.Data, row.Data+row.Length, "k=%d length=%d row %d of %d %+v: bytes", k, length, i, n, row)
				equal(t, next.Offset, row.Offset+int64(FrameLen(row.Column)), "k=%d length=%d row %d of %d %+v: offset", k, length, i, n, row)
				checkColumns(t, k, row)
				for _, pos := range []int64{row.Data, row.Data + row.Length/2, row.Data + row.Length - 1} {
					equal(t, i, RowOf(k, length, pos), "k=%d length=%d: row of byte %d", k, length, pos)
				}
			}
		}
	}
}

func checkColumns(t *testing.T, k int, row Row) {
	t.Helper()
	if row.Columns < 1 || row.Columns > k || row.Column < 1 || row.Column > FrameData || row.Offset%Align != 0 {
		t.Fatalf("k=%d: %+v", k, row)
	}
	var sum int64
	for c := range row.Columns {
		n := row.ColumnLen(c)
		sum += int64(n)
		if n < 1 || c < row.Columns-1 && n != row.Column {
			t.Fatalf("k=%d %+v: column %d has %d bytes", k, row, c, n)
		}
	}
	equal(t, row.Length, sum, "k=%d %+v: columns", k, row)
	for c := row.Columns; c <= k; c++ {
		equal(t, 0, row.ColumnLen(c))
	}
}

// framesOf counts the frames that hold [from, to) of an extent.
func framesOf(k int, length, from, to int64) int {
	n := 0
	for pos := from; pos < to; n++ {
		row := RowAt(k, length, RowOf(k, length, pos))
		column := (pos - row.Data) / int64(row.Column)
		pos = row.Data + column*int64(row.Column) + int64(row.ColumnLen(int(column)))
	}
	return n
}

// 64 KiB of an extent of two rows or more never takes more than three frames,
// wherever the range begins; some take three.
func TestRangeTouchesAtMostThreeFrames(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 0))
	const size = 64 << 10
	for _, k := range extentKs {
		worst := 0
		for _, length := range interestingLengths(k, r) {
			n := NumRows(k, length)
			if n < 2 {
				continue
			}
			for _, i := range sampleRows(n, r) {
				row := RowAt(k, length, i)
				// Ranges that begin or end at an edge of a column are the worst.
				for c := range row.Columns + 1 {
					edge := row.Data + min(int64(c)*int64(row.Column), row.Length)
					for _, from := range []int64{edge - size - 1, edge - size, edge - size + 1, edge - 1, edge, edge + 1} {
						from = max(0, min(from, length-1))
						worst = max(worst, framesOf(k, length, from, min(from+size, length)))
					}
				}
			}
		}
		equal(t, 3, worst, "k=%d", k)
	}
}

// The stated bound: length/k + rows x trailer + 2 x Align.
func TestExtentSizeIsBounded(t *testing.T) {
	r := rand.New(rand.NewPCG(14, 0))
	for _, k := range extentKs {
		for _, length := range interestingLengths(k, r) {
			size := ExtentSize(k, length)
			bound := length/int64(k) + NumRows(k, length)*TrailerSize + 2*Align
			if size > bound || size%Align != 0 || size*int64(k) < length {
				t.Fatalf("k=%d length=%d: %d bytes, at most %d", k, length, size, bound)
			}
		}
	}
}

func TestExtentEdges(t *testing.T) {
	for _, k := range extentKs {
		equal(t, int64(0), ExtentSize(k, 0))
		equal(t, int64(0), NumRows(k, 0))
		panics(t, func() { RowAt(k, 0, 0) })
		panics(t, func() { RowAt(k, 10, 1) })
		panics(t, func() { RowAt(k, 10, -1) })
		panics(t, func() { RowOf(k, 10, 10) })
		panics(t, func() { RowOf(k, 10, -1) })
		n := NumRows(k, MaxLength)
		last := RowAt(k, MaxLength, n-1)
		equal(t, int64(MaxLength), last.Data+last.Length)
		if ExtentSize(k, MaxLength) <= MaxLength/int64(k) {
			t.Fatal("overflow")
		}
	}
	good := Extent{Segment: testSegment, Offset: Align, Length: 1}
	noError(t, good.Validate())
	for _, e := range []Extent{
		{Offset: Align, Length: 1}, {testSegment, 1, 1}, {testSegment, -Align, 1}, {testSegment, Align, 0},
		{testSegment, Align, -1}, {testSegment, Align, MaxLength + 1}, {testSegment, MaxLength + Align, 1},
	} {
		errorIs(t, e.Validate(), ErrFormat, "%+v", e)
	}
}

// An object goes through rows, parity and frames onto shards, loses any m of
// them and is whole: the parts of this package fit each other.
func TestExtentSurvivesLostShards(t *testing.T) {
	r := rand.New(rand.NewPCG(15, 0))
	for _, g := range []Geometry{{1, 1}, {2, 1}, {4, 2}} {
		c := newCodec(t, g)
		for _, length := range []int64{1, 5000, RowBytes(g.Data) - 1, RowBytes(g.Data), RowBytes(g.Data) + 1, 3*RowBytes(g.Data) - 70_000} {
			object := randomBytes(r, int(length))
			shards := writeExtent(t, c, object)
			for range g.Parity {
				shards[r.IntN(len(shards))] = nil
			}
			if !bytes.Equal(object, readExtent(t, c, shards, length)) {
				t.Fatalf("%s, %d bytes: other bytes", g, length)
			}
		}
	}
}

func writeExtent(t *testing.T, c *Codec, object []byte) [][]byte {
	g, length := c.Geometry(), int64(len(object))
	shards := makeBlocks(g.Shards(), int(ExtentSize(g.Data, length)))
	for i := range NumRows(g.Data, length) {
		row := RowAt(g.Data, length, i)
		data := make([][]byte, row.Columns)
		rest := object[row.Data : row.Data+row.Length]
		for col := range data {
			data[col], rest = rest[:row.ColumnLen(col)], rest[row.ColumnLen(col):]
		}
		parity := makeBlocks(g.Parity, row.ColumnLen(0))
		noError(t, c.Encode(data, parity))
		for s := range shards {
			block := []byte(nil)
			if s < row.Columns {
				block = data[s]
			} else if s >= g.Data {
				block = parity[s-g.Data]
			}
			if block != nil {
				frame := shards[s][row.Offset:][:FrameLen(len(block))]
				copy(frame, block)
				NewKey(testPool, testSegment, s).SealFrame(frame, len(block), row.Offset)
			}
		}
	}
	return shards
}

func readExtent(t *testing.T, c *Codec, shards [][]byte, length int64) []byte {
	g := c.Geometry()
	var object []byte
	for i := range NumRows(g.Data, length) {
		row := RowAt(g.Data, length, i)
		size := row.ColumnLen(0)
		blocks := make([][]byte, row.Columns+g.Parity)
		for b := range blocks {
			s, n := b, row.ColumnLen(b)
			if b >= row.Columns {
				s, n = g.Data+b-row.Columns, size
			}
			if shards[s] != nil {
				var err error
				blocks[b], err = NewKey(testPool, testSegment, s).OpenFrame(shards[s][row.Offset:][:FrameLen(n)], row.Offset)
				noError(t, err)
			}
		}
		for col := range row.Columns {
			dst := makeBlocks(1, size)
			noError(t, c.Reconstruct(blocks, size, []int{col}, dst))
			object = append(object, dst[0][:row.ColumnLen(col)]...)
		}
	}
	return object
}

// The layout is on-disk format: rows of a few extents, readable.
func TestExtentGolden(t *testing.T) {
	var out bytes.Buffer
	for _, k := range []int{1, 4, 17} {
		full := RowBytes(k)
		for _, length := range []int64{1, 100_000, full - 1, full, full + 1, 2*full - 1, 3*full + full/3} {
			fmt.Fprintf(&out, "k=%d length=%d size=%d\n", k, length, ExtentSize(k, length))
			for i := range NumRows(k, length) {
				r := RowAt(k, length, i)
				fmt.Fprintf(&out, "  row %d: offset %d, bytes %d-%d, columns %d of %d, last %d\n",
					i, r.Offset, r.Data, r.Data+r.Length, r.Columns, r.Column, r.ColumnLen(r.Columns-1))
			}
		}
	}
	golden(t, "extents_v1.txt", out.Bytes())
}

func FuzzExtent(f *testing.F) {
	f.Add(uint8(4), int64(1<<30), int64(12345678))
	f.Add(uint8(1), int64(1), int64(0))
	f.Add(uint8(17), RowBytes(17)+1, RowBytes(17))
	f.Fuzz(func(t *testing.T, k8 uint8, length, pos int64) {
		k := int(k8)%MaxData + 1
		length = length&(MaxLength-1) + 1
		pos = pos & (MaxLength - 1) % length
		i := RowOf(k, length, pos)
		row := RowAt(k, length, i)
		if pos < row.Data || pos >= row.Data+row.Length {
			t.Fatalf("k=%d length=%d: byte %d is not in row %d %+v", k, length, pos, i, row)
		}
		checkColumns(t, k, row)
		if end := row.Offset + int64(FrameLen(row.Column)); end > ExtentSize(k, length) {
			t.Fatalf("k=%d length=%d: row %d ends at %d", k, length, i, end)
		}
	})
}
