//go:build !linux

package filedisk

// asyncSyncs is for Linux: elsewhere disk.StartSync uses goroutines.
type asyncSyncs struct{}

func (*asyncSyncs) close() {}
