// Package bench measures whole workloads of the engine: puts and gets of objects
// of several sizes from several goroutines, on six directories and 4+2, with
// every put durable. Beside each stands what the same machine allows in the same
// run: the same bytes in groups of the same size, written and fdatasynced to
// zero-filled files in the same directories; and hashes, tags and parity of the
// same bytes alone.
//
// Six directories on one disk share one queue: the figures say what the engine
// adds to that, not what six disks would do.
//
//	go test ./bench -run '^$' -bench . -benchtime 1s
package bench
