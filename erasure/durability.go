package erasure

import (
	"fmt"
	"math"
	"time"
)

// DefaultAFR is the annual failure rate to assume for a disk of which nothing
// is known: the fleet average that Backblaze publishes.
const DefaultAFR = 0.0157

// year is the unit of the formulas: 365 days.
const year = 365 * 24 * time.Hour

// Loss holds probabilities that one segment loses data within a year: that
// more than m of its disks are failed at once. Disks fail independently of
// each other in all of them; common causes (a shelf, a firmware, an operator)
// are not in the model and dominate in practice.
type Loss struct {
	// Backblaze is the formula that Backblaze publishes: failures within one
	// of 1 year / repair aligned windows. It is what others quote.
	Backblaze float64
	// MarkovParallel is the exact birth-death chain with every failed disk
	// under repair at once; about m+1 times Backblaze.
	MarkovParallel float64
	// MarkovSerial is the same with one repair at a time; about (m+1)! times
	// Backblaze.
	MarkovSerial float64
}

// Durability returns the annual loss of a segment whose disks fail at the
// annual rate afr (0 to 1; 0.0157 is 1.57 %) and are rebuilt in repair, which
// is more than 0. Anything else is [ErrDurability], a bad g [ErrGeometry].
func Durability(g Geometry, afr float64, repair time.Duration) (Loss, error) {
	if err := checkDurability(g, afr, repair); err != nil {
		return Loss{}, err
	}
	if afr == 0 {
		return Loss{}, nil
	}
	years := float64(repair) / float64(year)
	return Loss{
		Backblaze:      backblaze(g, afr, years),
		MarkovParallel: markov(g, afr, func(failed int) float64 { return float64(failed) / years }),
		MarkovSerial:   markov(g, afr, func(int) float64 { return 1 / years }),
	}, nil
}

// ScrubLoss returns the annual probability that a segment loses data to a
// latent error: one that is met while m of its disks are down. Such errors
// appear latentPerDiskYear times a year on each disk (HDD 0.014, SSD 0.00031)
// and live until the next scrub, half an interval on average. It adds to
// [Loss]. With m = 0 no scrub helps: any latent error is a loss.
//
// Arguments are as those of [Durability]; latentPerDiskYear and scrub must not
// be negative.
func ScrubLoss(g Geometry, afr float64, repair time.Duration, latentPerDiskYear float64, scrub time.Duration) (float64, error) {
	if err := checkDurability(g, afr, repair); err != nil {
		return 0, err
	}
	if !(latentPerDiskYear >= 0) || math.IsInf(latentPerDiskYear, 1) || scrub < 0 {
		return 0, fmt.Errorf("%w: %v latent errors a disk and year, scrubbed every %v", ErrDurability, latentPerDiskYear, scrub)
	}
	if g.Parity == 0 {
		return atLeastOne(float64(g.Data) * latentPerDiskYear), nil
	}
	n := float64(g.Shards())
	years := float64(repair) / float64(year)
	rate := n * afr // of entering "m disks down", a year
	for i := 1; i < g.Parity; i++ {
		rate *= (n - float64(i)) * afr * years / float64(i)
	}
	interval := float64(scrub) / float64(year)
	met := atLeastOne(float64(g.Data) * latentPerDiskYear * interval / 2)
	return atLeastOne(rate * met), nil
}

func checkDurability(g Geometry, afr float64, repair time.Duration) error {
	if err := g.Validate(); err != nil {
		return err
	}
	if !(afr >= 0 && afr <= 1) { // not a NaN either
		return fmt.Errorf("%w: annual failure rate %v, not 0 to 1", ErrDurability, afr)
	}
	if repair <= 0 {
		return fmt.Errorf("%w: repair in %v", ErrDurability, repair)
	}
	return nil
}

// backblaze sums the binomial terms, all positive, of the windows with more than
// m failures and of the others. Neither sum comes from the other by subtraction,
// and the smaller one is compounded over the year: so no digits cancel, be a
// loss next to impossible or next to certain.
func backblaze(g Geometry, afr, years float64) float64 {
	n := g.Shards()
	windows := 1 / years
	p := atLeastOne(afr * years)
	q := math.Exp(-afr * years)
	var lost, kept float64
	choose := 1.0 // C(n, i)
	for i := 0; i <= n; i++ {
		term := choose * math.Pow(p, float64(i)) * math.Pow(q, float64(n-i))
		if i > g.Parity {
			lost += term
		} else {
			kept += term
		}
		choose *= float64(n-i) / float64(i+1)
	}
	if lost < kept {
		return -math.Expm1(windows * math.Log1p(-lost))
	}
	return -math.Expm1(windows * math.Log(kept))
}

// markov returns the annual loss at the chain's mean rate: one over the mean
// time from no disk failed to m+1 failed. repairs is the rate from i failed
// to i-1.
func markov(g Geometry, afr float64, repairs func(failed int) float64) float64 {
	n := g.Shards()
	// step is the mean time from i failed to i+1: either that happens first, or
	// a repair goes back to i-1 and all is to be done again.
	var mean, step float64
	for i := 0; i <= g.Parity; i++ {
		fail := float64(n-i) * afr
		if i == 0 {
			step = 1 / fail
		} else {
			step = (1 + repairs(i)*step) / fail
		}
		mean += step
	}
	return atLeastOne(1 / mean)
}

// atLeastOne returns the probability of at least one event where events are
// expected, exact also when they are few.
func atLeastOne(events float64) float64 { return -math.Expm1(-events) }
