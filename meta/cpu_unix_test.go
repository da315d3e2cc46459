//go:build unix

package meta

import (
	"syscall"
	"time"
)

// cpuTime is what the process has used so far: unlike the clock it does not mind
// who else is busy.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
