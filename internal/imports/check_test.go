package imports

import (
	"fmt"
	"slices"
	"strings"
)

// check returns one line for every breach of the rules in files.
func check(files []file) []string {
	var out []string
	for _, f := range files {
		at := f.folder + "/" + f.name
		r, ok := roomOf(f.folder)
		if !ok {
			out = append(out, at+": no row in the table of rooms")
			continue
		}
		for _, p := range f.imports {
			if why := refuse(r, p); why != "" {
				out = append(out, fmt.Sprintf("%s: imports %s: %s", at, p, why))
			}
		}
		if r.top {
			continue
		}
		for _, u := range f.uses {
			names, known := topOnly[u.path]
			if u.path == "" || known && (u.name == "." || slices.Contains(names, u.name)) {
				out = append(out, fmt.Sprintf("%s: uses %s.%s, which only commands may", at, u.path, u.name))
			}
		}
	}
	return out
}

// roomOf returns the room with the longest folder that holds folder.
func roomOf(folder string) (room, bool) {
	var best room
	for _, r := range rooms {
		if within(folder, r.folder) && len(r.folder) > len(best.folder) {
			best = r
		}
	}
	return best, best.folder != ""
}

// refuse returns why room r may not import path, or "".
func refuse(r room, path string) string {
	if path+"/" == module {
		return "the module's root is no package"
	}
	if inside, ok := strings.CutPrefix(path, module); ok {
		return refuseInside(r, inside)
	}
	if path == "testing" && !r.suite {
		return "only test files and suites may"
	}
	for _, o := range owners {
		if owns(o, path) && !slices.Contains(o.only, r.folder) {
			return o.why
		}
	}
	return ""
}

// owns reports whether o speaks for path. The standard package log does not
// speak for log/slog.
func owns(o owner, path string) bool {
	return path == o.path || o.path != "log" && within(path, o.path)
}

func refuseInside(r room, folder string) string {
	target, ok := roomOf(folder)
	switch {
	case !ok:
		return "no row in the table of rooms"
	case target.top && !within(folder, r.folder):
		return "nothing imports " + target.folder
	case target.suite && target.folder != r.folder:
		return "a suite is for tests"
	case target.folder == r.folder:
		return ""
	}
	for _, p := range r.imports {
		below, all := strings.CutSuffix(p, "/...")
		if folder == below || all && within(folder, below) {
			return ""
		}
	}
	return r.folder + " may not know " + target.folder
}

// within reports whether path is prefix or lies below it.
func within(path, prefix string) bool {
	rest, ok := strings.CutPrefix(path, prefix)
	return ok && (rest == "" || rest[0] == '/')
}
