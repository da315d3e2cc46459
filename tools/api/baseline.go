package main

import (
	"bytes"
	"errors"
	"fmt"
	"go/token"
	"go/types"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/exp/apidiff"
	"golang.org/x/tools/go/gcexportdata"
)

// baseline is a directory of export data: a file for each package, its slashes
// written as dots.
type baseline string

const extension = ".export"

// diff is one change of one package since the baseline.
type diff struct {
	pkg, text  string
	compatible bool
}

// name returns what changed, as `disk.Disk.Open`.
func (d diff) name() string {
	symbol, _, ok := strings.Cut(d.text, ": ")
	if !ok {
		return d.pkg
	}
	symbol = strings.NewReplacer("(", "", ")", "", "*", "", "./", "").Replace(symbol)
	symbol, _, _ = strings.Cut(symbol, ",")
	return d.pkg[strings.LastIndex(d.pkg, "/")+1:] + "." + symbol
}

func (b baseline) file(pkg string) string {
	return filepath.Join(string(b), strings.ReplaceAll(pkg, "/", ".")+extension)
}

// compare returns what changed, in the order of packages.
func (b baseline) compare(now map[string]*types.Package) ([]diff, error) {
	var all []diff
	for _, pkg := range slices.Sorted(maps.Keys(now)) {
		old, err := b.read(pkg)
		if errors.Is(err, fs.ErrNotExist) {
			all = append(all, diff{pkg, "package added", true})
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, c := range apidiff.Changes(old, now[pkg]).Changes {
			all = append(all, diff{pkg, c.Message, c.Compatible})
		}
	}
	entries, err := os.ReadDir(string(b))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range entries {
		pkg := strings.ReplaceAll(strings.TrimSuffix(e.Name(), extension), ".", "/")
		if now[pkg] == nil {
			all = append(all, diff{pkg, "package removed", false})
		}
	}
	return all, nil
}

func (b baseline) read(pkg string) (*types.Package, error) {
	f, err := os.Open(b.file(pkg))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	p, err := gcexportdata.Read(f, token.NewFileSet(), map[string]*types.Package{}, module+"/"+pkg)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return p, nil
}

// write replaces the baseline.
func (b baseline) write(now map[string]*types.Package) error {
	if err := os.RemoveAll(string(b)); err != nil {
		return err
	}
	if err := os.MkdirAll(string(b), 0o777); err != nil {
		return err
	}
	for pkg, p := range now {
		var out bytes.Buffer
		// A file set that knows no file: positions are left out.
		if err := gcexportdata.Write(&out, token.NewFileSet(), p); err != nil {
			return fmt.Errorf("%s: %w", pkg, err)
		}
		if err := os.WriteFile(b.file(pkg), out.Bytes(), 0o666); err != nil {
			return err
		}
	}
	return nil
}
