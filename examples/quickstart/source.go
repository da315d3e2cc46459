package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
)

// largeKey is the key of the large object.
const largeKey = "toolchain.bin"

// original is a file to store, or the large object made of several.
type original struct {
	key   string
	size  int64
	parts []string // paths of the files whose bytes, one after another, it is
}

// source is everything that is stored: the large object first, then the files.
type source struct {
	root      string
	originals []original
	bytes     int64
}

// findSource lists the files below root, or of the Go toolchain if root is
// empty, and composes a large object of large bytes: of the toolchain's
// binaries, or of all the files, as often as it takes.
func findSource(ctx context.Context, root string, large int64) (*source, error) {
	toolchain := root == ""
	if toolchain {
		var err error
		if root, err = goroot(ctx); err != nil {
			return nil, err
		}
	}
	s := &source{root: root, originals: make([]original, 1, 16<<10)}
	big := original{key: largeKey, size: large}
	var pieces []original
	err := filepath.WalkDir(root, func(p string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		f := original{key: filepath.ToSlash(rel), size: info.Size(), parts: []string{p}}
		first, _, _ := strings.Cut(f.key, "/")
		binary := first == "bin" || first == "pkg"
		if f.size > 0 && binary == toolchain {
			pieces = append(pieces, f)
		}
		if toolchain && binary {
			return nil
		}
		if f.key == largeKey {
			return fmt.Errorf("%s has the name that the large object is stored under", p)
		}
		s.originals = append(s.originals, f)
		s.bytes += f.size
		return ctx.Err()
	})
	if err != nil {
		return nil, err
	}
	if len(pieces) == 0 {
		return nil, fmt.Errorf("no files to make a large object of below %s", root)
	}
	for i, n := 0, int64(0); n < large; i++ {
		piece := pieces[i%len(pieces)]
		big.parts = append(big.parts, piece.parts...)
		n += piece.size
	}
	s.originals[0] = big
	s.bytes += large
	return s, nil
}

// goroot asks the go command, which knows better than a binary that may have
// been built elsewhere.
func goroot(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	root := strings.TrimSpace(string(out))
	if err == nil && root == "" {
		err = errors.New("it is empty")
	}
	if err != nil {
		return "", fmt.Errorf("go env GOROOT: %w (-src DIR stores other files)", err)
	}
	return root, nil
}

// open returns the original's bytes. Files are opened one at a time, as they
// are reached.
func (o *original) open() io.ReadCloser {
	c := &concat{}
	readers := make([]io.Reader, len(o.parts))
	for i, p := range o.parts {
		readers[i] = &part{of: c, path: p}
	}
	c.Reader = io.LimitReader(io.MultiReader(readers...), o.size)
	return c
}

// concat reads files one after another.
type concat struct {
	io.Reader
	file *os.File // the one being read
}

func (c *concat) Close() error {
	if c.file == nil {
		return nil
	}
	return c.file.Close()
}

// part is one file of a concat. It closes itself at its end.
type part struct {
	of   *concat
	path string
}

func (p *part) Read(b []byte) (int, error) {
	if p.of.file == nil {
		f, err := os.Open(p.path)
		if err != nil {
			return 0, err
		}
		p.of.file = f
	}
	n, err := p.of.file.Read(b)
	if err == io.EOF {
		err = errors.Join(p.of.file.Close())
		p.of.file = nil
		if err == nil {
			err = io.EOF
		}
	}
	return n, err
}

// contentType goes by the extension, as a web server would.
func contentType(key string) string {
	switch ext := path.Ext(key); ext {
	case ".go":
		return "text/x-go; charset=utf-8"
	case ".s", ".mod", ".sum", ".txt":
		return "text/plain; charset=utf-8"
	default:
		if t := mime.TypeByExtension(ext); t != "" {
			return t
		}
		return "application/octet-stream"
	}
}
