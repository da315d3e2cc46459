// Package fuzz holds the fuzz targets of the module: one for each decoder, and
// FuzzModel, which runs random scripts against an engine on disks in memory.
//
// There is no code to import. `go test ./fuzz` runs the seeds, `make fuzz` looks
// for more. What a decoder is held to:
//
//   - it never panics, and what it returns is bounded by what it was given
//   - what it accepts encodes again to something it reads the same; to the same
//     bytes where the format has one encoding
//   - where there is a checksum, no other byte in any place is accepted
//
// Seeds lie in testdata/fuzz/<target>: real structures and hostile ones. A
// failing input that `go test -fuzz` writes there is kept as a test.
package fuzz
