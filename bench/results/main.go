// Command results runs the benchmarks of package bench and writes what they
// found to bench/RESULTS.md. See the documentation of that package.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/cairnstore/cairn/bench"
)

func main() {
	err := run(os.Args[1:])
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "results:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) > 0 && args[0] == "child" {
		return bench.Child(args[1:])
	}
	flags := flag.NewFlagSet("results", flag.ContinueOnError)
	dirs := flags.String("dir", "", "comma-separated directories to work in; default: a temporary one")
	out := flags.String("out", filepath.Join("bench", "RESULTS.md"), "the report; the charts go beside it")
	quick := flags.Bool("quick", false, "short rounds, no million objects")
	only := flags.String("run", "", "only parts and rows whose name matches this, as put/4KiB/64")
	rounds := flags.Int("rounds", 3, "rounds of each row, at least 3")
	profile := flags.String("profile", "", "directory for a CPU profile of each row's first round")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if *rounds < 3 {
		return fmt.Errorf("%d rounds, at least 3 are needed", *rounds)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	began := time.Now()
	c := bench.Config{
		Places: []string{os.TempDir()}, Quick: *quick, Rounds: *rounds, Profile: *profile, Self: []string{self, "child"},
		Log: func(format string, args ...any) {
			fmt.Fprintf(os.Stderr, "%6.1fs  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
		},
	}
	if *dirs != "" {
		c.Places = strings.Split(*dirs, ",")
	}
	if *only != "" {
		if c.Only, err = regexp.Compile(*only); err != nil {
			return err
		}
	}
	if *profile != "" {
		if err := os.MkdirAll(*profile, 0o777); err != nil {
			return err
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	report, err := bench.Run(ctx, c)
	if err != nil {
		return err
	}
	return write(report, *out)
}

// write writes the report and its charts.
func write(report *bench.Report, out string) error {
	var text strings.Builder
	if _, err := report.WriteTo(&text); err != nil {
		return err
	}
	if err := os.WriteFile(out, []byte(text.String()), 0o666); err != nil {
		return err
	}
	for name, svg := range report.Charts() {
		if err := os.WriteFile(filepath.Join(filepath.Dir(out), name), []byte(svg), 0o666); err != nil {
			return err
		}
	}
	fmt.Println(out)
	return nil
}
