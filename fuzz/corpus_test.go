package fuzz

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the seeds of testdata/fuzz again")

// corpora are the seeds of the decoders' targets: by target, each one argument
// list by name. They come from the golden files, and from ways to spoil them.
var corpora = map[string]func(testing.TB) map[string][]any{
	"FuzzLabel":         labelSeeds,
	"FuzzSegmentHeader": segmentHeaderSeeds,
	"FuzzDescriptor":    descriptorSeeds,
	"FuzzFileName":      fileNameSeeds,
	"FuzzGroupHeader":   groupHeaderSeeds,
	"FuzzOpening":       openingSeeds,
	"FuzzFrame":         frameSeeds,
	"FuzzGeometry":      geometrySeeds,
	"FuzzRecord":        recordSeeds,
	"FuzzMetadata":      blockSeeds,
	"FuzzTags":          blockSeeds,
	"FuzzSettings":      settingsSeeds,
	"FuzzIndexKey":      indexKeySeeds,
	"FuzzIndexVersion":  versionSeeds,
	"FuzzIndexGroup":    indexGroupSeeds,
	"FuzzVersionID":     versionIDSeeds,
	"FuzzPageToken":     pageTokenSeeds,
}

// TestCorpora checks that the seeds on file are those that the golden files give;
// with -update it writes them. Files with other names are finds, and stay.
func TestCorpora(t *testing.T) {
	for target, seeds := range corpora {
		all := seeds(t)
		require.GreaterOrEqual(t, len(all), 3, target)
		for name, args := range all {
			path := filepath.Join("testdata", "fuzz", target, "seed-"+name)
			want := corpusFile(args)
			if *update {
				require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o777))
				require.NoError(t, os.WriteFile(path, want, 0o666))
			}
			got, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, string(want), string(got), "%s: go test ./fuzz -run TestCorpora -update", path)
		}
	}
}

// corpusFile returns args as go test keeps them.
func corpusFile(args []any) []byte {
	var b bytes.Buffer
	b.WriteString("go test fuzz v1\n")
	for _, a := range args {
		switch a := a.(type) {
		case []byte:
			fmt.Fprintf(&b, "[]byte(%q)\n", a)
		case string:
			fmt.Fprintf(&b, "string(%q)\n", a)
		case byte:
			fmt.Fprintf(&b, "byte(%q)\n", rune(a))
		default: // numbers
			fmt.Fprintf(&b, "%T(%v)\n", a, a)
		}
	}
	return b.Bytes()
}

// golden returns the bytes of a golden file of another package.
func golden(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", filepath.FromSlash(path)))
	require.NoError(t, err)
	return b
}

// goldenLines returns the named lines of a golden file, "name hex", of which
// the name is all before the last space.
func goldenLines(t testing.TB, path string) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	for line := range strings.Lines(string(golden(t, path))) {
		line = strings.TrimSpace(line)
		i := strings.LastIndex(line, " ")
		b, err := hex.DecodeString(line[i+1:])
		require.NoError(t, err)
		all[strings.TrimRight(line[:max(i, 0)], " :")] = b
	}
	return all
}

// spoiled returns seeds of b as it is, cut short, with one bit flipped, with
// more behind it, and as all ones, each with further arguments.
func spoiled(b []byte, args ...any) map[string][]any {
	flipped := bytes.Clone(b)
	flipped[len(b)/2] ^= 0x10
	all := map[string][]byte{
		"golden": b, "short": b[:len(b)/2], "flipped": flipped, "long": append(bytes.Clone(b), 0x80, 0, 1, 7),
		"ones": bytes.Repeat([]byte{0xff}, min(len(b), 256)), "empty": {},
	}
	seeds := map[string][]any{}
	for name, p := range all {
		seeds[name] = append([]any{p}, args...)
	}
	return seeds
}
