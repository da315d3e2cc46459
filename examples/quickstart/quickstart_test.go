package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/engine"
)

// writeTree makes a small tree with files of awkward sizes.
func writeTree(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for name, size := range map[string]int{
		"README.md": 900, "src/empty.go": 0, "src/a.go": 1, "src/a/b.go": 4096, "src/a/c.go": 4097,
		"src/z/data.bin": 65536, "src/z/more.bin": 65537, "src/z/Þ.go": 12, "pkg/tool/link": 300_000,
	} {
		p := filepath.Join(root, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(p), 0o777))
		b := make([]byte, size)
		for i := range b {
			b[i] = byte(i*7 + i>>8 + size)
		}
		require.NoError(t, os.WriteFile(p, b, 0o666))
	}
	return root
}

func TestRunOnSmallTree(t *testing.T) {
	cfg := config{dir: t.TempDir(), src: writeTree(t), large: 3 << 20}
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), cfg, &out))
	require.Contains(t, out.String(), "nothing: all 10 objects equal their originals")
	require.Contains(t, out.String(), `Listed "src/" up to the next "/": 2 prefixes and 2 objects`)
	require.NotContains(t, out.String(), "\r", "progress is for terminals")
	left, err := os.ReadDir(cfg.dir)
	require.NoError(t, err)
	require.Empty(t, left, "the temporary directory stayed")
}

func TestKeepLeavesAStoreThatOpens(t *testing.T) {
	cfg := config{dir: t.TempDir(), src: writeTree(t), large: 1 << 20, keep: true}
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), cfg, &out))
	left, err := os.ReadDir(cfg.dir)
	require.NoError(t, err)
	require.Len(t, left, 1)
	home := filepath.Join(cfg.dir, left[0].Name())
	require.Contains(t, out.String(), "The store is left in "+home)

	d := &demo{home: home, out: io.Discard}
	require.NoError(t, d.session(t.Context(), []string{"disk1", "disk3", "disk4", "disk6"}, func(ctx context.Context, e *engine.Engine) error {
		info, err := e.Bucket(bucketName).Head(ctx, "src/a/c.go", nil)
		require.NoError(t, err)
		require.EqualValues(t, 4097, info.Size)
		return nil
	}))
}

func TestInterruptCleansUp(t *testing.T) {
	cfg := config{dir: t.TempDir(), src: writeTree(t), large: 64 << 20}
	ctx, cancel := context.WithCancel(t.Context())
	err := run(ctx, cfg, writerFunc(func(p []byte) (int, error) {
		cancel() // with the first line, before anything is stored
		return len(p), nil
	}))
	require.ErrorIs(t, err, context.Canceled)
	left, err := os.ReadDir(cfg.dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// A changed, a longer and a shorter original stand for objects that came back
// wrong: each must be noticed and end in an error.
func TestEveryDifferenceIsNoticed(t *testing.T) {
	root := writeTree(t)
	s, err := findSource(t.Context(), root, 1<<20)
	require.NoError(t, err)
	d := &demo{home: t.TempDir(), source: s, out: io.Discard}
	for _, name := range diskNames {
		require.NoError(t, os.Mkdir(filepath.Join(d.home, name), 0o777))
	}
	require.NoError(t, d.session(t.Context(), diskNames, func(ctx context.Context, e *engine.Engine) error {
		require.NoError(t, e.CreateBucket(ctx, bucketName))
		require.NoError(t, d.store(ctx, e.Bucket(bucketName)))
		require.NoError(t, d.readAll(ctx, e))
		require.NoError(t, d.losses.err())

		change := func(name string, f func([]byte) []byte) {
			p := filepath.Join(root, filepath.FromSlash(name))
			b, err := os.ReadFile(p)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(p, f(b), 0o666))
		}
		change("src/a/b.go", func(b []byte) []byte { b[4095] ^= 1; return b })
		change("src/a/c.go", func(b []byte) []byte { return b[:len(b)-1] })
		s.originals = append(s.originals, original{key: "src/never-stored.go", parts: []string{filepath.Join(root, "README.md")}})
		require.NoError(t, d.readAll(ctx, e))
		return nil
	}))
	require.ErrorIs(t, d.losses.err(), engine.ErrNotFound)
	text := d.losses.err().Error()
	require.Contains(t, text, "src/a/b.go: differs")
	require.Contains(t, text, "src/a/c.go: differs")
	// The large object is made of the same files, so it differs as well.
	require.Equal(t, 4, d.losses.n)
	var out strings.Builder
	d.out = &out
	d.report()
	require.NotContains(t, out.String(), "nothing")
}

// A whole run over something that differs ends in an error, and cleans up.
func TestRunFailsIfAnythingDiffers(t *testing.T) {
	cfg := config{dir: t.TempDir(), src: writeTree(t), large: 1 << 20}
	changed := false
	err := run(t.Context(), cfg, writerFunc(func(p []byte) (int, error) {
		if bytes.HasPrefix(p, []byte("Stored")) {
			changed = true
			require.NoError(t, os.WriteFile(filepath.Join(cfg.src, "src", "a.go"), []byte("!"), 0o666))
		}
		return len(p), nil
	}))
	require.True(t, changed)
	require.ErrorContains(t, err, "src/a.go: differs")
	left, err := os.ReadDir(cfg.dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestLargeObjectIsCutToSize(t *testing.T) {
	root := writeTree(t)
	s, err := findSource(t.Context(), root, 1_000_003)
	require.NoError(t, err)
	r := s.originals[0].open()
	got, err := io.ReadAll(r)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	require.Len(t, got, 1_000_003)
	require.Greater(t, len(s.originals[0].parts), 9, "the files are used again")
	first, err := os.ReadFile(s.originals[0].parts[0])
	require.NoError(t, err)
	require.Equal(t, first, got[:len(first)])
}

func TestToolchainIsFound(t *testing.T) {
	s, err := findSource(t.Context(), "", 256<<20)
	require.NoError(t, err)
	require.Greater(t, len(s.originals), 10_000)
	for _, p := range s.originals[0].parts {
		rel, err := filepath.Rel(s.root, p)
		require.NoError(t, err)
		require.Regexp(t, `^(bin|pkg)[/\\]`, rel)
	}
}

func TestUsageTellsZerosFromBytes(t *testing.T) {
	dir := t.TempDir()
	tests := []struct {
		name        string
		size        int
		last        int // index of the last byte that is not zero; -1: none
		used, slack int64
	}{
		{"empty", 0, -1, 0, 0},
		{"zeros", 600_000, -1, 0, 600_000},
		{"full", 8192, 8191, 8192, 0},
		{"half", 1 << 20, 4096, 8192, 1<<20 - 8192},
		{"odd", 300_001, 10, 4096, 300_001 - 4096},
		{"tail", 300_001, 300_000, 300_001, 0},
	}
	for _, tt := range tests {
		b := make([]byte, tt.size)
		if tt.last >= 0 {
			b[tt.last] = 1
		}
		p := filepath.Join(dir, tt.name)
		require.NoError(t, os.WriteFile(p, b, 0o666))
		size, zeros, err := measureFile(p)
		require.NoError(t, err)
		require.Equal(t, tt.used, size-zeros, tt.name)
		require.Equal(t, tt.slack, zeros, tt.name)
	}
	used, slack, err := usage(dir)
	require.NoError(t, err)
	require.EqualValues(t, 8192+8192+4096+300_001, used)
	require.EqualValues(t, 600_000+1<<20-8192+300_001-4096, slack)
}

func TestBadFlags(t *testing.T) {
	for _, args := range [][]string{{"-large", "0"}, {"-large", "x"}, {"extra"}, {"-unknown"}} {
		var out bytes.Buffer
		_, err := parseFlags(args, &out)
		require.Error(t, err, args)
		require.Contains(t, out.String(), "Usage", args)
	}
	_, err := findSource(t.Context(), t.TempDir(), 1)
	require.ErrorContains(t, err, "no files")
	_, err = findSource(t.Context(), filepath.Join(t.TempDir(), "missing"), 1)
	require.True(t, errors.Is(err, os.ErrNotExist), err)
}
