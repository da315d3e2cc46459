package bench

import (
	"runtime"
	"time"

	"github.com/cairnstore/cairn/engine"
)

// sample is what one stretch of work took.
type sample struct {
	Ops    int64
	Bytes  int64 // of objects
	Wall   time.Duration
	CPU    time.Duration // user and system, of the process
	Allocs int64
	// What the engine counted.
	Groups, Syncs, Written int64
}

// work does ops operations on bytes of objects.
type work func() (ops, bytes int64, err error)

// measure runs fn. e may be nil.
func measure(e *engine.Engine, fn work) (sample, error) {
	runtime.GC()
	var before, after runtime.MemStats
	var m0, m1 engine.Metrics
	if e != nil {
		m0 = e.Metrics()
	}
	runtime.ReadMemStats(&before)
	cpu := processTime()
	begin := time.Now()
	ops, bytes, err := fn()
	s := sample{Ops: ops, Bytes: bytes, Wall: time.Since(begin), CPU: processTime() - cpu}
	runtime.ReadMemStats(&after)
	s.Allocs = int64(after.Mallocs - before.Mallocs)
	if e != nil {
		m1 = e.Metrics()
		s.Groups, s.Syncs, s.Written = m1.Groups-m0.Groups, m1.Syncs-m0.Syncs, m1.BytesWritten-m0.BytesWritten
	}
	return s, err
}

func (s sample) opsPerSecond() float64 { return float64(s.Ops) / s.Wall.Seconds() }

// cpuMicros is the CPU time of an operation.
func (s sample) cpuMicros() float64 { return microseconds(s.CPU) / float64(max(s.Ops, 1)) }

func (s sample) wallMicros() float64 { return microseconds(s.Wall) / float64(max(s.Ops, 1)) }

func (s sample) megabytes() float64 { return float64(s.Bytes) / 1e6 / s.Wall.Seconds() }

func (s sample) allocsPerOp() float64 { return float64(s.Allocs) / float64(max(s.Ops, 1)) }

func (s sample) syncsPerOp() float64 { return float64(s.Syncs) / float64(max(s.Ops, 1)) }

// writtenPerByte is the bytes on the disks for each byte of objects.
func (s sample) writtenPerByte() float64 { return float64(s.Written) / float64(max(s.Bytes, 1)) }

// cpuPerGB is CPU seconds for a gigabyte of objects.
func (s sample) cpuPerGB() float64 { return s.CPU.Seconds() / (float64(max(s.Bytes, 1)) / 1e9) }

// opsPerGroup is how many operations shared one commit.
func (s sample) opsPerGroup() float64 { return float64(s.Ops) / float64(max(s.Groups, 1)) }
