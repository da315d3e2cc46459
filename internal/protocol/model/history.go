package model

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/internal/protocol"
)

// history is one random run of a pool, and what is true of it.
type history struct {
	pool
	Geometry
	rng    *rand.Rand
	broken Switch
	events Events
	trace  []string
	traced bool
	steps  int // of the trace, kept or not

	// What is true, whoever knows it.
	shown     []*group  // acknowledged or shown, in order
	attempts  []attempt // epochs begun, in order
	bad       []bool    // by slot: replaced or rotten at some time
	rotten    bool      // something is
	minParity int       // of all segments
	serials   int
	budget    int // groups left to append
	storm     int // how often a crash hits labels being written, of 1000
}

// attempt is an epoch that labels were written for.
type attempt struct {
	protocol.Epoch
	members []disk.ID
	beside  []protocol.View
	parent  protocol.Epoch
	opened  bool // an opening group became durable under it
}

// Failure is a history that broke a promise.
type Failure struct {
	Seed     uint64
	Geometry Geometry
	What     string
	Steps    int
}

// run is one open of the pool that writes, and what it does then.
type run struct {
	*history
	members *protocol.Membership
	live    []int // devices, in id order
	tail    int   // segment
	named   []protocol.Named
	last    uint64
	prev    int // serial of the last group
	counter uint64
}

// outcome says how a piece of work ended.
type outcome int

const (
	done    outcome = iota
	crashed         // the process is gone
	refused         // too few disks are left: read-only from here on
)

// Run runs the history of a seed and returns how it failed, nil if it did not.
func Run(seed uint64, g Geometry, broken Switch, events *Events) *Failure {
	return newHistory(seed, g, broken).play(seed, events)
}

// Explain runs the history of a seed again and returns it line by line.
func Explain(seed uint64, g Geometry, broken Switch) []string {
	h := newHistory(seed, g, broken)
	h.traced = true
	if f := h.play(seed, nil); f != nil {
		h.trace = append(h.trace, "FAILS: "+f.What)
	}
	return h.trace
}

func newHistory(seed uint64, g Geometry, broken Switch) *history {
	h := &history{Geometry: g, rng: rand.New(rand.NewPCG(seed, 0x6361697261)), broken: broken, budget: 4, minParity: g.Parity}
	h.storm = []int{60, 120, 450}[h.rng.IntN(3)]
	h.slots = make([]int, g.Disks)
	h.bad = make([]bool, g.Disks)
	ids := make([]disk.ID, g.Disks)
	for slot := range g.Disks {
		ids[slot] = h.add(slot).id
	}
	first := protocol.Epoch{Number: 1, Random: h.rng.Uint64()}
	for _, d := range h.devices {
		d.label = &protocol.Label{Disk: d.id, Epoch: first, Members: ids}
	}
	h.attempts = []attempt{{Epoch: first, members: ids, opened: true}}
	return h
}

func (h *history) play(seed uint64, events *Events) *Failure {
	opens := 2 + h.rng.IntN(4)
	var what string
	for i := 0; i < opens && what == ""; i++ {
		if i > 0 {
			h.misfortune()
		}
		what = h.open(i == opens-1)
	}
	if events != nil {
		events.add(&h.events)
	}
	if what == "" {
		return nil
	}
	return &Failure{Seed: seed, Geometry: h.Geometry, What: what, Steps: h.steps}
}

// chance is true p times of 1000.
func (h *history) chance(p int) bool { return h.rng.IntN(1000) < p }

func (h *history) note(format string, args ...any) {
	h.steps++
	if h.traced {
		h.trace = append(h.trace, fmt.Sprintf(format, args...))
	}
}

// misfortune is what happens to disks between two opens.
func (h *history) misfortune() {
	if h.chance(500) {
		return
	}
	if h.minParity == 0 {
		return // nothing is promised then but to notice
	}
	slot := h.rng.IntN(h.Disks)
	spare := h.minParity - count(h.bad)
	if !h.bad[slot] && spare <= 0 {
		return
	}
	d := h.devices[h.slots[slot]]
	switch h.rng.IntN(3) {
	case 0:
		h.bad[slot] = true
		h.events.Replaced++
		h.add(slot)
		h.note("disk %s is replaced by an empty disk %s", name(d.id), name(h.devices[h.slots[slot]].id))
	case 1:
		if d.label == nil {
			return
		}
		h.bad[slot], h.rotten, d.rotten = true, true, true
		h.events.Rotten++
		h.note("the label of disk %s rots", name(d.id))
	case 2:
		var where []string
		for i, s := range d.shards {
			if s == nil || h.chance(400) {
				continue
			}
			if h.chance(500) && s.opening.block {
				s.opening.header, s.opening.block = false, false
				where = append(where, fmt.Sprintf("opening of s%d", i))
			}
			for j := range s.groups {
				if h.chance(500) {
					s.groups[j].header, s.groups[j].block = s.groups[j].header && h.chance(500), false
					where = append(where, fmt.Sprintf("group %d of s%d", s.groups[j].group.serial, i))
				}
			}
		}
		if len(where) > 0 {
			h.bad[slot], h.rotten = true, true
			h.events.Rotten++
			h.note("disk %s rots: %v", name(d.id), where)
		}
	}
}

// away draws the slots that are absent at an open. Rot does not show as
// absence, so with it no more than the parity may be bad in all.
func (h *history) away() []bool {
	away := make([]bool, h.Disks)
	n := 0
	switch {
	case h.rotten:
		n = h.rng.IntN(max(0, h.minParity-count(h.bad)) + 1)
	case h.chance(300):
	case h.chance(600):
		n = h.rng.IntN(h.minParity + 1)
	default:
		n = h.rng.IntN(h.Disks)
	}
	for _, slot := range h.rng.Perm(h.Disks)[:n] {
		away[slot] = true
	}
	return away
}

// open is one open of the pool, to its end. It returns how it broke a promise.
func (h *history) open(final bool) string {
	away := h.away()
	present := make([]bool, len(h.devices))
	missing := 0
	for slot, d := range h.slots {
		present[d] = !away[slot] && !h.devices[d].rotten
		if away[slot] || h.bad[slot] {
			missing++
		}
	}
	from := 0
	if len(h.shown) > 0 && h.chance(300) {
		from = h.rng.IntN(len(h.shown) + 1)
	}
	h.note("open on %s, index at %d", h.list(present), from)
	h.events.Opens++

	reading := !final && h.chance(50) // a reader that writes nothing
	f := h.look(present, h.broken)
	if !reading && h.broken&Unsynced == 0 {
		f.settleLabels()
	}
	labels := f.labels()
	members, err := protocol.DecideMembership(labels, f.Openings()...)
	if !reading && err == nil && h.broken&Unsynced == 0 {
		f.settle()
	}
	expected := !reading && missing <= h.minParity && h.decided(present)
	if members == nil {
		h.note("  refused: %v", err)
		h.events.Refused++
		if expected {
			return "refused though the membership is decided: " + err.Error()
		}
		return h.lightsOut()
	}
	seq := uint64(0)
	if from > 0 {
		seq = h.shown[from-1].Last
	}
	plan, planErr := protocol.Decide(f, protocol.Facts{Labels: labels, From: seq})
	if err == nil {
		err = planErr
	}
	var log []*group
	var holes error
	if plan != nil {
		log, holes = f.read(plan, seq)
		if err == nil {
			err = holes
		}
	}
	log = slices.Concat(h.shown[:from], log)
	if reading || err != nil {
		if err != nil {
			h.note("  refused: %v", err)
			h.events.Refused++
		} else {
			h.events.ReadOnly++
		}
		if expected && err != nil {
			return "refused with few disks absent: " + err.Error()
		}
		if what := h.checkReader(plan, log); what != "" {
			return what
		}
		return h.lightsOut()
	}
	h.events.Decided++
	if what := h.checkWriter(plan, log); what != "" {
		return what
	}
	return h.write(f, members, plan, log)
}

// lightsOut is a power cut, or not, after an open that wrote nothing.
func (h *history) lightsOut() string {
	if h.chance(300) {
		h.cutPower()
	}
	return ""
}

func (h *history) cutPower() {
	h.note("  power cut")
	h.events.PowerCuts++
	h.powerCut(h.rng)
}

// end is how a process goes that was not closed.
func (h *history) end() string {
	if h.chance(500) {
		h.note("  killed")
		h.events.Kills++
		return ""
	}
	h.cutPower()
	return ""
}

// write carries a decision out: a new epoch, a new tail, and then groups.
func (h *history) write(f *facts, members *protocol.Membership, plan *protocol.Plan, log []*group) string {
	r := &run{history: h, members: members}
	o := opening{Parent: plan.End, acked: plan.Acked}
	for _, c := range plan.Relog {
		o.copies = append(o.copies, log[slices.IndexFunc(log, func(g *group) bool { return g.Span == c.Span })])
		if c.Opening {
			h.events.Takeovers++
		} else {
			h.events.Relogs++
		}
	}
	if newest := f.newest(); newest >= 0 && plan.End.Segment != h.segments[newest].id {
		h.events.TornOpenings++
		if h.broken&TornParent != 0 {
			o.Segment, o.copies = h.segments[newest].id, nil
		}
	}
	if h.broken&NoRelog != 0 {
		o.copies = nil
	}
	r.named = plan.Named
	r.last, r.prev = plan.End.Last, serialOf(plan.End.Hash)
	for i, here := range f.present {
		if here {
			r.live = append(r.live, i)
		}
	}
	if r.introduce() == crashed {
		return h.end()
	}
	var result outcome
	if h.broken&AppendToTail != 0 && o.Segment == plan.End.Segment && r.reuse(f, plan) {
		result = done
	} else {
		result = r.advance(o, true, (*protocol.Membership).OpensWith)
	}
	if result != done {
		h.note("  the open ends: %v", map[outcome]string{crashed: "crash", refused: "too few disks"}[result])
		return h.end()
	}
	// Only now is anything shown.
	h.shown = log
	h.note("  shown through %d", r.last)
	if h.work(r) == crashed {
		return h.end()
	}
	return r.close()
}

// introduce gives empty disks a label without an epoch, so that they keep their
// ids if the open ends before they are members.
func (r *run) introduce() outcome {
	for _, d := range r.live {
		if dev := r.devices[d]; dev.label == nil {
			if r.chance(50) {
				r.note("  crash before empty disk %s has a label", name(dev.id))
				return crashed
			}
			dev.write(&protocol.Label{Disk: dev.id}, true)
		}
	}
	return done
}

func count(set []bool) int {
	n := 0
	for _, in := range set {
		if in {
			n++
		}
	}
	return n
}

// name is a disk in a trace: A, B, ...
func name(id disk.ID) string { return string(rune('A' + deviceIndex(id))) }

func (h *history) list(devices []bool) string {
	if !h.traced {
		return ""
	}
	s := ""
	for i, in := range devices {
		if in {
			s += name(h.devices[i].id)
		}
	}
	return s
}
