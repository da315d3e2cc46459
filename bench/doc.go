// Package bench measures whole workloads of the engine, each beside what the
// same machine allows in the same run.
//
//	go run ./bench/results            everything: about ten minutes, 15 GB of space for the moment
//	go run ./bench/results -quick     the same rows, shorter and noisier: under two minutes
//	go run ./bench/results -run 'put/4KiB/64|ops'
//
// writes bench/RESULTS.md and the charts beside it. Flags:
//
//	-dir DIR[,DIR...]  where the stores are made and removed again; several
//	                   directories, on disks of their own, share the six disks
//	                   of the store
//	-out FILE          the report; the charts go into its directory
//	-quick             short rounds, no million objects
//	-run REGEXP        only the parts that match
//	-rounds N          rounds of each row, at least 3
//	-profile DIR       a CPU profile of each row's first round, engine only; rounds
//	                   take four times as long
//
// # How it measures
//
// Six directories, 4+2, every put durable: acknowledged after the fdatasyncs of
// its group. A row is measured in rounds, and each round runs the engine and
// then its limits, for as many bytes, so that all meet the same mood of the
// machine. Shown are the median round and, in brackets, the lowest and the
// highest. A ratio is that of the two figures of one round.
//
// The limit of a put is the slower of two: as many groups of the same size,
// in as many fdatasyncs, written to files that were filled with zeros before, in
// the same directories; and content hash, parity and tags of the same bytes on
// all cores, with nothing else. For objects that are streamed the first is
// taken with and without O_DIRECT, whichever is faster. The limit of a get is to
// read the same pieces from the page cache and to hash them.
//
// CPU is user and system time of the whole process, background work included.
// Allocations are those of the process too. What the kernel does on its own
// behalf, writing back for example, is in neither.
//
// Directories on one disk share one queue: the figures say what the engine adds
// to that, not what six disks would do.
//
// No test asserts a time. The tests of this package run the code of all parts,
// briefly.
package bench
