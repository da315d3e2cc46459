// Package erasure turns bytes into verified, redundant pieces and back. It is
// pure: slices in, slices out, never a disk, a clock or a goroutine.
//
// A [Geometry] k+m spreads a stripe over k data and m parity blocks, which a
// [Codec] computes and rebuilds. A [Key] seals what one shard file holds in
// frames, the smallest piece that is verified by itself. An [Extent] is the run
// of frames that holds one striped object; [RowAt] and its neighbours say where
// in it each byte lies. [GetBuffer] hands out the memory for all of that.
// [Durability] estimates what a geometry is worth.
//
// # Guarantees
//
// Bytes that [Key.OpenFrame] returns are those that [Key.SealFrame] saw for the
// same pool, segment, shard and offset. [Codec.Reconstruct] restores what
// [Codec.Encode] was given from any k of the k+m blocks, provided that those are
// right; parity does not say which block is wrong, tags do.
//
// # Concurrency
//
// Codec and Key are safe for concurrent use; everything else is a value or
// belongs to one caller. Nothing is kept of a slice after a call returns.
//
// # Errors
//
// Errors wrap [ErrGeometry], [ErrBlocks], [ErrTooFew], [ErrFrame], [ErrFormat]
// or [ErrDurability]. Panics are for lengths and positions that the caller
// computes itself; whatever can come from a disk is an error.
//
// # On-disk format
//
// The parity matrix, the frame, the key and the rows of an extent are described
// in docs/format/frame.md.
package erasure
