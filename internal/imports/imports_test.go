package imports

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestModuleObeysTheRules(t *testing.T) {
	files, err := load("../..")
	require.NoError(t, err)
	require.Greater(t, len(files), 20, "the walk found hardly any file")
	for _, line := range check(files) {
		t.Error(line)
	}
}

// Every row is one file that breaks one rule; the checker must say so.
func TestCheckerSeesEachBreach(t *testing.T) {
	tests := []struct{ name, rel, src, want string }{
		{"upward", "disk/x.go", `import _ "github.com/cairnstore/cairn/erasure"`, "disk may not know erasure"},
		{"upward from a driver", "disk/filedisk/x.go", `import _ "github.com/cairnstore/cairn/engine"`, "disk/filedisk may not know engine"},
		{"erasure knows no disk", "erasure/x.go", `import _ "github.com/cairnstore/cairn/disk"`, "erasure may not know disk"},
		{"versioning is pure", "versioning/x.go", `import _ "github.com/cairnstore/cairn/meta"`, "versioning may not know meta"},
		{"meta knows no disk", "meta/x.go", `import _ "github.com/cairnstore/cairn/disk"`, "meta may not know disk"},
		{"meta knows no log", "meta/x.go", `import _ "github.com/cairnstore/cairn/internal/log"`, "meta may not know internal/log"},
		{"protocol knows no log", "internal/protocol/x.go", `import _ "github.com/cairnstore/cairn/internal/log"`, "internal/protocol may not know internal/log"},
		{"the log knows no driver", "internal/log/x.go", `import _ "github.com/cairnstore/cairn/disk/filedisk"`, "internal/log may not know disk/filedisk"},
		{"engine knows no protocol", "engine/x.go", `import _ "github.com/cairnstore/cairn/s3compat"`, "engine may not know s3compat"},
		{"commands are not imported", "engine/x.go", `import _ "github.com/cairnstore/cairn/cmd/cairn"`, "nothing imports cmd"},
		{"nor is one top room by another", "bench/x.go", `import _ "github.com/cairnstore/cairn/examples/quickstart"`, "nothing imports examples"},
		{"suites are for tests", "engine/x.go", `import _ "github.com/cairnstore/cairn/disk/disktest"`, "a suite is for tests"},
		{"new room", "shiny/x.go", ``, "shiny/x.go: no row in the table of rooms"},
		{"new room imported", "engine/x.go", `import _ "github.com/cairnstore/cairn/shiny"`, "no row in the table of rooms"},
		{"new internal room", "internal/shiny/x.go", ``, "no row in the table of rooms"},
		{"folder that only begins alike", "engineering/x.go", ``, "no row in the table of rooms"},
		{"pebble", "engine/x.go", `import _ "github.com/cockroachdb/pebble/v2"`, "only part that knows Pebble"},
		{"pebble below", "engine/x.go", `import _ "github.com/cockroachdb/pebble/v2/vfs"`, "only part that knows Pebble"},
		{"http", "engine/x.go", `import _ "net/http"`, "serves no protocol"},
		{"http below", "examples/a/x.go", `import _ "net/http/httptest"`, "serves no protocol"},
		{"log", "engine/x.go", `import _ "log"`, "*slog.Logger it was given"},
		{"exec", "engine/x.go", `import _ "os/exec"`, "starts no process"},
		{"cgo", "cmd/cairn/x.go", `import "C"`, "CGO_ENABLED=0"},
		{"testing", "engine/x.go", `import _ "testing"`, "only test files and suites"},
		{"testify", "engine/x.go", `import _ "github.com/stretchr/testify/require"`, "for tests"},
		{"exit", "engine/x.go", "import \"os\"\nfunc f() { os.Exit(1) }", "uses os.Exit"},
		{"exit renamed", "engine/x.go", "import o \"os\"\nfunc f() { o.Exit(1) }", "uses os.Exit"},
		{"exit as a value", "engine/x.go", "import \"os\"\nvar f = os.Exit", "uses os.Exit"},
		{"dot import", "engine/x.go", "import . \"os\"\nfunc f() { Exit(1) }", "uses os.."},
		{"environment", "meta/x.go", "import \"os\"\nvar v = os.Getenv(\"X\")", "uses os.Getenv"},
		{"standard output", "meta/x.go", "import (\"fmt\"; \"os\")\nfunc f() { fmt.Fprintln(os.Stdout) }", "uses os.Stdout"},
		{"print", "disk/x.go", "import \"fmt\"\nfunc f() { fmt.Println() }", "uses fmt.Println"},
		{"builtin", "disk/x.go", "func f() { println() }", "uses .println"},
		{"default logger", "engine/x.go", "import \"log/slog\"\nfunc f() { slog.Info(\"x\") }", "uses log/slog.Info"},
		{"another system's file", "disk/x_windows.go", `import _ "net/http"`, "serves no protocol"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, err := parse(tt.rel, []byte("package x\n"+tt.src+"\n"))
			require.NoError(t, err)
			got := check([]file{f})
			require.Len(t, got, 1)
			require.Contains(t, got[0], tt.want)
		})
	}
}

func TestCheckerAllows(t *testing.T) {
	tests := []struct{ name, rel, src string }{
		{"downward", "engine/x.go", `import _ "github.com/cairnstore/cairn/internal/log"`},
		{"own folder", "internal/protocol/model/x.go", `import _ "github.com/cairnstore/cairn/internal/protocol"`},
		{"pebble in meta", "meta/x.go", `import _ "github.com/cockroachdb/pebble/v2"`},
		{"slog", "engine/x.go", "import \"log/slog\"\nfunc f(l *slog.Logger) { l.Info(\"x\"); slog.New(slog.DiscardHandler) }"},
		{"http in s3compat", "s3compat/x.go", `import _ "net/http"`},
		{"exit in a command", "cmd/cairn/x.go", "import (\"fmt\"; \"os\")\nfunc f() { fmt.Println(); os.Exit(1) }"},
		{"a package named log", "engine/x.go", "import \"github.com/cairnstore/cairn/internal/log\"\nvar f = log.Print"},
		{"testing in a suite", "disk/disktest/x.go", `import _ "testing"`},
		{"a method named Exit", "engine/x.go", "type o struct{}\nfunc (o) Exit() {}\nfunc f() { var os o; os.Exit() }"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, err := parse(tt.rel, []byte("package x\n"+tt.src+"\n"))
			require.NoError(t, err)
			require.Empty(t, check([]file{f}))
		})
	}
}
