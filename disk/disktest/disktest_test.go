package disktest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/disk/faultdisk"
	"github.com/cairnstore/cairn/disk/memdisk"
)

// flawed is a disk with one flaw. Each wrapper overrides what it breaks.
type flawed struct {
	disk.Disk
	file func(disk.File) disk.File // around each file
	flaw func(d *flawed, op, name string) (done bool, err error)
}

func (d *flawed) Create(name string, size int64) (disk.File, error) {
	if done, err := d.apply("create", name); done {
		return nil, err
	}
	f, err := d.Disk.Create(name, size)
	return d.wrap(f), err
}

func (d *flawed) Open(name string) (disk.File, error) {
	f, err := d.Disk.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		if done, _ := d.apply("open", name); done {
			f, err = d.Disk.Create(name, 0)
		}
	}
	return d.wrap(f), err
}

func (d *flawed) Remove(name string) error {
	if done, err := d.apply("remove", name); done {
		return err
	}
	return d.Disk.Remove(name)
}

func (d *flawed) List() ([]disk.Entry, error) {
	entries, err := d.Disk.List()
	if done, _ := d.apply("list", ""); done && len(entries) > 1 {
		entries[0], entries[1] = entries[1], entries[0]
	}
	return entries, err
}

func (d *flawed) apply(op, name string) (bool, error) {
	if d.flaw == nil {
		return false, nil
	}
	return d.flaw(d, op, name)
}

func (d *flawed) wrap(f disk.File) disk.File {
	if f == nil || d.file == nil {
		return f
	}
	return d.file(f)
}

type flawedFile struct {
	disk.File
	read   func(f disk.File, p []byte, off int64) (int, error)
	write  func(f disk.File, p []byte, off int64) (int, error)
	extend func(f disk.File, size int64) error
	sync   func(f disk.File) error
	// With none of it Reserve is left to Extend.
	reserve func(f disk.File, size int64) error
}

type reservingFile struct{ *flawedFile }

func (f reservingFile) Reserve(size int64) error { return f.reserve(f.File, size) }

func (f *flawedFile) ReadAt(p []byte, off int64) (int, error) {
	if f.read != nil {
		return f.read(f.File, p, off)
	}
	return f.File.ReadAt(p, off)
}

func (f *flawedFile) WriteAt(p []byte, off int64) (int, error) {
	if f.write != nil {
		return f.write(f.File, p, off)
	}
	return f.File.WriteAt(p, off)
}

func (f *flawedFile) Extend(size int64) error {
	if f.extend != nil {
		return f.extend(f.File, size)
	}
	return f.File.Extend(size)
}

func (f *flawedFile) Sync() error {
	if f.sync != nil {
		return f.sync(f.File)
	}
	return f.File.Sync()
}

// harness is a memdisk, each of its openings wrapped.
type harness struct {
	inner *memdisk.Disk
	wrap  func(disk.Disk) disk.Disk
	d     disk.Disk
	r     *rand.Rand
}

func newHarness(wrap func(disk.Disk) disk.Disk) *harness {
	h := &harness{wrap: wrap, r: rand.New(rand.NewPCG(1, 1))}
	h.use(memdisk.New("mem"))
	return h
}

func (h *harness) use(d *memdisk.Disk) disk.Disk {
	h.inner, h.d = d, h.wrap(d)
	return h.d
}

func (h *harness) Disk() disk.Disk { return h.d }

func (h *harness) Reopen() disk.Disk {
	_ = h.d.Close()
	return h.use(h.inner.Reopen())
}

func (h *harness) PowerCut() disk.Disk {
	return h.use(h.inner.Machine().Restart(h.r).Disks()[0])
}

// recorder is a require.TestingT that remembers a failure.
type recorder struct{ failed string }

type stop struct{}

func (r *recorder) Errorf(format string, args ...any) { r.failed = fmt.Sprintf(format, args...) }
func (r *recorder) FailNow()                          { panic(stop{}) }

func (r *recorder) run(g guarantee, h Harness) {
	defer func() {
		if p := recover(); p != nil && p != (stop{}) {
			panic(p)
		}
	}()
	g.check(r, h)
}

func withFile(ff flawedFile) func(disk.Disk) disk.Disk {
	return func(d disk.Disk) disk.Disk {
		return &flawed{Disk: d, file: func(f disk.File) disk.File {
			c := ff
			c.File = f
			if c.reserve != nil {
				return reservingFile{&c}
			}
			return &c
		}}
	}
}

func withFlaw(op string, do func(d *flawed, name string) error) func(disk.Disk) disk.Disk {
	return func(d disk.Disk) disk.Disk {
		return &flawed{Disk: d, flaw: func(d *flawed, o, name string) (bool, error) {
			if o != op {
				return false, nil
			}
			return true, do(d, name)
		}}
	}
}

// TestFlaws breaks a good driver in one way at a time; the suite sees each, by
// the guarantee named.
func TestFlaws(t *testing.T) {
	rule := func(r faultdisk.Rule) func(disk.Disk) disk.Disk {
		return func(d disk.Disk) disk.Disk { return faultdisk.Wrap(d, faultdisk.WithRule(r)) }
	}
	var kept []byte
	for _, c := range []struct {
		flaw, by string
		wrap     func(disk.Disk) disk.Disk
	}{
		{"flips a bit", "Read", rule(faultdisk.Rule{Ops: faultdisk.OpRead, Flip: true})},
		{"misdirects a write", "Write", rule(faultdisk.Rule{Ops: faultdisk.OpWrite, Misdirect: 1, Nth: 3})},
		{"loses a write", "Write", rule(faultdisk.Rule{Ops: faultdisk.OpWrite, Lie: true, Nth: 3})},
		{"lies about a sync", "PowerSync", rule(faultdisk.Rule{Ops: faultdisk.OpSync, Lie: true})},
		{"fails a check", "RemoveOpen", rule(faultdisk.Rule{Ops: faultdisk.OpCheck, Err: disk.ErrLost})},
		{"returns a wrong error", "CreateExisting", rule(faultdisk.Rule{Ops: faultdisk.OpCreate, Err: io.EOF, Nth: 2})},
		{"loses the file of an error", "Open", withFlaw("open", func(*flawed, string) error { return nil })},
		{"lists out of order", "List", withFlaw("list", func(*flawed, string) error { return nil })},
		{"forgets a removal", "Remove", withFlaw("remove", func(*flawed, string) error { return nil })},
		{"accepts any name", "Names", withFlaw("create", func(*flawed, string) error { return nil })},
		{"reads short", "Read", withFile(flawedFile{read: func(f disk.File, p []byte, off int64) (int, error) {
			n, err := f.ReadAt(p, off)
			if err == io.EOF {
				err = nil
			}
			return n, err
		}})},
		{"keeps the caller's slice", "Write", withFile(flawedFile{
			write: func(f disk.File, p []byte, off int64) (int, error) { kept = p; return f.WriteAt(p, off) },
			read: func(f disk.File, p []byte, off int64) (int, error) {
				n, err := f.ReadAt(p, off)
				copy(p, kept)
				return n, err
			},
		})},
		{"does not extend", "Extend", withFile(flawedFile{extend: func(disk.File, int64) error { return nil }})},
		{"extends with garbage", "Extend", withFile(flawedFile{extend: func(f disk.File, size int64) error {
			old, err := f.Size()
			if err == nil && old < size {
				_, err = f.WriteAt([]byte{1}, size-1)
			}
			return err
		}})},
		{"extends without a sync", "PowerExtend", withFile(flawedFile{extend: func(f disk.File, size int64) error {
			old, err := f.Size()
			if err == nil && old < size {
				_, err = f.WriteAt([]byte{0}, size-1)
			}
			return err
		}})},
		{"does not reserve", "Reserve", withFile(flawedFile{reserve: func(disk.File, int64) error { return nil }})},
		{"reserves what it has", "Reserve", withFile(flawedFile{reserve: func(f disk.File, size int64) error {
			old, err := f.Size()
			if err == nil && old < size {
				_, err = f.WriteAt([]byte{1}, size-1)
			}
			return err
		}})},
		{"reserves over what is there", "PowerReserve", withFile(flawedFile{reserve: func(f disk.File, size int64) error {
			old, err := f.Size()
			if err == nil && old > 8192 && old < size {
				if _, err = f.WriteAt([]byte{1}, old-1); err == nil {
					err = f.Extend(size)
				}
			}
			return err
		}})},
		{"syncs closed files", "ClosedFile", withFile(flawedFile{sync: func(f disk.File) error { _ = f.Sync(); return nil }})},
		{"survives its close", "Closed", func(d disk.Disk) disk.Disk { return unclosable{d} }},
	} {
		t.Run(c.flaw, func(t *testing.T) {
			for _, g := range append(append([]guarantee(nil), guarantees...), powerGuarantees...) {
				if g.name == c.by {
					r := &recorder{}
					r.run(g, newHarness(c.wrap))
					require.NotEmpty(t, r.failed, "%s did not see it", g.name)
					return
				}
			}
			require.Fail(t, "no such guarantee")
		})
	}
}

type unclosable struct{ disk.Disk }

func (unclosable) Close() error { return nil }

// TestSound: without a flaw, the same wrappers pass.
func TestSound(t *testing.T) {
	Run(t, func(*testing.T) Harness {
		return newHarness(func(d disk.Disk) disk.Disk { return &flawed{Disk: d} })
	})
}
