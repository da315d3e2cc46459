package filedisk

import (
	"bufio"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// lockOwner returns the process that holds a flock on the file that fi
// describes, or 0 if the kernel does not tell (another pid namespace, a file
// system whose device number is not that of its stat).
func lockOwner(fi fs.FileInfo) int {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return 0
	}
	h, err := os.Open("/proc/locks")
	if err != nil {
		return 0
	}
	defer h.Close()
	dev := uint64(st.Dev)
	return parseLocks(h, unix.Major(dev), unix.Minor(dev), st.Ino)
}

// parseLocks finds the owner of a flock in the text of /proc/locks, whose lines
// read
//
//	1: FLOCK  ADVISORY  WRITE 4724 fe:00:9978018 0 EOF
//
// with the device's numbers in hexadecimal and the inode in decimal. Lines of
// waiters have "->" after the number. It reads at most 1 MiB.
func parseLocks(r io.Reader, major, minor uint32, inode uint64) int {
	lines := bufio.NewScanner(io.LimitReader(r, 1<<20))
	for lines.Scan() {
		w := strings.Fields(lines.Text())
		if len(w) < 6 || w[1] != "FLOCK" {
			continue
		}
		pid, err := strconv.ParseInt(w[4], 10, 32)
		place := strings.Split(w[5], ":")
		if err != nil || pid <= 0 || len(place) != 3 {
			continue
		}
		ma, err1 := strconv.ParseUint(place[0], 16, 32)
		mi, err2 := strconv.ParseUint(place[1], 16, 32)
		ino, err3 := strconv.ParseUint(place[2], 10, 64)
		if err1 == nil && err2 == nil && err3 == nil && uint32(ma) == major && uint32(mi) == minor && ino == inode {
			return int(pid)
		}
	}
	return 0
}
