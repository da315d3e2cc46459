package bench

import (
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// Machine is what the figures were taken on.
type Machine struct {
	CPU, Memory, Kernel string
	FileSystem, Disk    string
	Cores               int
	Go, Commit          string
	Date                time.Time
}

func machineOf(places []string) Machine {
	m := Machine{
		Cores: runtime.GOMAXPROCS(0), Go: runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH,
		Commit: commit(), Date: time.Now().UTC(),
	}
	var disks, systems []string
	for _, place := range places {
		if abs, err := filepath.Abs(place); err == nil {
			place = abs
		}
		disk, system := m.describe(place)
		if !slices.Contains(disks, disk) {
			disks, systems = append(disks, disk), append(systems, system)
		}
	}
	m.Disk, m.FileSystem = strings.Join(disks, "; "), strings.Join(systems, "; ")
	if len(disks) == 1 {
		m.Disk = "all directories on one: " + m.Disk
	}
	for _, p := range []*string{&m.CPU, &m.Memory, &m.Kernel, &m.FileSystem, &m.Disk, &m.Commit} {
		if *p == "" {
			*p = "not known"
		}
	}
	return m
}

// commit names the code that is measured: what Git says, or the build.
func commit() string {
	if out, err := exec.Command("git", "rev-parse", "--short=12", "HEAD").Output(); err == nil {
		c := strings.TrimSpace(string(out))
		changed, err := exec.Command("git", "status", "--porcelain", "--untracked-files=no").Output()
		if err == nil && len(changed) > 0 {
			c += " with changes"
		}
		return c
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value
		}
	}
	return ""
}
