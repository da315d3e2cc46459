package bench

import (
	"fmt"
	"html"
	"io"
	"math"
	"strings"
)

// Charts returns the SVG charts of the report, by file name. None is made of
// what was not run.
func (r *Report) Charts() map[string]string {
	charts := map[string]string{}
	if rows := r.putRatios(); len(rows) > 0 {
		charts["results-put.svg"] = ratioChart("Put: percent of the limit (the slower of raw writes and computing)", rows)
	}
	if rows := r.getRatios(); len(rows) > 0 {
		charts["results-get.svg"] = ratioChart("Get: percent of reading and verifying", rows)
	}
	return charts
}

// Places of a chart, in pixels.
const (
	chartWidth = 720
	chartLeft  = 110
	chartRight = 120
	chartTop   = 48
	barHeight  = 16
	barGap     = 6
)

// ratioChart draws a bar for each row, with a mark from the lowest to the
// highest round. It can be read on light and dark ground.
func ratioChart(title string, rows []rated) string {
	most := 1.0
	for _, r := range rows {
		if !math.IsInf(r.ratio.Most, 0) && !math.IsNaN(r.ratio.Most) {
			most = max(most, r.ratio.Most)
		}
	}
	most = math.Ceil(most*4) / 4
	width := float64(chartWidth - chartLeft - chartRight)
	x := func(ratio float64) float64 { return chartLeft + width*min(max(ratio, 0), most)/most }
	height := chartTop + len(rows)*(barHeight+barGap) + 28

	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img">`, chartWidth, height, chartWidth, height)
	p(`<title>%s</title>`, html.EscapeString(title))
	io.WriteString(&b, chartStyle)
	p(`<text class="title" x="%d" y="20">%s</text>`, 12, html.EscapeString(title))
	for tick := 0.0; tick <= most+0.001; tick += 0.25 {
		class := "grid"
		if tick == 1 {
			class = "limit"
		}
		p(`<line class="%s" x1="%.1f" y1="%d" x2="%.1f" y2="%d"/>`, class, x(tick), chartTop-8, x(tick), height-24)
		p(`<text class="tick" x="%.1f" y="%d" text-anchor="middle">%.0f%%</text>`, x(tick), height-8, tick*100)
	}
	for i, r := range rows {
		y := chartTop + i*(barHeight+barGap)
		mid := float64(y) + barHeight/2
		p(`<text class="name" x="%d" y="%.1f" text-anchor="end">%s</text>`, chartLeft-8, mid+4, html.EscapeString(r.name))
		p(`<rect class="bar" x="%d" y="%d" width="%.1f" height="%d" rx="2"/>`, chartLeft, y, x(r.ratio.Median)-chartLeft, barHeight)
		p(`<line class="range" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/>`, x(r.ratio.Least), mid, x(r.ratio.Most), mid)
		p(`<text class="value" x="%d" y="%.1f">%s</text>`, chartWidth-chartRight+8, mid+4, r.ratio.percent())
	}
	p(`</svg>`)
	return b.String()
}

const chartStyle = `<style>
text { font-family: system-ui, sans-serif; font-size: 12px; fill: #24292f; }
.title { font-size: 14px; font-weight: 600; }
.tick, .value { font-size: 11px; fill: #57606a; }
.grid { stroke: #d0d7de; stroke-width: 1; }
.limit { stroke: #57606a; stroke-width: 1.5; stroke-dasharray: 4 3; }
.bar { fill: #2f81b7; }
.range { stroke: #e36209; stroke-width: 2; }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3; }
.tick, .value { fill: #9198a1; }
.grid { stroke: #3d444d; }
.limit { stroke: #9198a1; }
.bar { fill: #4493c8; }
.range { stroke: #ffa657; }
}
</style>
`
