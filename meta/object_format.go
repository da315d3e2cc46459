package meta

import (
	"encoding/binary"

	"github.com/cairnstore/cairn/erasure"
)

// Object is what a put makes: properties, and where the bytes lie. An object of
// no bytes is neither packed nor has extents.
type Object struct {
	Size    int64    // bytes
	Hash    [32]byte // BLAKE3 of the content, if HasHash
	HasHash bool
	Class   uint16 // storage class
	KeyID   uint32 // encryption key; 0 is none
	Headers Headers
	// Metadata is the user's metadata, encoded by AppendMetadata and opaque to
	// all that need not read it.
	Metadata []byte
	// ETag is the entity tag that the object was stored with, kept as it is: at
	// most MaxETag bytes; empty for none.
	ETag string
	// Tags are the object's tags, encoded by AppendTags and opaque like
	// Metadata. KindTags replaces them.
	Tags []byte
	// Packed says that all bytes lie in the payload of the group that carries
	// the record, from Offset on.
	Packed bool
	Offset uint32
	// Extents are the places of a larger object's bytes, in order. Their
	// lengths add up to Size.
	Extents []erasure.Extent
}

// Bits of an object's flag byte. Others are refused: a new one is a new version.
const (
	flagHash    = 1 << iota // a hash follows
	flagPacked              // an offset follows
	flagExtents             // extents follow
	flagHeaders             // a header mask and strings follow
	flagMeta                // a metadata block follows
	flagETag                // an entity tag follows
	flagTags                // a tag block follows
	flagsKnown  = 1<<iota - 1
)

// minExtent is the shortest encoding of an extent.
const minExtent = erasure.SegmentIDSize + 2

func (o *Object) append(b []byte) []byte {
	var flags byte
	if o.HasHash {
		flags |= flagHash
	}
	if o.Packed {
		flags |= flagPacked
	}
	if len(o.Extents) > 0 {
		flags |= flagExtents
	}
	if o.Headers != (Headers{}) {
		flags |= flagHeaders
	}
	if len(o.Metadata) > 0 {
		flags |= flagMeta
	}
	if o.ETag != "" {
		flags |= flagETag
	}
	if len(o.Tags) > 0 {
		flags |= flagTags
	}
	b = append(b, flags)
	b = binary.AppendUvarint(b, uint64(o.Size))
	b = binary.AppendUvarint(b, uint64(o.Class))
	b = binary.AppendUvarint(b, uint64(o.KeyID))
	if o.HasHash {
		b = append(b, o.Hash[:]...)
	}
	if flags&flagHeaders != 0 {
		b = o.Headers.append(b)
	}
	if flags&flagMeta != 0 {
		b = appendBytes(b, o.Metadata)
	}
	if flags&flagETag != 0 {
		b = appendString(b, o.ETag)
	}
	if flags&flagTags != 0 {
		b = appendBytes(b, o.Tags)
	}
	if o.Packed {
		b = binary.AppendUvarint(b, uint64(o.Offset))
	}
	if flags&flagExtents != 0 {
		b = binary.AppendUvarint(b, uint64(len(o.Extents)))
		for _, e := range o.Extents {
			b = e.Segment.Append(b)
			b = binary.AppendUvarint(b, uint64(e.Offset))
			b = binary.AppendUvarint(b, uint64(e.Length))
		}
	}
	return b
}

// object reads an Object. Its Metadata and Tags alias the input.
func (d *decoder) object(o *Object) {
	flags := d.byte()
	if flags&^flagsKnown != 0 || flags&(flagPacked|flagExtents) == flagPacked|flagExtents {
		d.fail()
	}
	o.Size = d.positive()
	o.Class = uint16(d.below(1<<16 - 1))
	o.KeyID = uint32(d.below(1<<32 - 1))
	if flags&flagHash != 0 {
		o.HasHash = true
		copy(o.Hash[:], d.take(len(o.Hash)))
	}
	if flags&flagHeaders != 0 {
		d.headers(&o.Headers)
	}
	if flags&flagMeta != 0 {
		o.Metadata = d.block(checkMetadata)
	}
	if flags&flagETag != 0 {
		if o.ETag = d.string(); o.ETag == "" || len(o.ETag) > MaxETag {
			d.fail()
		}
	}
	if flags&flagTags != 0 {
		o.Tags = d.block(checkTags)
	}
	if flags&flagPacked != 0 {
		o.Packed = true
		o.Offset = uint32(d.below(1<<32 - 1))
	}
	if flags&flagExtents != 0 {
		d.extents(o)
	}
	if placed := flags&(flagPacked|flagExtents) != 0; placed != (o.Size > 0) {
		d.fail()
	}
}

// block reads a block that is not empty, aliasing the input, and checks it with
// check; nil if d skims.
func (d *decoder) block(check func([]byte) error) []byte {
	p := d.bytes()
	switch {
	case len(p) == 0:
		d.fail()
	case d.skim:
		return nil
	case check(p) != nil:
		d.fail()
	}
	return p
}

func (d *decoder) extents(o *Object) {
	n := d.length(minExtent)
	if n == 0 {
		d.fail()
		return
	}
	o.Extents = make([]erasure.Extent, n)
	var sum int64
	for i := range o.Extents {
		var e erasure.Extent
		if p := d.take(erasure.SegmentIDSize); p != nil {
			e.Segment = erasure.DecodeSegmentID(p)
		}
		e.Offset = d.positive()
		e.Length = d.positive()
		if d.bad || e.Validate() != nil || sum > o.Size-e.Length {
			d.fail()
			return
		}
		sum += e.Length
		o.Extents[i] = e
	}
	if sum != o.Size {
		d.fail()
	}
}
