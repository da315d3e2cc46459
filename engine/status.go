package engine

import "encoding/hex"

// DiskStatus is a disk of the pool as the engine sees it.
type DiskStatus struct {
	ID   string
	Name string // what the driver calls it; empty if it is not present
	Live bool   // takes writes
	Err  error  // why it does not, if that is known
}

// Status is a snapshot of the store's health.
type Status struct {
	Pool     string
	ReadOnly bool
	Reason   error // why the store is read-only; matches the sentinels
	Epoch    uint64
	Disks    []DiskStatus
	// NotJoined says which of the disks given to Open are not members, and
	// why: a damaged label, an unreadable disk, an empty one beside a pool.
	NotJoined []error
	// Geometry of new segments, and the pool's own: fewer data shards while
	// disks are missing. Survives is how many further disks a new object
	// survives.
	Geometry, FullGeometry string
	Survives               int
	Sequence               uint64 // of the last commit shown

	// Garbage are files that Open found on the disks and that nothing refers
	// to: what a crash left behind. They take space until reclaim exists.
	GarbageFiles int
	GarbageBytes int64
}

// Status returns the store's health as it is now.
func (e *Engine) Status() Status {
	l := e.log.Status()
	s := Status{
		Pool: hex.EncodeToString(l.Pool[:]), Epoch: l.Epoch, Geometry: l.Geometry.String(), FullGeometry: l.Wanted.String(),
		Survives: l.Geometry.Parity, Sequence: e.applied.Load(),
		NotJoined:    l.NotJoined,
		GarbageFiles: e.garbageFiles, GarbageBytes: e.garbageBytes,
	}
	if err := e.writable(); err != nil {
		s.ReadOnly, s.Reason = true, translate(err)
	}
	for _, d := range l.Disks {
		s.Disks = append(s.Disks, DiskStatus{ID: d.ID.String(), Name: d.Name, Live: d.Live, Err: d.Err})
	}
	return s
}
