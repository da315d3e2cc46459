package filedisk

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMakeDir(t *testing.T) {
	home := t.TempDir()
	deep := filepath.Join(home, "a", "b", "c")
	for range 2 {
		require.NoError(t, MakeDir(deep))
		info, err := os.Stat(deep)
		require.NoError(t, err)
		require.True(t, info.IsDir())
	}
	file := filepath.Join(home, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o666))
	require.Error(t, MakeDir(file))
	require.Error(t, MakeDir(filepath.Join(file, "below")))
}
