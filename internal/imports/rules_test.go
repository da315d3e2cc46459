package imports

// module is the path that every import of this module begins with.
const module = "github.com/cairnstore/cairn/"

// A room is a folder of the module and all below it, unless a longer folder has
// a row of its own. A package that fits no row breaks the rules: give it one.
type room struct {
	folder string
	// imports lists the packages of this module that non-test files here may
	// import: a folder exactly, or with /... and everything below. A room may
	// always import what lies in its own folder.
	imports []string
	// top rooms are commands and measurements: nobody imports them, and they
	// may print, exit and read the environment.
	top bool
	// suite rooms are for tests to call and may import testing.
	suite bool
}

// rooms runs from the top down. Imports go downward only.
var rooms = []room{
	{folder: "cmd", imports: []string{"s3compat", "engine", "lifecycle", "versioning", "meta", "erasure", "disk/..."}, top: true},
	{folder: "examples", imports: []string{"s3compat", "engine", "lifecycle", "versioning", "erasure", "disk/..."}, top: true},
	{folder: "bench", imports: []string{"s3compat", "engine", "lifecycle", "versioning", "meta/...", "erasure", "disk/...", "internal/..."}, top: true},
	{folder: "fuzz", imports: []string{"s3compat", "engine", "lifecycle", "versioning", "meta/...", "erasure", "disk/...", "internal/..."}, top: true},

	{folder: "s3compat", imports: []string{"engine", "lifecycle", "versioning", "erasure", "disk"}},
	{folder: "engine", imports: []string{"lifecycle", "versioning", "meta", "erasure", "disk", "disk/filedisk",
		"internal/protocol", "internal/label", "internal/segment", "internal/payload", "internal/log"}},

	{folder: "internal/log", imports: []string{"internal/protocol", "internal/label", "internal/segment", "erasure", "disk"}},
	{folder: "internal/payload", imports: []string{"internal/segment", "erasure", "disk"}},
	{folder: "internal/segment", imports: []string{"erasure", "disk"}},
	{folder: "internal/label", imports: []string{"internal/protocol", "erasure", "disk"}},
	{folder: "internal/protocol", imports: []string{"erasure", "disk"}},
	{folder: "internal/imports"},

	{folder: "meta", imports: []string{"versioning", "erasure"}},
	{folder: "meta/metatest", imports: []string{"meta", "versioning", "erasure"}, suite: true},
	{folder: "lifecycle", imports: []string{"versioning"}},
	{folder: "versioning"},
	{folder: "erasure"},

	{folder: "disk"},
	{folder: "disk/filedisk", imports: []string{"disk"}},
	{folder: "disk/memdisk", imports: []string{"disk"}},
	{folder: "disk/faultdisk", imports: []string{"disk"}},
	{folder: "disk/disktest", imports: []string{"disk"}, suite: true},
	{folder: "docs"},
}

// An owner is an outside package (and everything below it) that only some
// rooms may import.
type owner struct {
	path string
	only []string // folders of rooms
	why  string
}

var owners = []owner{
	{"github.com/cockroachdb", []string{"meta"}, "the index is the only part that knows Pebble"},
	{"github.com/klauspost/reedsolomon", []string{"erasure"}, "parity is computed in one place"},
	{"net/http", []string{"s3compat", "cmd"}, "the engine serves no protocol"},
	{"os/exec", []string{"cmd", "examples", "bench", "fuzz"}, "a library starts no process"},
	{"os/signal", []string{"cmd", "examples", "bench", "fuzz"}, "signals belong to the program"},
	{"log", []string{"cmd", "examples", "bench", "fuzz"}, "a library logs to the *slog.Logger it was given"},
	{"flag", []string{"cmd", "examples", "bench", "fuzz"}, "settings come in Options"},
	{"C", nil, "everything builds with CGO_ENABLED=0"},
	// As modules: they belong to test files.
	{"github.com/stretchr/testify", []string{"disk/disktest", "meta/metatest"}, "for tests"},
	{"go.uber.org/goleak", []string{"disk/disktest", "meta/metatest"}, "for tests"},
	{"github.com/anishathalye/porcupine", nil, "for tests"},
	{"pgregory.net/rapid", []string{"disk/disktest", "meta/metatest"}, "for tests"},
}

// topOnly lists the names of standard packages that only top rooms may use: a
// library neither prints, nor exits, nor reads the environment.
var topOnly = map[string][]string{
	"fmt": {"Print", "Printf", "Println", "Scan", "Scanf", "Scanln"},
	"os": {"Exit", "Getenv", "LookupEnv", "Environ", "ExpandEnv", "Setenv", "Unsetenv", "Clearenv",
		"Args", "Stdin", "Stdout", "Stderr", "TempDir", "Getwd", "Chdir", "UserHomeDir", "UserCacheDir", "UserConfigDir"},
	"syscall":               {"Exit", "Getenv", "Environ"},
	"golang.org/x/sys/unix": {"Exit", "Getenv", "Environ"},
	"log/slog":              {"Default", "SetDefault", "Debug", "Info", "Warn", "Error"},
}
