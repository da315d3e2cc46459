package bench

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// markdown is the report being written.
type markdown struct{ strings.Builder }

func (m *markdown) line(format string, args ...any) {
	fmt.Fprintf(m, format+"\n", args...)
}

// table begins a table; the first column is text, the others are figures.
func (m *markdown) table(columns ...string) {
	m.row(columns...)
	m.WriteString("|---|" + strings.Repeat("---:|", len(columns)-1) + "\n")
}

func (m *markdown) row(cells ...string) {
	m.WriteString("| " + strings.Join(cells, " | ") + " |\n")
}

// WriteTo writes the report as Markdown. It shows the charts by the names that
// [Report.Charts] gives them.
func (r *Report) WriteTo(w io.Writer) (int64, error) {
	var m markdown
	r.head(&m)
	r.goalTable(&m)
	r.putTable(&m)
	r.getTable(&m)
	r.asyncTable(&m)
	r.opTable(&m)
	r.fairTable(&m)
	r.openTable(&m)
	r.memoryTable(&m)
	r.flatTable(&m)
	r.scaleTable(&m)
	n, err := io.WriteString(w, m.String())
	return int64(n), err
}

func (r *Report) head(m *markdown) {
	how := "`go run ./bench/results`"
	if r.Quick {
		how = "`go run ./bench/results -quick`: short rounds, noisy figures"
	}
	m.line("# Benchmark results\n")
	m.line("Written by %s in %s. What is measured, and how, is in [doc.go](doc.go).\n", how, r.Took.Round(time.Second))
	m.line("| | |\n|---|---|")
	for _, l := range [][2]string{
		{"date", r.Machine.Date.Format("2006-01-02 15:04 UTC")}, {"commit", r.Machine.Commit}, {"Go", r.Machine.Go},
		{"CPU", fmt.Sprintf("%s, %d cores used", r.Machine.CPU, r.Machine.Cores)}, {"memory", r.Machine.Memory}, {"kernel", r.Machine.Kernel},
		{"file system", r.Machine.FileSystem}, {"disk", r.Machine.Disk},
		{"store", "six directories, 4+2, index beside them, default options"},
		{"fsync policy", "every put is acknowledged after the fdatasyncs of its group; nothing is relaxed"},
		{"rounds", fmt.Sprintf("%d of each row, engine and limits in turn; median (lowest..highest)", r.Rounds)},
	} {
		m.row(l[0], l[1])
	}
	m.line("")
}

func (r *Report) goalTable(m *markdown) {
	m.line("## Goals\n")
	m.line("Set for two cores and 4+2. The medians decide.\n")
	m.row("goal", "seen", "met")
	m.line("|---|---|---|")
	for _, g := range r.goals() {
		m.row(g.Text, g.Seen, g.Met.String())
	}
	m.line("")
}

func (r *Report) putTable(m *markdown) {
	if len(r.Puts) == 0 {
		return
	}
	m.line("## Put\n")
	m.line("![Puts in percent of their limit](results-put.svg)\n")
	m.line("New keys. The limit is the slower of the raw writes and the computing. Where all goroutines together would put more than %s at once", sizeName(r.Budget))
	m.line("they share as much in each round, and their objects end early with it. Raw writes go to files that were filled with zeros before, at")
	m.line("no cost; in new space, for streams, to space that was taken and never written: the file system must then note what was, at each sync.\n")
	putTable(m, r.Puts)
}

func putTable(m *markdown, rows []putRow) {
	m.table("size, goroutines", "puts/s", "MB/s", "of the limit", "limit", "raw MB/s", "raw, new space", "of that", "computing MB/s", "CPU us/op", "CPU s/GB", "of it computing",
		"fdatasyncs/op", "ops/group", "written/byte", "allocs/op")
	for _, p := range rows {
		limit := "computing"
		if p.byDisk() {
			limit = "disk"
		}
		rate := func(d func(putRound) time.Duration) string {
			return short(over(p.Rounds, func(r putRound) float64 { return float64(r.Bytes) / 1e6 / d(r).Seconds() }).Median)
		}
		direct := ""
		if len(p.Rounds) > 0 && p.Rounds[0].Direct {
			direct = " (O_DIRECT)"
		}
		fresh, ofFresh := "", ""
		if len(p.Rounds) > 0 && p.Rounds[0].Fresh > 0 {
			fresh = rate(func(r putRound) time.Duration { return r.Fresh })
			ofFresh = over(p.Rounds, func(r putRound) float64 { return r.Fresh.Seconds() / r.Wall.Seconds() }).percent()
		}
		m.row(p.name(), median(p.Rounds, func(r putRound) float64 { return r.opsPerSecond() }), over(p.Rounds, func(r putRound) float64 { return r.megabytes() }).String(),
			over(p.Rounds, putRound.ratio).percent(), limit,
			rate(func(r putRound) time.Duration { return r.Disk })+direct, fresh, ofFresh, rate(func(r putRound) time.Duration { return r.Compute }),
			median(p.Rounds, func(r putRound) float64 { return r.cpuMicros() }), median(p.Rounds, func(r putRound) float64 { return r.cpuPerGB() }), over(p.Rounds, putRound.cpuRatio).percent(),
			median(p.Rounds, func(r putRound) float64 { return r.syncsPerOp() }), median(p.Rounds, func(r putRound) float64 { return r.opsPerGroup() }),
			median(p.Rounds, func(r putRound) float64 { return r.writtenPerByte() }), median(p.Rounds, func(r putRound) float64 { return r.allocsPerOp() }))
	}
	m.line("")
}

// median prints the median round.
func median[T any](rounds []T, value func(T) float64) string {
	return short(over(rounds, value).Median)
}

func (r *Report) getTable(m *markdown) {
	if len(r.Gets) == 0 {
		return
	}
	m.line("## Get\n")
	m.line("![Gets in percent of reading and verifying](results-get.svg)\n")
	m.line("Whole objects at random, from the page cache. The limit is to read the same pieces by pread and hash them: whole objects by as")
	m.line("many goroutines up to 64 KiB; above that frames of 64 KiB on all cores. Of its CPU: the same ratio in CPU time.")
	m.line("Where all goroutines together would read more than %s at once, each reads a range.\n", sizeName(r.Budget))
	getTable(m, r.Gets)
}

func getTable(m *markdown, rows []getRow) {
	m.table("size, goroutines", "gets/s", "MB/s", "of read and verify", "of its CPU", "read and verify MB/s", "read MB/s", "CPU us/op", "CPU s/GB", "allocs/op")
	for _, g := range rows {
		m.row(g.name(), median(g.Rounds, func(r getRound) float64 { return r.opsPerSecond() }), over(g.Rounds, func(r getRound) float64 { return r.megabytes() }).String(),
			over(g.Rounds, getRound.ratio).percent(), over(g.Rounds, getRound.cpuRatio).percent(),
			median(g.Rounds, func(r getRound) float64 { return r.Verify.megabytes() }), median(g.Rounds, func(r getRound) float64 { return r.Read.megabytes() }),
			median(g.Rounds, func(r getRound) float64 { return r.cpuMicros() }), median(g.Rounds, func(r getRound) float64 { return r.cpuPerGB() }),
			median(g.Rounds, func(r getRound) float64 { return r.allocsPerOp() }))
	}
	m.line("")
}

func (r *Report) asyncTable(m *markdown) {
	if len(r.Async) == 0 {
		return
	}
	m.line("## PutAsync\n")
	m.line("One goroutine with %d puts on their way, beside %d goroutines that put and wait.\n", asyncWindow, asyncGoroutines)
	m.table("4 KiB", "puts/s", "CPU us/op", "fdatasyncs/op", "ops/group", "allocs/op")
	for _, a := range r.Async {
		for _, side := range []struct {
			name string
			of   func(asyncRound) sample
		}{{"64 goroutines, Put", func(r asyncRound) sample { return r.Many }}, {"1 goroutine, PutAsync", func(r asyncRound) sample { return r.One }}} {
			of := func(value func(sample) float64) spread {
				return over(a.Rounds, func(r asyncRound) float64 { return value(side.of(r)) })
			}
			m.row(side.name, of(sample.opsPerSecond).String(), short(of(sample.cpuMicros).Median), short(of(sample.syncsPerOp).Median),
				short(of(sample.opsPerGroup).Median), short(of(sample.allocsPerOp).Median))
		}
		m.line("\nRatio: %s.\n", over(a.Rounds, asyncRound.ratio).percent())
	}
}

func (r *Report) opTable(m *markdown) {
	if len(r.Ops) == 0 {
		return
	}
	m.line("## Keys\n")
	m.table("what, goroutines", "per second", "us/op", "CPU us/op", "fdatasyncs/op", "allocs/op")
	for _, o := range r.Ops {
		m.row(o.Name, over(o.Rounds, sample.opsPerSecond).String(), median(o.Rounds, sample.wallMicros), over(o.Rounds, sample.cpuMicros).String(),
			median(o.Rounds, sample.syncsPerOp), median(o.Rounds, sample.allocsPerOp))
	}
	m.line("\nKeys are counted: a key listed, deleted by a prefix, and so on.\n")
}

func (r *Report) fairTable(m *markdown) {
	if len(r.Fair) == 0 {
		return
	}
	m.line("## Small puts beside a large stream\n")
	m.line("Milliseconds. The raw row is what the disk does to writes of a lone put's size beside a stream written as the engine's are.\n")
	m.table("what, goroutines", "p50 alone", "p99 alone", "p50 beside", "p99 beside", "p99 beside/alone", "stream MB/s")
	for _, f := range r.Fair {
		ms := func(of func(fairRound) time.Duration) string {
			return over(f.Rounds, func(r fairRound) float64 { return microseconds(of(r)) / 1000 }).String()
		}
		m.row(f.Name, ms(func(r fairRound) time.Duration { return r.Alone.P50 }), ms(func(r fairRound) time.Duration { return r.Alone.P99 }),
			ms(func(r fairRound) time.Duration { return r.Beside.P50 }), ms(func(r fairRound) time.Duration { return r.Beside.P99 }),
			over(f.Rounds, fairRound.ratio).String(), median(f.Rounds, func(r fairRound) float64 { return r.Stream }))
	}
	m.line("")
}

func (r *Report) openTable(m *markdown) {
	if len(r.Opens) == 0 {
		return
	}
	m.line("## Open\n")
	m.table("what", "objects", "ms", "CPU ms", "records replayed")
	for _, o := range r.Opens {
		m.row(o.Name, grouped(int64(o.Objects)), over(o.Rounds, openTimes.ms).String(),
			median(o.Rounds, func(t openTimes) float64 { return microseconds(t.CPU) / 1000 }), median(o.Rounds, func(t openTimes) float64 { return float64(t.Replayed) }))
	}
	m.line("\nObjects are those of the first round; each later one finds as many more as were put before its kill.\n")
}

func (t openTimes) ms() float64 { return microseconds(t.Wall) / 1000 }

func (r *Report) memoryTable(m *markdown) {
	if len(r.Memory) == 0 {
		return
	}
	m.line("## Memory\n")
	m.line("A process of its own that opens the store, waits, works (puts and gets of 4 KiB, streams of 64 MiB), and waits again. MiB resident,")
	m.line("the program's own pages included; in brackets the part that is no file's. Collected is after two garbage collections that give")
	m.line("back what is free, as the Go runtime makes by itself in minutes without work.\n")
	m.table("preset", "disks", "objects", "opened", "after work", "collected", "peak", "Go heap, collected")
	for _, p := range r.Memory {
		of := func(value func(footprint) int64) string {
			return median(p.Rounds, func(f footprint) float64 { return mebibytes(value(f)) })
		}
		m.row(p.Preset, fmt.Sprint(p.Disks), grouped(int64(p.Objects)),
			fmt.Sprintf("%s (%s)", of(func(f footprint) int64 { return f.Opened.RSS }), of(func(f footprint) int64 { return f.Opened.Anon })),
			fmt.Sprintf("%s (%s)", of(func(f footprint) int64 { return f.Idle.RSS }), of(func(f footprint) int64 { return f.Idle.Anon })),
			fmt.Sprintf("%s (%s)", of(func(f footprint) int64 { return f.Collected.RSS }), of(func(f footprint) int64 { return f.Collected.Anon })),
			of(func(f footprint) int64 { return f.Idle.Peak }), of(func(f footprint) int64 { return f.Heap }))
	}
	m.line("")
}

func (r *Report) flatTable(m *markdown) {
	if len(r.Flat) == 0 {
		return
	}
	m.line("## Flatness\n")
	m.line("Objects of %d bytes, keys of 64, of which 40 are random. Gets, heads and list pages (1,000 keys, from anywhere) from one goroutine, puts from 64.", flatSize)
	m.line("Open is after a clean close.\n")
	m.table("objects", "put CPU us", "puts/s", "get us", "get CPU us", "head us", "head CPU us", "list page us", "list page CPU us", "open ms", "index bytes/object")
	for _, f := range r.Flat {
		m.row(grouped(int64(f.Objects)), over(f.Put, sample.cpuMicros).String(), median(f.Put, sample.opsPerSecond),
			median(f.Get, sample.wallMicros), over(f.Get, sample.cpuMicros).String(), median(f.Head, sample.wallMicros), over(f.Head, sample.cpuMicros).String(),
			median(f.ListPage, sample.wallMicros), over(f.ListPage, sample.cpuMicros).String(), over(f.Open, openTimes.ms).String(), short(f.IndexBytes))
	}
	m.line("")
}

func (r *Report) scaleTable(m *markdown) {
	if len(r.Scaling) == 0 {
		return
	}
	m.line("## Cores\n")
	m.line("The same with fewer cores (GOMAXPROCS), limits included; gets from four goroutines for each core.\n")
	for _, s := range r.Scaling {
		m.line("### %d\n", s.Procs)
		putTable(m, s.Puts)
		getTable(m, s.Gets)
	}
}
