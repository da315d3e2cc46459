package engine

// The presets are Options to fill Disks and IndexDir in. The zero Options are
// for a server among others: a few hundred MB at full load.

// EdgeOptions are for boxes of 1-4 disks and little memory: under 48 MiB
// resident when idle. Everything that buffers is small, so that streams and
// large groups are slower.
func EdgeOptions() Options {
	return Options{
		MaxQueue:           64,
		GroupRecords:       256,
		GroupBytes:         1 << 20,
		MaxOpenFiles:       64,
		MaxWindows:         3,
		MaxSegments:        2,
		ReadAhead:          512 << 10,
		CacheBytes:         2 << 20,
		MemTableBytes:      512 << 10,
		MaxTransactionKeys: 100_000,
		LogSegmentSize:     16 << 20,
		PayloadSegmentSize: 64 << 20,
		LogAhead:           1 << 20,
		PayloadAhead:       2 << 20,
	}
}

// ApplianceOptions are for machines of 12-60 disks that do little else: a few
// GB at full load.
func ApplianceOptions() Options {
	return Options{
		MaxQueue:           8192,
		GroupRecords:       4096,
		GroupBytes:         16 << 20,
		MaxOpenFiles:       8192,
		MaxWindows:         96,
		MaxSegments:        24,
		ReadAhead:          8 << 20,
		CacheBytes:         1 << 30,
		MemTableBytes:      64 << 20,
		MaxTransactionKeys: 10_000_000,
		LogSegmentSize:     256 << 20,
		PayloadSegmentSize: 1 << 30,
		LogAhead:           16 << 20,
		PayloadAhead:       32 << 20,
	}
}
