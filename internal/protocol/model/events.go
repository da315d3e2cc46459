package model

import "fmt"

// Events counts what histories did, so that a run can show that it covered what
// it claims to.
type Events struct {
	Histories, Opens, Decided, Refused, ReadOnly      int
	LabelCrashes, OpeningCrashes, GroupCrashes        int
	Kills, PowerCuts, Closes                          int
	Acked, Rolls, Drops, Rewrites, Stops              int
	Relogs, Takeovers, TornOpenings, Replaced, Rotten int
}

func (e *Events) fields() []*int {
	return []*int{
		&e.Histories, &e.Opens, &e.Decided, &e.Refused, &e.ReadOnly, &e.LabelCrashes, &e.OpeningCrashes, &e.GroupCrashes,
		&e.Kills, &e.PowerCuts, &e.Closes, &e.Acked, &e.Rolls, &e.Drops, &e.Rewrites, &e.Stops,
		&e.Relogs, &e.Takeovers, &e.TornOpenings, &e.Replaced, &e.Rotten,
	}
}

// add adds the events of one more history.
func (e *Events) add(o *Events) {
	to := e.fields()
	for i, n := range o.fields() {
		*to[i] += *n
	}
	e.Histories++
}

// Merge adds the events of other histories.
func (e *Events) Merge(o *Events) {
	to := e.fields()
	for i, n := range o.fields() {
		*to[i] += *n
	}
}

// Complete reports whether everything that is counted happened.
func (e *Events) Complete() bool {
	for _, n := range e.fields() {
		if *n == 0 {
			return false
		}
	}
	return true
}

func (e *Events) String() string { return fmt.Sprintf("%+v", *e) }
