//go:build !linux

package filedisk

import "os"

// dataSyncer has no fdatasync here: File.Sync is fsync, F_FULLFSYNC on darwin,
// FlushFileBuffers on Windows.
type dataSyncer struct{}

func (*dataSyncer) init(*os.File) error { return nil }

func (*dataSyncer) dataSync(h *os.File) error { return h.Sync() }
