//go:build !linux

package bench

func (m *Machine) describe(string) (disk, system string) { return "not known", "not known" }

// residentMemory is not known here.
func residentMemory() memory { return memory{} }
