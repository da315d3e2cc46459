// Package engine is an embeddable object store: buckets of objects over
// erasure-coded disks.
//
//	e, err := engine.Open(ctx, &engine.Options{Disks: disks, IndexDir: "/var/lib/app/index"})
//	err = e.CreateBucket(ctx, "models")
//	info, err := e.Bucket("models").Put(ctx, "v1/weights.bin", file, nil)
//	obj, err := e.Bucket("models").Get(ctx, "v1/weights.bin", nil)
//
// # Guarantees
//
//   - When a mutation returns nil it is durable: fsynced on all the disks that
//     it was laid on. It survives a power cut and the loss of any m disks of a
//     k+m pool. With m = 0, loss and rot are detected and named, not repaired.
//   - An object is seen whole or not at all, and only when it is durable.
//   - Every byte handed out has been verified against BLAKE3. What cannot be
//     verified or rebuilt is an [UnrecoverableError], never wrong bytes and
//     never a short success.
//   - Mutations of a key are linearizable, and a listing begun after a Put
//     returned shows it. [Conditions] are decided at the commit.
//   - Memory is bounded by [Options]: mutations wait for their turn, or fail
//     with [ErrBusy] if [Options.FailWhenBusy] is set.
//   - A failing disk never ends the process: the pool goes on without it.
//
// # Concurrency
//
// All methods of Engine and Bucket may be called from many goroutines at once.
// An Object, but for its ReadAt, a Writer and a Pending are each used by one
// goroutine at a time.
//
// # Errors
//
// Errors wrap the sentinels of this package; test with errors.Is. Most are an
// [*Error] that names operation, bucket and key. A done context returns its
// own error: if it ended a call before its commit point, nothing happened.
//
// # On-disk format
//
// See docs/format. Everything but the index, which is built again from the
// disks whenever it is lost, lies on the disks themselves.
package engine
