package main

import (
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func check(t *testing.T, src string) map[string]*types.Package {
	t.Helper()
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, "x.go", "package x\n"+src, 0)
	if err != nil {
		t.Fatal(err)
	}
	conf := types.Config{Importer: importer.Default()}
	p, err := conf.Check(module+"/disk/x", fset, []*ast.File{f}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]*types.Package{"disk/x": p}
}

const before = `
type D interface { Open(name string) error }
type T struct { A int; b string }
func (t *T) M(n int) error { return nil }
func F() {}
const C = 1
`

// Every row is one change, and what is said about it.
func TestChanges(t *testing.T) {
	b := baseline(filepath.Join(t.TempDir(), "baseline"))
	if err := b.write(check(t, before)); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		src        string
		name       string
		compatible bool
	}{
		{`type D interface { Open(name string) error; Close() error }
type T struct { A int; b string }
func (t *T) M(n int) error { return nil }
func F() {}
const C = 1`, "x.D.Close", false},
		{`type D interface { Open(name string) error }
type T struct { A int; b string }
func (t *T) M(n int64) error { return nil }
func F() {}
const C = 1`, "x.T.M", false},
		{`type D interface { Open(name string) error }
type T struct { A int; b, c string }
func (t *T) M(n int) error { return nil }
const C = 1`, "x.F", false},
		{`type D interface { Open(name string) error }
type T struct { A int; B, b string }
func (t *T) M(n int) error { return nil }
func F() {}
const C = 1`, "x.T.B", true},
		{`type D interface { Open(name string) error }
type T struct { A int; b string }
func (t *T) M(n int) error { return nil }
func F() {}
const C = 2`, "x.C", false},
	} {
		diffs, err := b.compare(check(t, tt.src))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(diffs, func(d diff) bool { return d.name() == tt.name && d.compatible == tt.compatible }) {
			t.Errorf("%s, compatible %v: not among %+v", tt.name, tt.compatible, diffs)
		}
	}
	if diffs, err := b.compare(check(t, before)); err != nil || len(diffs) > 0 {
		t.Errorf("nothing changed, but: %+v, %v", diffs, err)
	}
	if diffs, err := b.compare(nil); err != nil || len(diffs) != 1 || diffs[0].compatible {
		t.Errorf("a package is gone, but: %+v, %v", diffs, err)
	}
}

func TestUnreleased(t *testing.T) {
	name := filepath.Join(t.TempDir(), "CHANGELOG.md")
	if err := os.WriteFile(name, []byte("# Changelog\n\n## Unreleased\n\n- `engine.Bucket.Put`\n\n## 0.1\n\n- `old`\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	got, err := unreleased(name)
	if want := "\n- `engine.Bucket.Put`\n"; err != nil || got != want {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
}
