package bench

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// spread is what the rounds of a row gave.
type spread struct {
	Median, Least, Most float64
}

func spreadOf(values []float64) spread {
	if len(values) == 0 {
		return spread{math.NaN(), math.NaN(), math.NaN()}
	}
	v := slices.Clone(values)
	slices.Sort(v)
	return spread{Median: (v[(len(v)-1)/2] + v[len(v)/2]) / 2, Least: v[0], Most: v[len(v)-1]}
}

// over collects what value says of each round.
func over[T any](rounds []T, value func(T) float64) spread {
	var v []float64
	for _, r := range rounds {
		v = append(v, value(r))
	}
	return spreadOf(v)
}

// String prints median (least..most).
func (s spread) String() string {
	return fmt.Sprintf("%s (%s..%s)", short(s.Median), short(s.Least), short(s.Most))
}

// percent prints a ratio.
func (s spread) percent() string {
	return fmt.Sprintf("%.0f%% (%.0f..%.0f)", s.Median*100, s.Least*100, s.Most*100)
}

// short prints three significant digits.
func short(v float64) string {
	a := math.Abs(v)
	switch {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return "-"
	case a >= 100:
		return grouped(int64(math.Round(v)))
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}

// grouped prints n with a comma between thousands.
func grouped(n int64) string {
	if n < 0 {
		return "-" + grouped(-n)
	}
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", grouped(n/1000), n%1000)
}

// quantile returns the value below which a share q of the sorted ones lies.
func quantile[T cmp.Ordered](sorted []T, q float64) T {
	var zero T
	if len(sorted) == 0 {
		return zero
	}
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

func microseconds(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// sizeName prints a power of two as people say it.
func sizeName(n int64) string {
	switch {
	case n >= 1<<30 && n%(1<<30) == 0:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 1<<20 && n%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 1<<10 && n%(1<<10) == 0:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d B", n)
}

// rowSize is a size in the name of a row: without a space.
func rowSize(n int) string { return strings.ReplaceAll(sizeName(int64(n)), " ", "") }
