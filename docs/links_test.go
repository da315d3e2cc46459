// Package docs_test checks the module's Markdown files.
package docs_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ +(.+?) *$`)
	fence   = regexp.MustCompile("(?ms)^```.*?^```$")
	code    = regexp.MustCompile("`[^`\n]*`")
)

// pages returns the module's Markdown files by path from its root.
func pages(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	require.NoError(t, filepath.WalkDir("..", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "testdata" || p != ".." && d.Name()[0] == '.') {
			return fs.SkipDir
		}
		if filepath.Ext(p) != ".md" {
			return nil
		}
		b, err := os.ReadFile(p)
		found[filepath.ToSlash(strings.TrimPrefix(p, ".."+string(filepath.Separator)))] = string(b)
		return err
	}))
	require.Contains(t, found, "README.md")
	require.Contains(t, found, "docs/README.md")
	return found
}

func TestLinksLead(t *testing.T) {
	all := pages(t)
	for name, text := range all {
		for _, broken := range brokenLinks(name, text, all) {
			t.Errorf("%s: %s", name, broken)
		}
	}
}

// brokenLinks returns the relative links of a page that lead to no file of the
// module, or to no heading of a page.
func brokenLinks(name, text string, all map[string]string) []string {
	var broken []string
	for _, m := range link.FindAllStringSubmatch(code.ReplaceAllString(fence.ReplaceAllString(text, ""), ""), -1) {
		if strings.Contains(m[1], "://") {
			continue
		}
		target, anchor, _ := strings.Cut(m[1], "#")
		at := name
		if target != "" {
			at = filepath.ToSlash(filepath.Join(filepath.Dir(name), target))
			if _, err := os.Stat(filepath.Join("..", at)); err != nil || strings.HasPrefix(at, "..") {
				broken = append(broken, m[1]+" leads nowhere in the module")
				continue
			}
		}
		if anchor != "" && !anchors(all[at])[anchor] {
			broken = append(broken, m[1]+" names no heading")
		}
	}
	return broken
}

// anchors are the headings of a page as links spell them.
func anchors(text string) map[string]bool {
	drop := regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	found := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		found[strings.ReplaceAll(drop.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-")] = true
	}
	return found
}

func TestBrokenLinksAreFound(t *testing.T) {
	all := map[string]string{"docs/a.md": "# One page\n## 2. Labels, old\n"}
	for text, want := range map[string]int{
		"[a](../README.md) [b](links_test.go) [c](https://example.org/x)": 0,
		"[a](missing.md)":                      1,
		"[a](../../outside.md)":                1,
		"[a](#one-page) [b](#2-labels-old)":    0,
		"[a](#two)":                            1,
		"```\n[a](missing.md)\n```\n`[b](no)`": 0,
	} {
		require.Len(t, brokenLinks("docs/a.md", text, all), want, text)
	}
}

func TestIndexIsComplete(t *testing.T) {
	all := pages(t)
	for name := range all {
		if rest, ok := strings.CutPrefix(name, "docs/"); ok && rest != "README.md" {
			require.Contains(t, all["docs/README.md"], "("+rest+")", "docs/README.md leaves out a page")
		}
	}
}

// Each page that the code names is there, and each package with a *_format.go
// names one.
func TestFormatsHavePages(t *testing.T) {
	all := pages(t)
	page := regexp.MustCompile(`docs/format/[a-z]+\.md`)
	formats, names := map[string]bool{}, map[string]bool{} // by folder
	require.NoError(t, filepath.WalkDir("..", func(p string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(p) != ".go" || strings.HasSuffix(p, "_test.go") {
			return err
		}
		if strings.HasSuffix(p, "_format.go") {
			formats[filepath.Dir(p)] = true
		}
		b, err := os.ReadFile(p)
		for _, named := range page.FindAllString(string(b), -1) {
			names[filepath.Dir(p)] = true
			if _, ok := all[named]; !ok {
				t.Errorf("%s names %s, which is missing", p, named)
			}
		}
		return err
	}))
	require.NotEmpty(t, formats)
	for folder := range formats {
		if !names[folder] {
			t.Errorf("%s has a format and names no page of docs/format", folder)
		}
	}
}
