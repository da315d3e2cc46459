package bench

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// describe fills in what does not depend on place, and returns the disk and the
// file system that do.
func (m *Machine) describe(place string) (disk, system string) {
	m.CPU = field("/proc/cpuinfo", "model name")
	if kb, err := strconv.ParseFloat(strings.TrimSuffix(field("/proc/meminfo", "MemTotal"), " kB"), 64); err == nil {
		m.Memory = fmt.Sprintf("%.1f GiB", kb/(1<<20))
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.Kernel = "Linux " + unix.ByteSliceToString(u.Release[:])
	}
	at, system := mountOf(place)
	return diskOf(at), system
}

// field returns what a file of lines "name : value" says of name.
func field(file, name string) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if k, v, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(k) == name {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// mountOf returns the device and the file system that place lies on.
func mountOf(place string) (device, system string) {
	f, err := os.Open("/proc/self/mounts")
	if err != nil {
		return "", ""
	}
	defer f.Close()
	longest := -1
	for lines := bufio.NewScanner(f); lines.Scan(); {
		p := strings.Fields(lines.Text())
		if len(p) < 4 {
			continue
		}
		under := p[1] == "/" || place == p[1] || strings.HasPrefix(place, p[1]+"/")
		if under && len(p[1]) >= longest {
			longest = len(p[1])
			device, system = p[0], fmt.Sprintf("%s (%s)", p[2], p[3])
		}
	}
	return device, system
}

// diskOf describes a block device.
func diskOf(device string) string {
	name, err := filepath.EvalSymlinks(device)
	if err != nil {
		return device
	}
	at := filepath.Join("/sys/class/block", filepath.Base(name))
	real, err := filepath.EvalSymlinks(at)
	if err != nil {
		return device
	}
	if _, err := os.Stat(filepath.Join(real, "partition")); err == nil {
		real = filepath.Dir(real)
	}
	var said []string
	read := func(file string) string {
		b, _ := os.ReadFile(filepath.Join(real, file))
		return strings.TrimSpace(string(b))
	}
	if n, err := strconv.ParseInt(read("size"), 10, 64); err == nil {
		said = append(said, fmt.Sprintf("%d GB", n*512/1e9))
	}
	if model := read("device/model"); model != "" {
		said = append(said, model)
	}
	if driver, err := filepath.EvalSymlinks(filepath.Join(real, "device/driver")); err == nil {
		said = append(said, filepath.Base(driver))
	}
	switch read("queue/rotational") {
	case "0":
		said = append(said, "not rotating")
	case "1":
		said = append(said, "says it rotates")
	}
	if cache := read("queue/write_cache"); cache != "" {
		said = append(said, "cache "+cache)
	}
	return fmt.Sprintf("%s (%s)", device, strings.Join(said, ", "))
}

// residentMemory returns the process's memory.
func residentMemory() memory {
	bytes := func(name string) int64 {
		kb, _ := strconv.ParseInt(strings.TrimSuffix(field("/proc/self/status", name), " kB"), 10, 64)
		return kb << 10
	}
	return memory{RSS: bytes("VmRSS"), Anon: bytes("RssAnon"), Peak: bytes("VmHWM")}
}
