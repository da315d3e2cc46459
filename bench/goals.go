package bench

import (
	"fmt"
	"math"
)

// goal is something that was set out to be reached, on two cores.
type goal struct {
	Text, Seen string
	Met        verdict
}

type verdict uint8

const (
	notRun verdict = iota
	met
	missed
)

func (v verdict) String() string {
	return [...]string{"not run", "yes", "**no**"}[v]
}

func verdictOf(ok bool) verdict {
	if ok {
		return met
	}
	return missed
}

// goals judges the medians of a run.
func (r *Report) goals() []goal {
	return []goal{
		r.large("large put ("+sizeName(int64(r.Large))+" and more) at least 80% of the slower of CPU limit and disk", r.putRatios()),
		r.large("large get ("+sizeName(int64(r.Large))+" and more) at least 80% of read-plus-verify on all cores", r.getRatios()),
		r.smallPut(), r.asyncGoal(),
		r.smallGet(), r.verifyGoal(), r.listGoal(), r.headGoal(), r.fairGoal(), r.flatGoal(), r.indexGoal(), r.edgeGoal(),
	}
}

// rated is a row's ratio to its limit.
type rated struct {
	name             string
	size, goroutines int
	ratio            spread
}

func (r *Report) putRatios() []rated {
	var out []rated
	for _, p := range r.Puts {
		out = append(out, rated{p.name(), p.Size, p.Goroutines, over(p.Rounds, putRound.ratio)})
	}
	return out
}

func (r *Report) getRatios() []rated {
	var out []rated
	for _, g := range r.Gets {
		out = append(out, rated{g.name(), g.Size, g.Goroutines, over(g.Rounds, getRound.ratio)})
	}
	return out
}

// large is decided by the worst row.
func (r *Report) large(text string, rows []rated) goal {
	worst := rated{ratio: spread{Median: math.Inf(1)}}
	for _, row := range rows {
		if row.size >= r.Large && row.ratio.Median < worst.ratio.Median {
			worst = row
		}
	}
	if worst.name == "" {
		return goal{Text: text}
	}
	return goal{text, fmt.Sprintf("worst: %s (%s goroutines)", worst.ratio.percent(), worst.name), verdictOf(worst.ratio.Median >= 0.8)}
}

func (r *Report) put(size, goroutines int) *putRow {
	for i, p := range r.Puts {
		if p.Size == size && p.Goroutines == goroutines {
			return &r.Puts[i]
		}
	}
	return nil
}

func (r *Report) get(size, goroutines int) *getRow {
	for i, g := range r.Gets {
		if g.Size == size && g.Goroutines == goroutines {
			return &r.Gets[i]
		}
	}
	return nil
}

func (r *Report) smallPut() goal {
	g := goal{Text: "64 writers of 4 KiB at least 60% of raw"}
	if p := r.put(4<<10, 64); p != nil {
		v := over(p.Rounds, putRound.diskRatio)
		g.Seen, g.Met = v.percent(), verdictOf(v.Median >= 0.6)
	}
	return g
}

func (r *Report) asyncGoal() goal {
	g := goal{Text: "one goroutine with PutAsync at least 80% of 64 with Put, 4 KiB"}
	if len(r.Async) > 0 {
		v := over(r.Async[0].Rounds, asyncRound.ratio)
		g.Seen, g.Met = v.percent(), verdictOf(v.Median >= 0.8)
	}
	return g
}

func (r *Report) smallGet() goal {
	g := goal{Text: "4 KiB get from the page cache at most 15 us CPU and 4 allocations"}
	if p := r.get(4<<10, 1); p != nil {
		cpu := over(p.Rounds, func(r getRound) float64 { return r.cpuMicros() })
		allocs := over(p.Rounds, func(r getRound) float64 { return r.allocsPerOp() })
		g.Seen = fmt.Sprintf("%s us, %.1f allocations", cpu, allocs.Median)
		g.Met = verdictOf(cpu.Median <= 15 && allocs.Median < 4.5)
	}
	return g
}

func (r *Report) verifyGoal() goal {
	g := goal{Text: "64 KiB get at least 70% of read-plus-verify"}
	if p := r.get(64<<10, 1); p != nil {
		v := over(p.Rounds, getRound.ratio)
		g.Seen, g.Met = v.percent(), verdictOf(v.Median >= 0.7)
	}
	return g
}

func (r *Report) op(name string) []sample {
	for _, o := range r.Ops {
		if o.Name == name {
			return o.Rounds
		}
	}
	return nil
}

func (r *Report) listGoal() goal {
	g := goal{Text: "list at least 500,000 keys/s"}
	if o := r.op("list"); o != nil {
		v := over(o, sample.opsPerSecond)
		g.Seen, g.Met = v.String()+" keys/s", verdictOf(v.Median >= 500_000)
	}
	return g
}

func (r *Report) headGoal() goal {
	g := goal{Text: "head at most 5 us CPU"}
	if o := r.op("head, 1"); o != nil {
		v := over(o, sample.cpuMicros)
		g.Seen, g.Met = v.String()+" us", verdictOf(v.Median <= 5)
	}
	return g
}

func (r *Report) fairGoal() goal {
	g := goal{Text: "4 KiB put p99 beside one large stream at most 3 times alone"}
	if len(r.Fair) > 0 {
		v := over(r.Fair[0].Rounds, fairRound.ratio)
		g.Seen, g.Met = v.String()+" times", verdictOf(v.Median <= 3)
	}
	return g
}

// flatGoal has no figure to reach: it shows what growth costs.
func (r *Report) flatGoal() goal {
	g := goal{Text: "put, get, list page, head and open as flat as can be from least to most objects"}
	if len(r.Flat) < 2 {
		return g
	}
	few, many := r.Flat[0], r.Flat[len(r.Flat)-1]
	times := func(of func(flatRow) []sample) string {
		m := func(f flatRow) float64 { return over(of(f), sample.cpuMicros).Median }
		return short(m(many) / m(few))
	}
	open := func(f flatRow) float64 {
		return over(f.Open, func(o openTimes) float64 { return o.Wall.Seconds() }).Median
	}
	g.Seen = fmt.Sprintf("CPU at %s objects, times that at %s: put %s, get %s, head %s, list page %s; time of open %s",
		grouped(int64(many.Objects)), grouped(int64(few.Objects)),
		times(func(f flatRow) []sample { return f.Put }), times(func(f flatRow) []sample { return f.Get }),
		times(func(f flatRow) []sample { return f.Head }), times(func(f flatRow) []sample { return f.ListPage }),
		short(open(many)/open(few)))
	g.Met = met
	return g
}

func (r *Report) indexGoal() goal {
	g := goal{Text: "index at most 400 bytes per object"}
	if len(r.Flat) > 0 {
		most := 0.0
		for _, f := range r.Flat {
			most = max(most, f.IndexBytes)
		}
		g.Seen, g.Met = short(most)+" bytes at most", verdictOf(most <= 400)
	}
	return g
}

func (r *Report) edgeGoal() goal {
	g := goal{Text: "edge preset under 48 MiB resident when idle"}
	for _, m := range r.Memory {
		if m.Preset == "edge" {
			mib := func(of func(footprint) memory) spread {
				return over(m.Rounds, func(f footprint) float64 { return mebibytes(of(f).RSS) })
			}
			opened := mib(func(f footprint) memory { return f.Opened })
			idle := mib(func(f footprint) memory { return f.Idle })
			collected := mib(func(f footprint) memory { return f.Collected })
			if opened.Median == 0 {
				return g // not known here
			}
			g.Seen = fmt.Sprintf("MiB: %s opened, %s just after work, %s once its garbage is collected", opened, idle, collected)
			g.Met = verdictOf(max(opened.Median, collected.Median) < 48)
		}
	}
	return g
}

func mebibytes(n int64) float64 { return float64(n) / (1 << 20) }
