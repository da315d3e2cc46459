package erasure

import "fmt"

// Extent is where the bytes of a striped object lie: a run of stripe rows that
// begins at the same offset in every shard file of one segment.
//
// Rows, columns and frames follow from the segment's k and Length alone
// ([RowAt]); they are on-disk format (docs/format/frame.md).
type Extent struct {
	Segment SegmentID
	Offset  int64 // in each shard file, bytes, a multiple of Align
	Length  int64 // object bytes, more than 0
}

// MaxLength is the most bytes that one extent may carry: 1 EiB. The
// arithmetic below does not overflow up to it.
const MaxLength = 1 << 60

// Validate returns nil or an error that wraps [ErrFormat]. It is for extents
// that come from a record.
func (e Extent) Validate() error {
	if e.Segment.IsZero() || e.Offset < 0 || e.Offset > MaxLength || e.Offset%Align != 0 || e.Length < 1 || e.Length > MaxLength {
		return fmt.Errorf("%w: extent of %d bytes at offset %d of segment %s", ErrFormat, e.Length, e.Offset, e.Segment)
	}
	return nil
}

// Row is one stripe of an extent: in each shard file that it touches one frame
// within the FrameLen(Column) bytes from Offset. Column c lies in shard c, the
// parity of the row's Columns data columns in shards k, k+1 ..., each
// ColumnLen(0) bytes of data long.
type Row struct {
	Offset  int64 // relative to the extent's, the same in each shard file
	Data    int64 // first object byte of the row
	Length  int64 // object bytes in the row
	Column  int   // object bytes in each column but the last
	Columns int   // data columns written, k' <= k
}

// RowBytes returns the object bytes of a full row.
func RowBytes(k int) int64 { return int64(k) * FrameData }

// ExtentSize returns the bytes that an extent of length object bytes takes in
// each shard file: 0 for 0, always a multiple of [Align], and at most
//
//	length/k + NumRows(k, length)*TrailerSize + 2*Align
func ExtentSize(k int, length int64) int64 {
	n := NumRows(k, length)
	if n == 0 {
		return 0
	}
	last := RowAt(k, length, n-1)
	return last.Offset + int64(FrameLen(last.Column))
}

// NumRows returns the number of rows that length object bytes take.
func NumRows(k int, length int64) int64 {
	return (length + RowBytes(k) - 1) / RowBytes(k)
}

// RowAt returns row number row, from 0, of an extent of length object bytes
// over k data shards.
//
// Rows are full but at the end. An object of less than one full row has one,
// its bytes spread evenly; otherwise the last two rows share what is left
// evenly if it is not a multiple of full rows. So a column of an extent of two
// rows or more is never shorter than half a frame, but for the very last.
func RowAt(k int, length, row int64) Row {
	full := RowBytes(k)
	n := NumRows(k, length)
	if row < 0 || row >= n {
		panic(fmt.Sprintf("erasure: row %d of %d", row, n))
	}
	if length%full == 0 || row < n-2 {
		return Row{Offset: row * FrameSize, Data: row * full, Length: full, Column: FrameData, Columns: k}
	}
	if n == 1 {
		column := columnFor(k, length)
		return Row{Length: length, Column: column, Columns: columns(length, column)}
	}
	// Two rows share the rest. It is more than one full row, so the first of
	// them fills its k columns and something is left for the second.
	r := Row{Offset: (n - 2) * FrameSize, Data: (n - 2) * full}
	rest := length - r.Data
	r.Column = columnFor(2*k, rest)
	r.Length = int64(k) * int64(r.Column)
	if row == n-1 {
		r.Offset += int64(FrameLen(r.Column))
		r.Data += r.Length
		r.Length = rest - r.Length
	}
	r.Columns = columns(r.Length, r.Column)
	return r
}

// RowOf returns the number of the row that holds object byte pos, for 0 <= pos
// < length; any other pos is a panic.
func RowOf(k int, length, pos int64) int64 {
	if pos < 0 || pos >= length {
		panic(fmt.Sprintf("erasure: byte %d of %d", pos, length))
	}
	row := pos / RowBytes(k)
	// Only the last two rows are narrower: the second begins earlier than a
	// full row would.
	if n := NumRows(k, length); row == n-2 && pos >= RowAt(k, length, n-1).Data {
		row++
	}
	return row
}

// ColumnLen returns the object bytes in data column c: Column in all but the
// last of the Columns, and 0 beyond them.
func (r Row) ColumnLen(c int) int {
	left := r.Length - int64(c)*int64(r.Column)
	return int(max(0, min(left, int64(r.Column))))
}

// columnFor returns how many bytes each of n columns takes so that together
// they hold length: as many as fit the frames that this needs.
func columnFor(n int, length int64) int {
	return FrameLen(int((length+int64(n)-1)/int64(n))) - TrailerSize
}

// columns returns how many columns of column bytes length needs.
func columns(length int64, column int) int {
	return int((length + int64(column) - 1) / int64(column))
}
