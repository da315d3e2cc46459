package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/pprof"
	"strings"
	"time"

	"github.com/cairnstore/cairn/engine"
)

// Config says what to run. Places, Log and Self must be given.
type Config struct {
	Places  []string                         // directories to work in
	Quick   bool                             // short rounds
	Tiny    bool                             // hardly any work: for tests
	Only    *regexp.Regexp                   // names of parts and rows; nil: all
	Rounds  int                              // of each row; 0: 3
	Profile string                           // directory for CPU profiles; empty: none
	Self    []string                         // command line that ends in [Child] of its further arguments
	Log     func(format string, args ...any) // what is going on
}

// Report is what a run found.
type Report struct {
	Machine Machine
	Took    time.Duration
	Quick   bool
	Rounds  int
	Large   int   // the least size that counts as large, in bytes
	Budget  int64 // what the largest objects share in a round, in bytes

	Puts    []putRow
	Gets    []getRow
	Async   []asyncRow
	Fair    []fairRow
	Ops     []opRow
	Flat    []flatRow
	Opens   []openRow
	Memory  []memoryRow
	Scaling []scaleRow
}

// scale holds the sizes and times of a run.
type scale struct {
	sizes                 []int         // of the objects, in bytes; from the fourth on they count as large
	put, get, limit, fair time.Duration // of a round of each kind
	bytes                 int64         // most object bytes of a put round
	large                 int64         // the same for objects of the largest size, and of a get round
	puts                  int           // most puts of a round
	rawFile               int64         // size of each raw file
	list                  int           // keys listed
	flat                  []int
	open, crash           int // objects in the store that is opened; puts before a kill
	memory                int // objects in the store whose memory is measured
	idle                  time.Duration
	store                 engine.Options // of all stores but those whose memory is measured
}

var sizes = []int{4 << 10, 64 << 10, 1 << 20, 16 << 20, 256 << 20}

func (c *Config) scale() scale {
	switch {
	case c.Tiny:
		return scale{sizes: []int{4 << 10, 64 << 10, 256 << 10, 1 << 20, 2 << 20}, put: 20 * time.Millisecond, get: 10 * time.Millisecond, limit: 5 * time.Millisecond, fair: 30 * time.Millisecond,
			bytes: 1 << 20, large: 4 << 20, puts: 50, rawFile: 2 << 20, list: 1500, flat: []int{100, 300}, open: 200, crash: 50, memory: 100,
			store: engine.Options{LogAhead: 256 << 10, PayloadAhead: 256 << 10}}
	case c.Quick:
		return scale{sizes: sizes, put: 300 * time.Millisecond, get: 150 * time.Millisecond, limit: 60 * time.Millisecond, fair: 700 * time.Millisecond,
			bytes: 128 << 20, large: 256 << 20, puts: 50_000, rawFile: 32 << 20, list: 100_000, flat: []int{10_000, 100_000}, open: 30_000, crash: 10_000,
			memory: 20_000, idle: time.Second}
	}
	return scale{sizes: sizes, put: time.Second, get: 500 * time.Millisecond, limit: 250 * time.Millisecond, fair: 2 * time.Second,
		bytes: 512 << 20, large: 1 << 30, puts: 100_000, rawFile: 128 << 20, list: 200_000, flat: []int{10_000, 100_000, 1_000_000}, open: 100_000, crash: 15_000,
		memory: 100_000, idle: 5 * time.Second}
}

// suite is a run under way.
type suite struct {
	Config
	scale
	ctx    context.Context
	report *Report
	limits *raw
}

// Run runs the parts and returns what they found.
func Run(ctx context.Context, c Config) (_ *Report, err error) {
	if c.Rounds == 0 {
		c.Rounds = 3
	}
	s := &suite{Config: c, scale: c.scale(), ctx: ctx}
	s.report = &Report{Quick: c.Quick, Rounds: c.Rounds, Large: s.sizes[3], Budget: s.large, Machine: machineOf(c.Places)}
	if c.Profile != "" {
		// A profile takes a hundred samples in a second.
		s.put, s.get, s.puts, s.bytes = 4*s.put, 4*s.get, 4*s.puts, 4*s.bytes
	}
	begin := time.Now()
	if s.limits, err = newRaw(c.Places, s.rawFile); err != nil {
		return nil, err
	}
	defer func() { err = firstOf(err, s.limits.close()) }()
	for _, part := range []struct {
		name string
		run  func() error
	}{
		{"put", s.putMatrix}, {"get", s.getMatrix}, {"async", s.async}, {"ops", s.ops}, {"fair", s.fairness},
		{"open", s.opens}, {"memory", s.memories}, {"scaling", s.scaling}, {"flat", s.flatness},
	} {
		if !s.wants(part.name) {
			continue
		}
		if err := part.run(); err != nil {
			return nil, fmt.Errorf("%s: %w", part.name, err)
		}
	}
	s.report.Took = time.Since(begin)
	return s.report, nil
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// wants reports whether a part or row was asked for. A row's name begins with
// its part's; a part is run if one of its rows may be.
func (s *suite) wants(name string) bool {
	if s.Only == nil || s.Only.MatchString(name) {
		return true
	}
	return !strings.Contains(name, "/") && strings.Contains(s.Only.String(), name)
}

// round announces and checks that the run is to go on.
func (s *suite) round(name string, n int) error {
	s.Log("%s: round %d of %d", name, n+1, s.Rounds)
	return s.ctx.Err()
}

// profiled measures fn, with a CPU profile if the row's first round is to have
// one.
func (s *suite) profiled(name string, round int, st *store, fn work) (_ sample, err error) {
	if s.Profile != "" && round == 0 {
		f, err := os.Create(filepath.Join(s.Profile, strings.NewReplacer("/", "-", " ", "", ",", "-").Replace(name)+".cpu"))
		if err != nil {
			return sample{}, err
		}
		defer func() { err = firstOf(err, f.Close()) }()
		if err := pprof.StartCPUProfile(f); err != nil {
			return sample{}, err
		}
		defer pprof.StopCPUProfile()
	}
	return measure(st.e, fn)
}

func (s *suite) procs() int { return runtime.GOMAXPROCS(0) }
