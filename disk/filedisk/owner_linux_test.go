package filedisk

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const locks = `1: POSIX  ADVISORY  WRITE 11 fe:00:9978018 0 EOF
2: FLOCK  ADVISORY  WRITE 4724 fe:00:9978018 0 EOF
2: -> FLOCK  ADVISORY  WRITE 12 fe:00:9978018 0 EOF
3: FLOCK  ADVISORY  READ -1 08:11:5 0 EOF
`

func TestParseLocks(t *testing.T) {
	require.Equal(t, 4724, parseLocks(strings.NewReader(locks), 0xfe, 0, 9978018))
	require.Zero(t, parseLocks(strings.NewReader(locks), 0xfe, 1, 9978018), "other device")
	require.Zero(t, parseLocks(strings.NewReader(locks), 0xfe, 0, 9978019), "other inode")
	require.Zero(t, parseLocks(strings.NewReader(locks), 8, 17, 5), "no pid to tell")
}

func FuzzParseLocks(f *testing.F) {
	f.Add(locks)
	f.Add("")
	f.Add("1: FLOCK A W 99999999999999999999 fe:00:1 0 EOF")
	f.Add("1: FLOCK A W 7 fe:00:18446744073709551616 0 EOF\n1: FLOCK A W 7 ::: 0")
	f.Fuzz(func(t *testing.T, text string) {
		if pid := parseLocks(strings.NewReader(text), 0xfe, 0, 9978018); pid < 0 || (pid > 0 && !strings.Contains(text, "FLOCK")) {
			t.Fatalf("pid %d", pid)
		}
	})
}
