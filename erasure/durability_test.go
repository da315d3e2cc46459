package erasure

import (
	"fmt"
	"math"
	"testing"
	"time"
)

const day = 24 * time.Hour

// Reference values of the three formulas, computed independently in
// multiple-precision arithmetic.
func TestDurabilityReference(t *testing.T) {
	for _, tc := range []struct {
		g      Geometry
		afr    float64
		repair time.Duration
		want   [3]string
	}{
		{Geometry{17, 3}, 0.00405, 13 * day / 2, [3]string{"7.3538e-12", "2.9392e-11", "1.7621e-10"}},
		{Geometry{1, 1}, 0.0157, day, [3]string{"6.7529e-07", "1.3505e-06", "1.3505e-06"}},
		{Geometry{2, 1}, 0.0157, day, [3]string{"2.0258e-06", "4.0510e-06", "4.0510e-06"}},
		{Geometry{2, 2}, 0.0157, day, [3]string{"1.1618e-10", "3.4850e-10", "6.9697e-10"}},
		{Geometry{4, 2}, 0.0157, day, [3]string{"5.8086e-10", "1.7423e-09", "3.4842e-09"}},
		{Geometry{4, 2}, 0.0157, 13 * day / 2, [3]string{"2.4520e-08", "7.3472e-08", "1.4686e-07"}},
		{Geometry{8, 3}, 0.0157, day, [3]string{"4.1218e-13", "1.6483e-12", "9.8876e-12"}},
		{Geometry{8, 3}, 0.0157, 13 * day / 2, [3]string{"1.1299e-10", "4.5121e-10", "2.7032e-09"}},
		{Geometry{8, 4}, 0.0157, day, [3]string{"4.2550e-17", "2.1270e-16", "5.1034e-15"}},
		{Geometry{12, 4}, 0.0157, day, [3]string{"2.3463e-16", "1.1728e-15", "2.8136e-14"}},
		{Geometry{12, 4}, 0.0157, 13 * day / 2, [3]string{"4.1768e-13", "2.0841e-12", "4.9893e-11"}},
		{Geometry{17, 3}, 0.0157, 13 * day / 2, [3]string{"1.6556e-09", "6.6023e-09", "3.9488e-08"}},
	} {
		loss, err := Durability(tc.g, tc.afr, tc.repair)
		noError(t, err)
		got := [3]string{}
		for i, v := range []float64{loss.Backblaze, loss.MarkovParallel, loss.MarkovSerial} {
			got[i] = fmt.Sprintf("%.4e", v)
		}
		equal(t, tc.want, got, "%s, AFR %v, repair %v", tc.g, tc.afr, tc.repair)
	}
}

func TestScrubLossReference(t *testing.T) {
	for scrub, want := range map[time.Duration]string{day: "2.2e-12", 7 * day: "1.5e-11", 30 * day: "6.6e-11", 180 * day: "3.9e-10"} {
		got, err := ScrubLoss(Geometry{8, 3}, DefaultAFR, day, 0.014, scrub)
		noError(t, err)
		equal(t, want, fmt.Sprintf("%.1e", got), "scrubbed every %v", scrub)
	}
	// One disk down of two is entered at 2 x AFR; the other is met as it is.
	got, err := ScrubLoss(Geometry{1, 1}, 0.01, day, 0.1, 365*day)
	noError(t, err)
	equal(t, fmt.Sprintf("%.6e", 0.02*(1-math.Exp(-0.05))), fmt.Sprintf("%.6e", -math.Log1p(-got)))
	// Without parity every latent error is a loss.
	got, err = ScrubLoss(Geometry{2, 0}, 0.01, day, 0.1, day)
	noError(t, err)
	equal(t, fmt.Sprintf("%.6e", 1-math.Exp(-0.2)), fmt.Sprintf("%.6e", got))
	got, err = ScrubLoss(Geometry{8, 3}, 0.01, day, 0, day)
	noError(t, err)
	equal(t, 0.0, got)
}

// Every loss is a probability, more parity and faster repair are better, and
// the smallest numbers are not rounded to nothing.
func TestDurabilityIsSane(t *testing.T) {
	values := func(g Geometry, afr float64, repair time.Duration) [3]float64 {
		l, err := Durability(g, afr, repair)
		noError(t, err)
		for _, v := range []float64{l.Backblaze, l.MarkovParallel, l.MarkovSerial} {
			if !(v > 0 && v <= 1) {
				t.Fatalf("%s, AFR %v, repair %v: %+v", g, afr, repair, l)
			}
		}
		if l.MarkovParallel > l.MarkovSerial*(1+1e-12) {
			t.Fatalf("%s: repairs in parallel lose more than in series: %+v", g, l)
		}
		return [3]float64{l.Backblaze, l.MarkovParallel, l.MarkovSerial}
	}
	for _, afr := range []float64{1e-6, 0.0157, 0.5, 1} {
		for _, repair := range []time.Duration{time.Hour, day, 30 * day, 1000 * day} {
			for _, k := range []int{1, 4, 32} {
				before := [3]float64{2, 2, 2}
				for m := 0; m <= 4; m++ {
					now := values(Geometry{k, m}, afr, repair)
					slow := values(Geometry{k, m}, afr, 2*repair)
					for i := range now {
						if now[i] > before[i] || i > 0 && m > 0 && now[i] > slow[i]*(1+1e-12) {
							t.Fatalf("%d+%d, AFR %v, repair %v, formula %d: %v after %v, slower %v", k, m, afr, repair, i, now[i], before[i], slow[i])
						}
					}
					before = now
				}
			}
		}
	}
	// Without parity and repair, the loss is that of k disks.
	got := values(Geometry{4, 0}, 0.0157, day)
	for i, v := range got {
		equal(t, fmt.Sprintf("%.9e", 1-math.Exp(-4*0.0157)), fmt.Sprintf("%.9e", v), "formula %d", i)
	}
	loss, err := Durability(Geometry{4, 2}, 0, day)
	noError(t, err)
	equal(t, Loss{}, loss)
}

func TestDurabilityRefuses(t *testing.T) {
	g := Geometry{4, 2}
	for _, afr := range []float64{-0.1, 1.1, math.NaN(), math.Inf(1)} {
		_, err := Durability(g, afr, day)
		errorIs(t, err, ErrDurability, "AFR %v", afr)
		_, err = ScrubLoss(g, afr, day, 0.01, day)
		errorIs(t, err, ErrDurability, "AFR %v", afr)
	}
	for _, repair := range []time.Duration{0, -day} {
		_, err := Durability(g, 0.01, repair)
		errorIs(t, err, ErrDurability, "repair %v", repair)
	}
	for _, latent := range []float64{-1, math.NaN(), math.Inf(1)} {
		_, err := ScrubLoss(g, 0.01, day, latent, day)
		errorIs(t, err, ErrDurability, "latent %v", latent)
	}
	_, err := ScrubLoss(g, 0.01, day, 0.01, -1)
	errorIs(t, err, ErrDurability)
	_, err = Durability(Geometry{0, 2}, 0.01, day)
	errorIs(t, err, ErrGeometry)
}
