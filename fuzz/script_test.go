package fuzz

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/cairnstore/cairn/engine"
	"github.com/cairnstore/cairn/erasure"
)

var geometries = []erasure.Geometry{
	{Data: 4, Parity: 2}, {Data: 2, Parity: 1}, {Data: 1, Parity: 0}, {Data: 2, Parity: 2}, {Data: 1, Parity: 1}, {Data: 3, Parity: 3},
}

var (
	bucketNames = []string{"alpha", "beta.gamma", "delta"}
	keyNames    = []string{
		"a", "a/", "a/b", "a/b/c", "a/b0", "a//", "a/\x00", "a\x00", "b", "é", "\U0010ffff", " ", "..", "/",
		"long/" + strings.Repeat("k", 1019), "z",
	}
	prefixNames    = []string{"", "a", "a/", "a/b", "/", "long/", "nothing", "\U0010ffff", keyNames[14]}
	delimiterNames = []string{"", "/", "b", "\x00", "//"}
)

// script runs what a tape says on a store and on its twin.
type script struct {
	*rig
	tape   *tape
	e      *engine.Engine
	twin   twin
	doubts []mutation // of which nobody knows whether they happened
	log    []string   // what was done, for a reader
	seed   uint64     // of the next content
	// Versions that are being read, and objects that are being written, while
	// other things happen.
	reading []reading
	writing []writing
	happen  func(what string)

	// Disks that may not be counted on: absent and lost ones until the next
	// open, rotten ones for good. Together never more than m.
	absent, lost, rotten []int
	returned             []int // lost, and there again
	cutAt                int64 // operation at which the power goes; 0: it does not
}

// runScript runs one script to its end. The error tells all that was done.
func runScript(b []byte, indexDir func() string, happen func(string)) error {
	t := &tape{b: b}
	s := &script{tape: t, twin: twin{}, happen: happen}
	s.rig = newRig(geometries[t.n(len(geometries))], t.byte())
	if t.one(6) {
		s.opts.IndexDir = indexDir()
	}
	s.say("%v, index in %q", s.geometry, s.opts.IndexDir)
	err := s.run()
	if s.e != nil {
		_ = s.e.Close()
	}
	if err != nil {
		return fmt.Errorf("%w\nscript:\n  %s", err, strings.Join(s.log, "\n  "))
	}
	return nil
}

func (s *script) say(format string, args ...any) { s.log = append(s.log, fmt.Sprintf(format, args...)) }

func (s *script) run() error {
	if err := s.enter(nil); err != nil {
		return err
	}
	for _, name := range bucketNames[:2] {
		if err := s.createBucket(name); err != nil {
			return err
		}
	}
	for s.tape.more() {
		if err := s.once(); err != nil {
			return err
		}
		s.follow()
		if s.dead() {
			if err := s.reenter(); err != nil {
				return err
			}
		}
	}
	if err := s.checkAll(); err != nil {
		return err
	}
	if err := s.leave("close"); err != nil {
		return err
	}
	return s.enter(nil)
}

// dark reports whether the power is off.
func (s *script) dark() bool { return s.cutAt > 0 && s.machine.Ops() >= s.cutAt }

// dead reports whether this open can go no further.
func (s *script) dead() bool { return s.dark() || len(s.doubts) > 0 || s.e.Status().ReadOnly }

// disturbed returns the disks that may not be counted on.
func (s *script) disturbed() []int {
	all := slices.Concat(s.absent, s.lost, s.returned, s.rotten)
	slices.Sort(all)
	return slices.Compact(all)
}

// enter opens the store without some disks and checks what it shows. If it may
// only be read without them, it is opened again with them.
func (s *script) enter(absent []int) error {
	s.absent, s.lost, s.returned, s.cutAt = absent, nil, nil, 0
	if len(absent) > 0 {
		s.say("open without %v", absent)
	} else {
		s.say("open")
	}
	var err error
	if s.e, err = s.open(absent); err != nil {
		return fmt.Errorf("open: %w", err)
	}
	if s.e.Status().ReadOnly {
		s.happen("read-only")
		s.say("it is read-only: %v", s.e.Status().Reason)
		// What is in doubt may still go either way.
		if _, err := s.settled(); err != nil {
			return fmt.Errorf("read-only: %w", err)
		}
		if len(absent) == 0 {
			return fmt.Errorf("read-only with all disks: %w", s.e.Status().Reason)
		}
		if err := s.leave("close"); err != nil {
			return err
		}
		return s.enter(nil)
	}
	if len(s.doubts) > 0 {
		s.happen("doubt")
	}
	if s.twin, err = s.settled(); err != nil {
		return err
	}
	s.doubts = nil
	return nil
}

// settled returns the one of the possible twins that the store is like.
func (s *script) settled() (twin, error) {
	var first error
	for _, w := range s.twin.possible(s.doubts) {
		err := compare(s.e, w)
		if err == nil {
			return w, nil
		}
		if first == nil {
			first = err
		}
	}
	if len(s.doubts) > 0 {
		var texts []string
		for _, m := range s.doubts {
			texts = append(texts, m.text)
		}
		return nil, fmt.Errorf("whichever of %q happened: %w", texts, first)
	}
	return nil, first
}

// checkAll compares store and twin.
func (s *script) checkAll() error {
	if len(s.doubts) > 0 {
		return nil // at the next open
	}
	if err := compare(s.e, s.twin); err != nil && !s.dark() {
		return err
	}
	return nil
}

// leave ends this open: close, kill or power cut.
func (s *script) leave(how string) error {
	s.say("%s", how)
	s.happen(how)
	s.doubtViews(slices.Concat(s.lost, s.returned))
	switch how {
	case "close":
		err := s.e.Close()
		if err != nil && len(s.disturbed()) == 0 && !s.dark() && len(s.doubts) == 0 {
			return fmt.Errorf("close: %w", err)
		}
		if s.dark() {
			s.cut(s.tape.rand())
		} else {
			s.machine.CutAt(0)
		}
	case "kill":
		s.kill()
		_ = s.e.Close()
	default:
		s.machine.Cut()
		_ = s.e.Close()
		s.cut(s.tape.rand())
	}
	s.e = nil
	for _, r := range s.reading {
		_ = r.object.Close()
	}
	for _, w := range s.writing {
		w.w.Abort()
	}
	s.reading, s.writing = nil, nil
	return nil
}

// reenter ends this open in some way and begins the next, perhaps without some
// disks, perhaps without its index.
func (s *script) reenter() error {
	how := []string{"close", "kill", "power cut"}[s.tape.n(3)]
	if s.dark() {
		how = "power cut"
	}
	if err := s.leave(how); err != nil {
		return err
	}
	if s.tape.one(3) && s.opts.IndexDir != "" {
		s.say("remove the index")
		s.happen("index removed")
		if err := s.dropIndex(); err != nil {
			return err
		}
	}
	var absent []int
	for range s.tape.n(s.geometry.Parity + 1) {
		i := s.tape.n(len(s.mems))
		all := append(slices.Concat(absent, s.rotten), i)
		slices.Sort(all)
		if !slices.Contains(absent, i) && len(slices.Compact(all)) <= s.geometry.Parity {
			absent = append(absent, i)
		}
	}
	return s.enter(absent)
}

// did judges the error of one mutation and reports that it happened for certain.
func (s *script) did(m mutation, err error) (bool, error) {
	all, fault := s.didAll([]mutation{m}, []error{err})
	return fault == nil && all[0], fault
}

// didAll judges the errors of mutations that were under way together and take
// effect in their order. What happened for certain changes the twin; if any is
// in doubt, all that are not refused wait for the next open.
func (s *script) didAll(ms []mutation, errs []error) ([]bool, error) {
	w := s.twin.clone()
	happened := make([]bool, len(ms))
	var doubts []mutation
	doubt := false
	for i, m := range ms {
		err, want := errs[i], m.want(w)
		switch {
		case err == nil && (want == nil || doubt):
			m.do(w)
			m.certain, happened[i] = true, true
			doubts = append(doubts, m)
		case err == nil:
			return nil, fmt.Errorf("%s: succeeded instead of %q", m.text, want)
		case want != nil && errors.Is(err, want), doubt && errors.Is(err, engine.ErrPrecondition):
		case s.dark() || errors.Is(err, engine.ErrNoQuorum) && s.excused():
			// Whatever the error, the next open shows what came of it.
			s.say("  (%s: %v)", m.text, err)
			if !s.dark() {
				s.happen("no quorum")
			}
			doubts, doubt = append(doubts, m), true
			m.do(w)
		default:
			return nil, fmt.Errorf("%s: %w", m.text, err)
		}
	}
	if doubt {
		s.doubts = append(s.doubts, doubts...)
		clear(happened) // the twin does not have them yet
		return happened, nil
	}
	s.twin = w
	return happened, nil
}

// excused reports whether too few disks are left to write.
func (s *script) excused() bool {
	here := len(s.mems) - len(s.absent)
	left := here - len(s.lost) - len(s.returned)
	return 2*left < here || left < s.geometry.Parity+1
}

// read reports whether an error of a read is one: with the power off, none is.
func (s *script) read(err error) error {
	if err == nil || s.dark() {
		return nil
	}
	return err
}

func readAll(o *engine.Object) ([]byte, error) {
	p, err := io.ReadAll(o)
	return p, errors.Join(err, o.Close())
}
