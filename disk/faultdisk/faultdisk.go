// Package faultdisk disturbs and counts the calls to another disk.Disk.
//
// # Guarantees
//
// Without rules a Disk does what the disk inside does, and allocates nothing of
// its own for a read, a write or a sync. Rules are matched in the order in which
// they were added. Given one order of calls and one random source, the faults
// are the same.
//
// # Concurrency
//
// All methods may be called from many goroutines. A call that is delayed or
// blocked holds no lock.
//
// # Errors
//
// A rule's error comes wrapped in one that names the operation, the file and
// the disk. After [Disk.Lose] it is disk.ErrLost.
package faultdisk

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cairnstore/cairn/disk"
)

// Disk is a disk.Disk around another.
type Disk struct {
	inner    disk.Disk
	counters counters
	lost     atomic.Bool
	active   atomic.Int32 // number of rules: calls look no further at zero

	mu    sync.Mutex
	rand  *rand.Rand
	rules []*active
}

var _ disk.Disk = (*Disk)(nil)

// Option is a setting of Wrap.
type Option func(*Disk)

// WithRand has chances and flipped bits drawn from r, which the Disk then owns.
// Without it they come from a fixed seed.
func WithRand(r *rand.Rand) Option { return func(d *Disk) { d.rand = r } }

// WithRule adds a rule from the start.
func WithRule(r Rule) Option { return func(d *Disk) { d.Add(r) } }

// Wrap returns a Disk around inner, which it owns: Close closes it.
func Wrap(inner disk.Disk, opts ...Option) *Disk {
	d := &Disk{inner: inner, rand: rand.New(rand.NewPCG(1, 2))}
	for _, o := range opts {
		o(d)
	}
	return d
}

// Unwrap returns the disk inside.
func (d *Disk) Unwrap() disk.Disk { return d.inner }

// Add puts a rule in force, after those that are there, until remove is called
// (which may be done twice).
func (d *Disk) Add(r Rule) (remove func()) {
	a := &active{Rule: r}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rules = append(d.rules, a)
	d.active.Store(int32(len(d.rules)))
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.rules = slices.DeleteFunc(d.rules, func(o *active) bool { return o == a })
		d.active.Store(int32(len(d.rules)))
	}
}

// Lose has every call fail with disk.ErrLost from now on, those on open files
// too. Only Close still works.
func (d *Disk) Lose() { d.lost.Store(true) }

// Return ends Lose. Files opened before work again.
func (d *Disk) Return() { d.lost.Store(false) }

// begin counts the call, waits as the rules say and returns the one that
// decides its outcome, or nil.
func (d *Disk) begin(c Call) (*Rule, error) {
	d.counters.count(c.Op)
	var decider *Rule
	if d.active.Load() > 0 {
		decider = d.disturb(c)
	}
	// Looked at last: a call that was held up meets what happened meanwhile.
	if d.lost.Load() && c.Op != OpClose {
		return nil, d.fail(c, disk.ErrLost)
	}
	return decider, nil
}

func (d *Disk) disturb(c Call) (decider *Rule) {
	var fired []*Rule
	d.mu.Lock()
	for _, a := range d.rules {
		if a.fires(c, d.rand.Float64) {
			fired = append(fired, &a.Rule)
		}
	}
	d.mu.Unlock()
	for _, r := range fired {
		if r.Hook != nil {
			r.Hook(c)
		}
		if r.Delay > 0 {
			time.Sleep(r.Delay)
		}
		if r.Block != nil {
			<-r.Block
		}
		if decider == nil && r.decides(c.Op) {
			decider = r
		}
	}
	return decider
}

// call runs an operation that a rule can only fail, before or after it.
func (d *Disk) call(c Call, run func() error) error {
	r, err := d.begin(c)
	switch {
	case err != nil:
		return err
	case r == nil:
		return run()
	case r.After:
		if err := run(); err != nil {
			return err
		}
	}
	return d.fail(c, r.err())
}

func (d *Disk) fail(c Call, err error) error {
	if c.Name == "" {
		return fmt.Errorf("faultdisk: %s %s: %w", c.Op, d.inner, err)
	}
	return fmt.Errorf("faultdisk: %s %s on %s: %w", c.Op, c.Name, d.inner, err)
}

// String returns the name of the disk inside.
func (d *Disk) String() string { return d.inner.String() }

// Level returns the level of the disk inside.
func (d *Disk) Level() disk.Level { return d.inner.Level() }

// Create implements disk.Disk. If a rule fails it after the file was made, the
// file stays, closed.
func (d *Disk) Create(name string, size int64) (f disk.File, err error) {
	err = d.call(Call{Op: OpCreate, Name: name, Size: size}, func() error {
		f, err = d.inner.Create(name, size)
		return err
	})
	return d.wrap(name, f, err)
}

// Open implements disk.Disk.
func (d *Disk) Open(name string) (f disk.File, err error) {
	err = d.call(Call{Op: OpOpen, Name: name}, func() error {
		f, err = d.inner.Open(name)
		return err
	})
	return d.wrap(name, f, err)
}

func (d *Disk) wrap(name string, f disk.File, err error) (disk.File, error) {
	if err != nil {
		if f != nil {
			_ = f.Close()
		}
		return nil, err
	}
	return &file{d: d, name: name, inner: f}, nil
}

// Remove implements disk.Disk.
func (d *Disk) Remove(name string) error {
	return d.call(Call{Op: OpRemove, Name: name}, func() error { return d.inner.Remove(name) })
}

// List implements disk.Disk.
func (d *Disk) List() (entries []disk.Entry, err error) {
	err = d.call(Call{Op: OpList}, func() error {
		entries, err = d.inner.List()
		return err
	})
	if err != nil {
		return nil, err
	}
	return entries, nil
}

// Check implements disk.Disk.
func (d *Disk) Check() error {
	return d.call(Call{Op: OpCheck}, d.inner.Check)
}

// Usage implements disk.Disk.
func (d *Disk) Usage() (u disk.Usage, err error) {
	err = d.call(Call{Op: OpUsage}, func() error {
		u, err = d.inner.Usage()
		return err
	})
	return u, err
}

// Close closes the disk inside, also when a rule has it return an error.
func (d *Disk) Close() error {
	return d.close(Call{Op: OpClose}, d.inner.Close)
}

func (d *Disk) close(c Call, run func() error) error {
	r, _ := d.begin(c)
	err := run()
	if err == nil && r != nil {
		err = d.fail(c, r.err())
	}
	return err
}
