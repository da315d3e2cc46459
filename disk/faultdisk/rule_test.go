package faultdisk_test

import (
	"errors"
	"math/bits"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/disk/faultdisk"
	"github.com/cairnstore/cairn/disk/memdisk"
)

var errBoom = errors.New("boom")

// wrapped returns a disk with the open file "file" of 100 bytes 'o'.
func wrapped(t testing.TB, opts ...faultdisk.Option) (*faultdisk.Disk, disk.File) {
	t.Helper()
	d := faultdisk.Wrap(memdisk.New("mem"), opts...)
	f, err := d.Create("file", 100)
	require.NoError(t, err)
	p := make([]byte, 100)
	for i := range p {
		p[i] = 'o'
	}
	_, err = f.WriteAt(p, 0)
	require.NoError(t, err)
	require.NoError(t, f.Sync())
	d.Reset()
	return d, f
}

// calls has one call of each operation.
func calls(d *faultdisk.Disk, f disk.File) map[faultdisk.Op]func() error {
	return map[faultdisk.Op]func() error{
		faultdisk.OpCreate: func() error { _, err := d.Create("new", 1); return err },
		faultdisk.OpOpen:   func() error { _, err := d.Open("file"); return err },
		faultdisk.OpRead:   func() error { _, err := f.ReadAt(make([]byte, 10), 0); return err },
		faultdisk.OpWrite:  func() error { _, err := f.WriteAt([]byte("new"), 0); return err },
		faultdisk.OpSync:   func() error { return f.Sync() },
		faultdisk.OpExtend: func() error { return f.Extend(200) },
		faultdisk.OpRemove: func() error { return d.Remove("file") },
		faultdisk.OpList:   func() error { _, err := d.List(); return err },
		faultdisk.OpCheck:  d.Check,
		faultdisk.OpUsage:  func() error { _, err := d.Usage(); return err },
		faultdisk.OpClose:  d.Close,
	}
}

// state tells whether a call that changes something took place.
func state(t *testing.T, d *faultdisk.Disk) string {
	m := d.Unwrap().(*memdisk.Disk).Reopen()
	entries, err := m.List()
	require.NoError(t, err)
	s := ""
	for _, e := range entries {
		p := make([]byte, e.Size)
		f, err := m.Open(e.Name)
		require.NoError(t, err)
		_, err = f.ReadAt(p, 0)
		require.NoError(t, err)
		s += e.Name + "=" + string(p) + " "
	}
	return s
}

func TestErr(t *testing.T) {
	changes := faultdisk.OpCreate | faultdisk.OpWrite | faultdisk.OpExtend | faultdisk.OpRemove
	for bit := faultdisk.Op(1); bit < faultdisk.OpAll; bit <<= 1 {
		for _, after := range []bool{false, true} {
			t.Run(bit.String(), func(t *testing.T) {
				d, f := wrapped(t)
				before := state(t, d)
				d.Add(faultdisk.Rule{Ops: bit, Err: errBoom, After: after})
				for op, call := range calls(d, f) {
					if op == bit {
						err := call()
						require.ErrorIs(t, err, errBoom)
						require.ErrorContains(t, err, bit.String())
						require.ErrorContains(t, err, "mem")
					}
				}
				require.Equal(t, after && changes&bit != 0, before != state(t, d))
			})
		}
	}
}

func TestOtherOpsPass(t *testing.T) {
	for bit := faultdisk.Op(1); bit < faultdisk.OpAll; bit <<= 1 {
		d, f := wrapped(t)
		d.Add(faultdisk.Rule{Ops: faultdisk.OpAll &^ bit, Err: errBoom})
		require.NoError(t, calls(d, f)[bit](), bit.String())
	}
}

// TestWhich: which calls of ten fail.
func TestWhich(t *testing.T) {
	for _, c := range []struct {
		rule faultdisk.Rule
		want string
	}{
		{faultdisk.Rule{}, "xxxxxxxxxx"},
		{faultdisk.Rule{Nth: 1}, "x........."},
		{faultdisk.Rule{Nth: 4}, "...x......"},
		{faultdisk.Rule{Nth: 4, Sticky: true}, "...xxxxxxx"},
		{faultdisk.Rule{Nth: 11}, ".........."},
		{faultdisk.Rule{Name: "fi*"}, "xxxxxxxxxx"},
		{faultdisk.Rule{Name: "[a-e]*"}, ".........."},
		{faultdisk.Rule{Name: "["}, ".........."},
	} {
		d, f := wrapped(t)
		c.rule.Ops, c.rule.Err = faultdisk.OpRead, errBoom
		d.Add(c.rule)
		got := ""
		for range 10 {
			require.NoError(t, f.Sync(), "not a call that matches")
			if _, err := f.ReadAt(make([]byte, 1), 0); err != nil {
				got += "x"
			} else {
				got += "."
			}
		}
		require.Equal(t, c.want, got, "%+v", c.rule)
	}
}

func TestProb(t *testing.T) {
	run := func(seed uint64) (failed []int) {
		d, f := wrapped(t, faultdisk.WithRand(rand.New(rand.NewPCG(seed, 0))),
			faultdisk.WithRule(faultdisk.Rule{Ops: faultdisk.OpRead, Prob: 0.25, Err: errBoom}))
		for i := range 1000 {
			if _, err := f.ReadAt(make([]byte, 1), 0); err != nil {
				failed = append(failed, i)
			}
		}
		require.Equal(t, int64(1000), d.Counts().Reads)
		return failed
	}
	require.InDelta(t, 250, len(run(1)), 60)
	require.Equal(t, run(1), run(1))
	require.NotEqual(t, run(1), run(2))
}

func TestRemoveRule(t *testing.T) {
	d, _ := wrapped(t)
	removeA := d.Add(faultdisk.Rule{Ops: faultdisk.OpCheck, Err: errBoom})
	removeB := d.Add(faultdisk.Rule{Ops: faultdisk.OpList, Err: errBoom})
	removeA()
	removeA()
	require.NoError(t, d.Check())
	_, err := d.List()
	require.ErrorIs(t, err, errBoom)
	removeB()
	_, err = d.List()
	require.NoError(t, err)
}

func TestFirstRuleDecides(t *testing.T) {
	d, _ := wrapped(t)
	hooked := 0
	d.Add(faultdisk.Rule{Ops: faultdisk.OpCheck, Hook: func(faultdisk.Call) { hooked++ }})
	d.Add(faultdisk.Rule{Ops: faultdisk.OpCheck, Err: errBoom})
	d.Add(faultdisk.Rule{Ops: faultdisk.OpCheck, Err: disk.ErrBusy, Hook: func(faultdisk.Call) { hooked++ }})
	err := d.Check()
	require.ErrorIs(t, err, errBoom)
	require.NotErrorIs(t, err, disk.ErrBusy)
	require.Equal(t, 2, hooked, "all that fire are called")
}

func TestHook(t *testing.T) {
	d, f := wrapped(t)
	var got []faultdisk.Call
	d.Add(faultdisk.Rule{Ops: faultdisk.OpAll, Hook: func(c faultdisk.Call) {
		got = append(got, c)
		d.Add(faultdisk.Rule{}) // no lock is held
	}})
	_, err := f.WriteAt([]byte("abc"), 7)
	require.NoError(t, err)
	require.NoError(t, f.Extend(150))
	require.NoError(t, d.Check())
	require.Equal(t, []faultdisk.Call{
		{Op: faultdisk.OpWrite, Name: "file", Off: 7, Size: 3},
		{Op: faultdisk.OpExtend, Name: "file", Size: 150},
		{Op: faultdisk.OpCheck},
	}, got)
}

func TestTorn(t *testing.T) {
	d, f := wrapped(t)
	d.Add(faultdisk.Rule{Ops: faultdisk.OpWrite, Torn: 2, Nth: 1})
	n, err := f.WriteAt([]byte("abcd"), 10)
	require.ErrorIs(t, err, faultdisk.ErrInjected)
	require.Equal(t, 2, n)
	p := make([]byte, 4)
	_, err = f.ReadAt(p, 10)
	require.NoError(t, err)
	require.Equal(t, "aboo", string(p))
	require.Equal(t, int64(2), d.Counts().WriteBytes)
}

func TestLie(t *testing.T) {
	d, f := wrapped(t)
	remove := d.Add(faultdisk.Rule{Ops: faultdisk.OpWrite | faultdisk.OpSync, Lie: true})
	n, err := f.WriteAt([]byte("abcd"), 10)
	require.NoError(t, err)
	require.Equal(t, 4, n)
	require.NotContains(t, state(t, d), "abcd")
	remove()
	_, err = f.WriteAt([]byte("abcd"), 10)
	require.NoError(t, err)
	d.Add(faultdisk.Rule{Ops: faultdisk.OpSync, Lie: true})
	require.NoError(t, f.Sync())
	m := d.Unwrap().(*memdisk.Disk).Machine()
	m = m.RestartWith(func(*memdisk.Disk, string, int64) bool { return false })
	require.NotContains(t, state(t, faultdisk.Wrap(m.Disks()[0])), "abcd", "the sync was a lie")
}

func TestMisdirect(t *testing.T) {
	d, f := wrapped(t)
	d.Add(faultdisk.Rule{Ops: faultdisk.OpWrite, Misdirect: 20})
	n, err := f.WriteAt([]byte("abcd"), 10)
	require.NoError(t, err)
	require.Equal(t, 4, n)
	p := make([]byte, 100)
	_, err = f.ReadAt(p, 0)
	require.NoError(t, err)
	require.Equal(t, "oooo", string(p[10:14]))
	require.Equal(t, "abcd", string(p[30:34]))
	d.Add(faultdisk.Rule{Ops: faultdisk.OpRead, Misdirect: -1000})
	_, err = f.ReadAt(p[:4], 30)
	require.NoError(t, err)
	require.Equal(t, "oooo", string(p[:4]))
}

func TestFlip(t *testing.T) {
	d, f := wrapped(t)
	d.Add(faultdisk.Rule{Ops: faultdisk.OpRead, Flip: true, Nth: 2, Sticky: true})
	flips := func() (n int) {
		p := make([]byte, 100)
		_, err := f.ReadAt(p, 0)
		require.NoError(t, err)
		for _, c := range p {
			n += bits.OnesCount8(c ^ 'o')
		}
		return n
	}
	require.Equal(t, 0, flips())
	require.Equal(t, 1, flips())
	require.Equal(t, 1, flips())
}

func TestDelayAndBlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, f := wrapped(t)
		d.Add(faultdisk.Rule{Ops: faultdisk.OpRead, Delay: 3 * time.Second})
		start := time.Now()
		_, err := f.ReadAt(make([]byte, 1), 0)
		require.NoError(t, err)
		require.Equal(t, 3*time.Second, time.Since(start))

		gate := make(chan struct{})
		d.Add(faultdisk.Rule{Ops: faultdisk.OpSync, Block: gate})
		done := make(chan error, 1)
		go func() { done <- f.Sync() }()
		synctest.Wait()
		require.Empty(t, done)
		require.NoError(t, d.Check(), "only the call is held up")
		d.Lose()
		close(gate)
		require.ErrorIs(t, <-done, disk.ErrLost, "what happened meanwhile counts")
	})
}

func TestLose(t *testing.T) {
	d, f := wrapped(t)
	before := state(t, d)
	d.Lose()
	for op, call := range calls(d, f) {
		if op != faultdisk.OpClose {
			require.ErrorIs(t, call(), disk.ErrLost, op.String())
		}
	}
	_, err := f.Size()
	require.ErrorIs(t, err, disk.ErrLost)
	require.Equal(t, before, state(t, d))
	d.Return()
	require.NoError(t, d.Check())
	_, err = f.ReadAt(make([]byte, 1), 0)
	require.NoError(t, err)
	d.Lose()
	require.NoError(t, f.Close())
	require.NoError(t, d.Close())
}

func TestCounts(t *testing.T) {
	d, f := wrapped(t)
	require.Zero(t, d.Counts())
	g, err := d.Create("g", 5000)
	require.NoError(t, err)
	_, err = d.Open("missing")
	require.Error(t, err)
	_, err = f.WriteAt(make([]byte, 30), 0)
	require.NoError(t, err)
	_, err = f.ReadAt(make([]byte, 30), 90)
	require.Error(t, err)
	require.NoError(t, g.Extend(100_000))
	require.NoError(t, g.Sync())
	require.NoError(t, g.Sync())
	require.NoError(t, d.Check())
	_, err = d.List()
	require.NoError(t, err)
	require.NoError(t, d.Remove("g"))
	one := faultdisk.Counts{Creates: 1, Opens: 1, Reads: 1, Writes: 1, Syncs: 2, Extends: 1, Removes: 1, Lists: 1, Checks: 1, ReadBytes: 10, WriteBytes: 30}
	require.Equal(t, one, d.Counts())
	two := one.Add(one)
	require.Equal(t, int64(4), two.Syncs)
	require.Equal(t, int64(60), two.WriteBytes)
	require.Equal(t, one, two.Sub(one))
	require.Equal(t, int64(1), one.Creates, "the operands stay")
	d.Reset()
	require.Zero(t, d.Counts())
}

func TestAllocations(t *testing.T) {
	_, f := wrapped(t)
	p := make([]byte, 16)
	require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = f.ReadAt(p, 0) }))
	require.Zero(t, testing.AllocsPerRun(100, func() { _ = f.Sync() }))
}
