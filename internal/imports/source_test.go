package imports

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

// file is what the rules look at in one non-test source file.
type file struct {
	folder  string   // of its package, slash-separated, from the module's root
	name    string   // base name
	imports []string // import paths
	uses    []use    // selectors of imported packages, and the builtins print and println
}

// use is one selector path.name, as in os.Exit; path is empty for a builtin.
type use struct{ path, name string }

// load parses every non-test Go file of the module at root, whatever its build
// tags: a file for another system obeys the same rules.
func load(root string) ([]file, error) {
	var files []file
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := d.Name()
		if d.IsDir() {
			if p != root && (base == "testdata" || base[0] == '.' || base[0] == '_' || isModule(p)) {
				return fs.SkipDir
			}
			return nil
		}
		if filepath.Ext(base) != ".go" || strings.HasSuffix(base, "_test.go") {
			return nil
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		src, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		f, err := parse(filepath.ToSlash(rel), src)
		if err != nil {
			return err
		}
		files = append(files, f)
		return nil
	})
	return files, err
}

// isModule reports whether dir is the root of a module of its own.
func isModule(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil
}

// parse reads one file; rel is its path from the module's root.
func parse(rel string, src []byte) (file, error) {
	tree, err := parser.ParseFile(token.NewFileSet(), rel, src, parser.SkipObjectResolution)
	if err != nil {
		return file{}, err
	}
	f := file{folder: path.Dir(rel), name: path.Base(rel)}
	names := map[string]string{} // local name of an import: its path
	for _, spec := range tree.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return file{}, err
		}
		f.imports = append(f.imports, p)
		local := path.Base(p)
		if spec.Name != nil {
			local = spec.Name.Name
		}
		if local == "." {
			f.uses = append(f.uses, use{p, "."})
		}
		names[local] = p
	}
	ast.Inspect(tree, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			if id, ok := n.X.(*ast.Ident); ok && names[id.Name] != "" {
				f.uses = append(f.uses, use{names[id.Name], n.Sel.Name})
			}
		case *ast.CallExpr:
			if id, ok := n.Fun.(*ast.Ident); ok && (id.Name == "print" || id.Name == "println") {
				f.uses = append(f.uses, use{"", id.Name})
			}
		}
		return true
	})
	return f, nil
}
