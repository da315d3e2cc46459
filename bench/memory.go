package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/cairnstore/cairn/engine"
)

// preset is one of the engine's sets of options.
type preset struct {
	name    string
	disks   int
	options func() engine.Options
}

var presets = []preset{
	{"default", shards, func() engine.Options { return engine.Options{} }},
	{"edge", 4, engine.EdgeOptions},
	{"appliance", 12, engine.ApplianceOptions},
}

func presetOf(name string) (*preset, error) {
	for i := range presets {
		if presets[i].name == name {
			return &presets[i], nil
		}
	}
	return nil, fmt.Errorf("no preset %q", name)
}

// memoryRow is the memory of a process that has a store open and does little
// else.
type memoryRow struct {
	Preset  string
	Disks   int
	Objects int
	Rounds  []footprint
}

func (s *suite) memories() error {
	for _, p := range presets {
		if err := s.memoryRow(&p); err != nil {
			return err
		}
	}
	return nil
}

func (s *suite) memoryRow(p *preset) (err error) {
	st, err := newStore(s.ctx, s.Places, p.disks, p.options())
	if err != nil {
		return err
	}
	defer func() { err = firstOf(err, st.destroy()) }()
	if _, err := s.fill(st, keys("memory", s.memory)); err != nil {
		return err
	}
	if err := st.close(); err != nil {
		return err
	}
	row := memoryRow{Preset: p.name, Disks: p.disks, Objects: s.memory}
	for n := range s.Rounds {
		if err := s.round("memory/"+p.name, n); err != nil {
			return err
		}
		args := []string{"memory", p.name, milliseconds(s.fair), milliseconds(s.idle)}
		cmd, in, out, err := s.child(append(args, st.roots...)...)
		if err != nil {
			return err
		}
		var f footprint
		err = json.NewDecoder(out).Decode(&f)
		_ = in.Close()
		if err := errors.Join(err, cmd.Wait()); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		row.Rounds = append(row.Rounds, f)
	}
	s.report.Memory = append(s.report.Memory, row)
	return nil
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
