package main

import (
	"fmt"
	"go/types"
	"os"
	"slices"
	"strings"

	"golang.org/x/tools/go/packages"
)

const module = "github.com/cairnstore/cairn"

// private lists what nobody imports: commands, and code beside the library.
var private = []string{"bench", "cmd", "docs", "examples", "fuzz", "internal", "tools"}

// load returns the public packages of the module at root, by path below it.
func load(root string) (map[string]*types.Package, error) {
	found, err := packages.Load(&packages.Config{
		Mode: packages.LoadTypes | packages.NeedModule | packages.NeedImports | packages.NeedDeps,
		Dir:  root,
		// One platform, so that the baseline does not depend on the machine.
		Env: append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off"),
	}, "./...")
	if err != nil {
		return nil, err
	}
	all := map[string]*types.Package{}
	for _, p := range found {
		path, ok := strings.CutPrefix(p.PkgPath, module+"/")
		if !ok || slices.Contains(private, strings.Split(path, "/")[0]) || strings.Contains(path, "/internal") {
			continue
		}
		for _, e := range p.Errors {
			return nil, e
		}
		all[path] = p.Types
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no package of %s in %s", module, root)
	}
	return all, nil
}
