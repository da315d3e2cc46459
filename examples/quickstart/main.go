// Command quickstart shows cairn at work on real files.
//
//	go run ./examples/quickstart [-keep] [-dir DIR] [-src DIR] [-large BYTES]
//
// It makes a store of six disk directories, 4 data and 2 parity shards, in a
// temporary directory; stores the files of the Go toolchain that it runs with
// and one large file in it; removes two of the six directories while the store
// is open; reads every object back and compares it with the original; reopens
// the store on the four directories that are left and reads a sample again. It
// ends with a table of what that took.
//
// The exit code is 0 if every byte was the same, 1 if anything differed, failed
// or was interrupted, 2 for bad arguments.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/cairnstore/cairn/engine"
)

// config is what the flags say.
type config struct {
	keep  bool   // leave the store behind
	dir   string // where the temporary directory is made
	src   string // files to store; empty: the Go toolchain
	large int64  // bytes of the large object
}

func main() {
	cfg, err := parseFlags(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(0)
	}
	if err != nil {
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal ends the work and cleans up, a second one ends the
	// program at once.
	context.AfterFunc(ctx, stop)
	if err = run(ctx, cfg, os.Stdout); err != nil {
		if ctx.Err() != nil {
			err = errors.New("interrupted")
		}
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		if errors.Is(err, engine.ErrNoSpace) {
			fmt.Fprintln(os.Stderr, "It needs about four times the size of the files stored; -dir DIR names another place.")
		}
		os.Exit(1)
	}
}

func parseFlags(args []string, stderr io.Writer) (config, error) {
	var cfg config
	flags := flag.NewFlagSet("quickstart", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.BoolVar(&cfg.keep, "keep", false, "leave the store behind and print where it is")
	flags.StringVar(&cfg.dir, "dir", "", "make the temporary directory in `DIR` (default: the system's)")
	flags.StringVar(&cfg.src, "src", "", "store the files below `DIR` (default: the Go toolchain)")
	flags.Int64Var(&cfg.large, "large", 256<<20, "size of the large object in `BYTES`")
	if err := flags.Parse(args); err != nil {
		return cfg, err
	}
	if flags.NArg() > 0 || cfg.large < 1 {
		err := fmt.Errorf("unexpected argument %q, or -large %d below 1", flags.Arg(0), cfg.large)
		fmt.Fprintln(stderr, err)
		flags.Usage()
		return cfg, err
	}
	return cfg, nil
}

// run does everything in a temporary directory, which it removes again.
func run(ctx context.Context, cfg config, out io.Writer) (err error) {
	source, err := findSource(ctx, cfg.src, cfg.large)
	if err != nil {
		return err
	}
	if cfg.dir != "" {
		if err := os.MkdirAll(cfg.dir, 0o777); err != nil {
			return err
		}
	}
	home, err := os.MkdirTemp(cfg.dir, "cairn-quickstart-")
	if err != nil {
		return err
	}
	if home, err = filepath.Abs(home); err != nil {
		return err
	}
	defer func() {
		if !cfg.keep {
			err = errors.Join(err, os.RemoveAll(home))
			return
		}
		_, _ = fmt.Fprintln(out, "The store is left in", home)
	}()
	d := &demo{home: home, source: source, out: out, show: isTerminal(out)}
	return d.run(ctx)
}
