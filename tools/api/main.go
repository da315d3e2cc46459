// Command api compares the public API of the module with the baseline in
// tools/api/baseline, or writes the baseline.
//
//	go -C tools run ./api          compares; an incompatible change is an error
//	go -C tools run ./api -write   writes the baseline (make api)
//
// A baseline is the export data of a package, without positions, so that it is
// the same on every machine and for every release of Go: its format is that of
// golang.org/x/tools, whose version is fixed in tools/go.mod. What is compatible
// is what golang.org/x/exp/apidiff says.
//
// An incompatible change is recorded by writing the baseline in the same commit.
// That is refused until the Unreleased section of CHANGELOG.md names what
// changed, as `engine.Bucket.Put`.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	write := flag.Bool("write", false, "write the baseline")
	root := flag.String("root", "..", "directory of the module")
	flag.Parse()
	if err := run(*root, *write); err != nil {
		fmt.Fprintln(os.Stderr, "api:", err)
		os.Exit(1)
	}
}

func run(root string, write bool) error {
	now, err := load(root)
	if err != nil {
		return err
	}
	b := baseline(filepath.Join(root, "tools", "api", "baseline"))
	diffs, err := b.compare(now)
	if err != nil {
		return err
	}
	broken, added := 0, 0
	var unnamed []string
	log, err := unreleased(filepath.Join(root, "CHANGELOG.md"))
	if err != nil {
		return err
	}
	for _, d := range diffs {
		if d.compatible {
			added++
			continue
		}
		broken++
		fmt.Printf("incompatible: %s: %s\n", d.pkg, d.text)
		if !strings.Contains(log, "`"+d.name()+"`") {
			unnamed = append(unnamed, d.name())
		}
	}
	fmt.Printf("%d packages, %d incompatible changes, %d compatible ones since the baseline\n", len(now), broken, added)
	switch {
	case len(unnamed) > 0:
		return fmt.Errorf("CHANGELOG.md does not name under Unreleased: `%s`", strings.Join(unnamed, "`, `"))
	case write:
		return b.write(now)
	case broken > 0:
		return fmt.Errorf("%d incompatible changes; to record them: make api", broken)
	}
	return nil
}

// unreleased returns the section of the changelog that is about the next
// release.
func unreleased(name string) (string, error) {
	p, err := os.ReadFile(name)
	if err != nil {
		return "", err
	}
	_, section, ok := strings.Cut(string(p), "\n## Unreleased\n")
	if !ok {
		return "", fmt.Errorf("%s has no section Unreleased", name)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	return section, nil
}
