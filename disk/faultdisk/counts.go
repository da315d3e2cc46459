package faultdisk

import "sync/atomic"

// Counts are numbers of calls, failed ones included, and of bytes transferred.
// What Extend writes and syncs is in Extends alone: it is work ahead of need,
// off the hot path. Reserve counts as an Extend.
type Counts struct {
	Creates, Opens, Reads, Writes, Syncs, Extends, Removes, Lists, Checks int64
	ReadBytes, WriteBytes                                                 int64
}

// Add returns c + o, field by field.
func (c Counts) Add(o Counts) Counts {
	a, b := c.fields(), o.fields()
	for i := range a {
		*a[i] += *b[i]
	}
	return c
}

// Sub returns c - o, field by field.
func (c Counts) Sub(o Counts) Counts {
	a, b := c.fields(), o.fields()
	for i := range a {
		*a[i] -= *b[i]
	}
	return c
}

// fields lists the fields in the order of the counters.
func (c *Counts) fields() [numCounters]*int64 {
	return [numCounters]*int64{
		&c.Creates, &c.Opens, &c.Reads, &c.Writes, &c.Syncs, &c.Extends, &c.Removes, &c.Lists, &c.Checks,
		&c.ReadBytes, &c.WriteBytes,
	}
}

// The counters: one for each operation up to OpCheck, in the order of the
// bits, then bytes.
const (
	counterReadBytes = iota + 9
	counterWriteBytes
	numCounters
)

// opCounter lists the operations in the order of the counters.
var opCounter = [counterReadBytes]Op{OpCreate, OpOpen, OpRead, OpWrite, OpSync, OpExtend, OpRemove, OpList, OpCheck}

type counters [numCounters]atomic.Int64

func (c *counters) count(op Op) {
	for i, o := range opCounter {
		if o == op {
			c[i].Add(1)
			return
		}
	}
}

// Counts returns what was counted since the disk was wrapped or Reset.
func (d *Disk) Counts() Counts {
	var c Counts
	for i, f := range c.fields() {
		*f = d.counters[i].Load()
	}
	return c
}

// Reset sets all counters to zero. Calls in flight may be counted before, after
// or, their bytes apart from the call, in part.
func (d *Disk) Reset() {
	for i := range d.counters {
		d.counters[i].Store(0)
	}
}
