package memdisk_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/disk/memdisk"
)

const sector = memdisk.SectorSize

func mustCreate(t testing.TB, d *memdisk.Disk, name string, size int64) disk.File {
	t.Helper()
	f, err := d.Create(name, size)
	require.NoError(t, err)
	return f
}

func mustWrite(t testing.TB, f disk.File, p []byte, off int64) {
	t.Helper()
	_, err := f.WriteAt(p, off)
	require.NoError(t, err)
}

// content returns a file's bytes, or nil if there is no such file.
func content(t testing.TB, d *memdisk.Disk, name string) []byte {
	t.Helper()
	f, err := d.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	require.NoError(t, err)
	n, err := f.Size()
	require.NoError(t, err)
	p := make([]byte, n)
	if n > 0 {
		_, err = f.ReadAt(p, 0)
		require.NoError(t, err)
	}
	return p
}

func fill(c byte, n int) []byte { return bytes.Repeat([]byte{c}, n) }

// TestCutAt cuts a history at each operation. What was synced before is there;
// what is after never happened; the one in between may have.
func TestCutAt(t *testing.T) {
	history := func(m *memdisk.Machine) (done int) {
		a, b := m.Disks()[0], m.Disks()[1]
		var f disk.File
		for i, op := range []func() error{
			func() (err error) { f, err = a.Create("file", 4*sector); return },
			func() (err error) { _, err = f.WriteAt(fill('1', 2*sector), sector); return },
			func() error { return f.Sync() },
			func() (err error) { _, err = b.Create("second", 1); return },
			func() error { return f.Extend(6 * sector) },
			func() (err error) { _, err = f.WriteAt(fill('2', sector), 0); return },
			func() error { return b.Remove("second") },
		} {
			if err := op(); err != nil {
				require.ErrorIs(t, err, memdisk.ErrPower)
				return i
			}
		}
		return 7
	}
	const ops = 7
	for cut := int64(1); cut <= ops+1; cut++ {
		for _, keep := range []bool{false, true} {
			m := memdisk.NewMachine()
			a, b := m.NewDisk("a"), m.NewDisk("b")
			m.CutAt(cut)
			require.Equal(t, int(cut)-1, history(m))
			require.Equal(t, min(cut, ops), m.Ops())
			if cut <= ops {
				_, err := b.List()
				require.ErrorIs(t, err, memdisk.ErrPower, "all disks are dead")
				require.ErrorIs(t, a.Check(), memdisk.ErrPower)
			}
			n := m.RestartWith(func(*memdisk.Disk, string, int64) bool { return keep })
			require.Zero(t, n.Ops())
			a, b = n.Disks()[0], n.Disks()[1]
			_, err := m.Disks()[0].Open("file")
			require.ErrorIs(t, err, memdisk.ErrPower, "the old machine stays dead")

			happened := func(op int64) bool { return cut > op || keep && cut == op }
			var want []byte
			if happened(1) {
				want = make([]byte, 4*sector)
			}
			if cut > 3 || happened(2) && keep {
				copy(want[sector:], fill('1', 2*sector))
			}
			if happened(5) {
				want = append(want, make([]byte, 2*sector)...)
			}
			if happened(6) && keep {
				copy(want, fill('2', sector))
			}
			require.Equal(t, want, content(t, a, "file"), "cut %d keep %v", cut, keep)
			second := content(t, b, "second")
			require.Equal(t, happened(4) && !happened(7), second != nil, "cut %d keep %v", cut, keep)
		}
	}
}

// TestRestartMixes: over many restarts each of the outcomes that the
// documentation names is seen, and none that it does not.
func TestRestartMixes(t *testing.T) {
	const sectors = 8
	seen := map[string]int{}
	for seed := range uint64(400) {
		m := memdisk.NewMachine()
		d := m.NewDisk("d")
		f := mustCreate(t, d, "file", sectors*sector)
		mustWrite(t, f, fill('o', sectors*sector), 0)
		require.NoError(t, f.Sync())
		mustWrite(t, f, fill('m', sectors*sector), 0)
		mustWrite(t, f, fill('n', sectors*sector), 0)
		mustWrite(t, f, fill('g', 10*sector), sectors*sector)
		m.CutAt(m.Ops() + 1)
		_, err := d.Create("new", 10_000)
		require.ErrorIs(t, err, memdisk.ErrPower)

		d = m.Restart(rand.New(rand.NewPCG(seed, 0))).Disks()[0]
		got := content(t, d, "file")
		require.GreaterOrEqual(t, len(got), sectors*sector)
		require.LessOrEqual(t, len(got), (sectors+10)*sector)
		kinds := map[string]bool{}
		for i := range sectors {
			s := got[i*sector : (i+1)*sector]
			switch kind := string(s[:1]) + string(s[sector-1:]); {
			case bytes.Equal(s, fill(s[0], sector)) && bytes.Contains([]byte("omn"), s[:1]):
				kinds[kind] = true
			case kind == "no" && bytes.Equal(bytes.TrimLeft(s, "n"), fill('o', len(bytes.TrimLeft(s, "n")))):
				kinds["torn"] = true
			default:
				require.Failf(t, "sector holds what was never written", "%q", s)
			}
		}
		for kind := range kinds {
			seen[kind]++
		}
		if len(kinds) == 1 && !kinds["torn"] {
			for kind := range kinds {
				seen["all "+kind]++
			}
		}
		require.Empty(t, bytes.Trim(bytes.ReplaceAll(got[sectors*sector:], []byte{0}, nil), "g"), "growth is zeros or what was written")
		switch n := len(content(t, d, "new")); {
		case n == 0 && content(t, d, "new") == nil:
			seen["no entry"]++
		case n < 10_000:
			seen["part of a file"]++
		default:
			seen["whole file"]++
		}
		switch len(got) {
		case sectors * sector:
			seen["not grown"]++
		case (sectors + 10) * sector:
			seen["grown"]++
		default:
			seen["grown in part"]++
		}
	}
	for _, kind := range []string{
		"oo", "nn", "mm", "torn", "all oo", "all nn", "no entry", "part of a file", "whole file", "not grown", "grown", "grown in part",
	} {
		require.Positive(t, seen[kind], "%q never seen in %v", kind, seen)
	}
}

func TestRestartIsDeterministic(t *testing.T) {
	run := func(seed uint64) (out []byte) {
		m := memdisk.NewMachine()
		for i := range 3 {
			d := m.NewDisk(fmt.Sprint(i))
			for _, name := range []string{"a", "b", "c"} {
				mustWrite(t, mustCreate(t, d, name, 100*sector), fill('x', 90*sector), 77)
			}
		}
		for _, d := range m.Restart(rand.New(rand.NewPCG(seed, 0))).Disks() {
			for _, name := range []string{"a", "b", "c"} {
				out = append(out, content(t, d, name)...)
			}
		}
		return out
	}
	require.Equal(t, run(1), run(1))
	require.NotEqual(t, run(1), run(2))
}

// TestKill: a process that dies loses nothing; the power cut after it still may.
func TestKill(t *testing.T) {
	m := memdisk.NewMachine()
	d := m.NewDisk("d")
	f := mustCreate(t, d, "file", 2*sector)
	mustWrite(t, f, fill('1', 2*sector), 0)
	k := m.Kill()
	_, err := f.Size()
	require.ErrorIs(t, err, memdisk.ErrPower)
	d = k.Disks()[0]
	require.Equal(t, fill('1', 2*sector), content(t, d, "file"))
	f, err = d.Open("file")
	require.NoError(t, err)
	mustWrite(t, f, fill('2', sector), sector)

	old := func(*memdisk.Disk, string, int64) bool { return false }
	require.Equal(t, make([]byte, 2*sector), content(t, k.RestartWith(old).Disks()[0], "file"), "written before the kill, never synced")

	k = m.Kill() // the old machine can be asked again
	f, err = k.Disks()[0].Open("file")
	require.NoError(t, err)
	require.NoError(t, f.Sync())
	require.Equal(t, fill('1', 2*sector), content(t, k.RestartWith(old).Disks()[0], "file"), "a Sync after the kill covers what came before")
	require.Equal(t, make([]byte, 2*sector), content(t, m.RestartWith(old).Disks()[0], "file"), "and only in its own machine")
}

// TestGrowth: a sector that is kept brings the size with it.
func TestGrowth(t *testing.T) {
	for _, c := range []struct{ keep, size int64 }{{-1, 1000}, {1, 2 * sector}, {2, 3 * sector}, {8, 9 * sector}, {9, 9*sector + 100}} {
		d := memdisk.New("d")
		f := mustCreate(t, d, "file", 1000)
		mustWrite(t, f, fill('g', 8*sector+100), sector)
		d = d.Machine().RestartWith(func(_ *memdisk.Disk, _ string, n int64) bool { return n == c.keep }).Disks()[0]
		got := content(t, d, "file")
		require.Len(t, got, int(c.size), "sector %d kept", c.keep)
		want := make([]byte, c.size)
		if c.keep >= 0 {
			copy(want[c.keep*sector:], fill('g', sector))
		}
		require.True(t, bytes.Equal(want, got), "sector %d kept", c.keep)
	}
}

// TestClones: what shares content does not share writes.
func TestClones(t *testing.T) {
	d := memdisk.New("d")
	f := mustCreate(t, d, "file", 10_000)
	mustWrite(t, f, fill('1', 10_000), 0)
	im := d.Image()
	mustWrite(t, f, fill('2', 5_000), 0)
	require.NoError(t, d.Corrupt("file", 9_999, 0xff))
	a, b := d.Machine().NewDiskFrom("a", im), d.Machine().NewDiskFrom("b", im)
	af, err := a.Open("file")
	require.NoError(t, err)
	mustWrite(t, af, fill('3', 100), 4_000)
	require.NoError(t, af.Sync())
	require.Equal(t, fill('1', 10_000), content(t, b, "file"))
	got := content(t, a, "file")
	require.Equal(t, fill('3', 100), got[4_000:4_100])
	require.Equal(t, fill('1', 5_900), got[4_100:])
	require.Equal(t, byte('1'^0xff), content(t, d, "file")[9_999])
	b = d.Machine().RestartWith(func(*memdisk.Disk, string, int64) bool { return false }).Disks()[2]
	require.Equal(t, fill('1', 10_000), content(t, b, "file"), "an image is durable")

	old := d.Machine()
	a = old.Restart(rand.New(rand.NewPCG(1, 1))).Disks()[1]
	before := content(t, a, "file")
	require.NoError(t, old.Disks()[1].Corrupt("file", 1, 1))
	require.Equal(t, before, content(t, a, "file"), "the dead machine is another")
}

func TestCorrupt(t *testing.T) {
	d := memdisk.New("d")
	f := mustCreate(t, d, "file", 2*sector)
	mustWrite(t, f, fill(1, sector), 0)
	ops := d.Machine().Ops()
	require.NoError(t, d.Corrupt("file", 5, 0x80))
	require.NoError(t, d.Corrupt("file", sector+5, 0x80))
	require.Equal(t, ops, d.Machine().Ops())
	require.Equal(t, byte(0x81), content(t, d, "file")[5])
	got := content(t, d.Machine().RestartWith(func(*memdisk.Disk, string, int64) bool { return false }).Disks()[0], "file")
	require.Equal(t, byte(0x80), got[5], "the bytes before are corrupt too")
	require.Equal(t, byte(0x80), got[sector+5])
	require.ErrorIs(t, d.Corrupt("missing", 0, 1), fs.ErrNotExist)
	require.ErrorIs(t, d.Corrupt("file", 2*sector, 1), fs.ErrInvalid)
	require.ErrorIs(t, d.Corrupt("file", -1, 1), fs.ErrInvalid)
}

func TestWipe(t *testing.T) {
	d := memdisk.New("d")
	f := mustCreate(t, d, "file", 10)
	d.Wipe()
	entries, err := d.List()
	require.NoError(t, err)
	require.Empty(t, entries)
	require.ErrorIs(t, d.Check(), disk.ErrLost)
	require.ErrorIs(t, f.Sync(), disk.ErrLost)
	_, err = d.Create("file", 10)
	require.ErrorIs(t, err, disk.ErrLost)
	d = d.Reopen()
	require.Same(t, d, d.Machine().Disks()[0])
	mustCreate(t, d, "file", 10)
}

func TestCapacity(t *testing.T) {
	d := memdisk.New("d")
	d.SetCapacity(1000)
	f := mustCreate(t, d, "file", 600)
	_, err := d.Create("other", 401)
	require.ErrorIs(t, err, disk.ErrNoSpace)
	require.ErrorIs(t, f.Extend(1001), disk.ErrNoSpace)
	_, err = f.WriteAt(make([]byte, 2), 999)
	require.ErrorIs(t, err, disk.ErrNoSpace)
	n, err := f.Size()
	require.NoError(t, err)
	require.Equal(t, int64(600), n)
	require.NoError(t, f.Extend(1000))
	u, err := d.Usage()
	require.NoError(t, err)
	require.Equal(t, disk.Usage{Total: 1000}, u)
	require.NoError(t, d.Remove("file"))
	mustCreate(t, d, "other", 1000)
	n2 := d.Machine().Kill().Disks()[0]
	_, err = n2.Create("more", 1)
	require.ErrorIs(t, err, disk.ErrNoSpace, "clones count too")
}

// TestRestartIsCheap keeps the crash tests, with their thousands of restarts,
// affordable. The bound is ten times what it takes.
func TestRestartIsCheap(t *testing.T) {
	m := wide(t)
	best := time.Hour
	for i := range 10 {
		start := time.Now()
		m.Restart(rand.New(rand.NewPCG(uint64(i), 0)))
		best = min(best, time.Since(start))
	}
	require.Less(t, best, 50*time.Millisecond)
}

// wide returns a machine of 8 disks with two 64 MiB files each, 4 MiB written
// in all of which a quarter is unsynced.
func wide(t testing.TB) *memdisk.Machine {
	m := memdisk.NewMachine()
	for i := range 8 {
		d := m.NewDisk(fmt.Sprint(i))
		mustCreate(t, d, "other", 64<<20)
		f := mustCreate(t, d, "file", 64<<20)
		mustWrite(t, f, fill('x', 384<<10), 1<<20)
		require.NoError(t, f.Sync())
		mustWrite(t, f, fill('x', 128<<10), 2<<20)
	}
	return m
}

func BenchmarkRestart(b *testing.B) {
	m := wide(b)
	r := rand.New(rand.NewPCG(1, 1))
	b.ReportAllocs()
	for b.Loop() {
		m.Restart(r)
	}
}
