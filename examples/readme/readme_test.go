package readme_test

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The first Go block of the README is the example, to the letter.
func TestReadmeShowsTheExample(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	_, block, ok := strings.Cut(string(readme), "```go\n")
	require.True(t, ok, "the README has no Go block")
	block, _, ok = strings.Cut(block, "```\n")
	require.True(t, ok, "the block does not end")

	source, err := os.ReadFile("example_test.go")
	require.NoError(t, err)
	at := strings.Index(string(source), "func Example() {\n")
	require.GreaterOrEqual(t, at, 0)
	code, _, ok := strings.Cut(string(source[at:]), "\n}\n")
	require.True(t, ok)
	require.Equal(t, code+"\n}\n", block)
}

func TestReadmeNamesTheCommands(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	for _, command := range []string{"go run ./examples/quickstart", "go test ./..."} {
		require.Contains(t, string(readme), "\n"+command+"\n")
	}
}
