package disktest

import (
	"bytes"
	"errors"
	"fmt"
	"sync"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/disk"
)

// together runs n calls at once and returns their errors, joined.
func together(n int, run func(i int) error) error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = run(i) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// concurrentFiles has goroutines use one disk, each with a file of its own and
// all with regions of a shared one.
func concurrentFiles(t require.TestingT, h Harness) {
	d := h.Disk()
	const n, region = 8, 10_000
	shared := mustCreate(t, d, "shared", n*region)
	err := together(n, func(i int) error {
		own := fmt.Sprintf("own-%d", i)
		for round := range 4 {
			f, err := d.Create(own, region)
			if err != nil {
				return err
			}
			want := pattern(region, byte(i*16+round))
			got := make([]byte, region)
			for file, off := range map[disk.File]int64{f: 0, shared: int64(i * region)} {
				if _, err := file.WriteAt(want, off); err != nil {
					return err
				}
				if err := file.Sync(); err != nil {
					return err
				}
				if _, err := file.ReadAt(got, off); err != nil {
					return err
				}
				if !bytes.Equal(got, want) {
					return fmt.Errorf("%s: read other bytes than were written", own)
				}
			}
			_, lerr := d.List()
			if err := errors.Join(lerr, d.Check(), d.Remove(own), d.Check(), f.Close()); err != nil {
				return err
			}
		}
		return nil
	})
	require.NoError(t, err)
	require.Len(t, entriesOf(t, d), 1)
	for i := range n {
		require.Equal(t, pattern(region, byte(i*16+3)), mustRead(t, shared, int64(i*region), region))
	}
}

// concurrentExtend grows a file from several goroutines, through two handles,
// while its old part is written and read.
func concurrentExtend(t require.TestingT, h Harness) {
	d := h.Disk()
	a := mustCreate(t, d, "file", 1<<16)
	b := mustOpen(t, d, "file")
	err := together(6, func(i int) error {
		f := []disk.File{a, b}[i%2]
		want, got := pattern(1<<13, byte(i)), make([]byte, 1<<13)
		for round := range 8 {
			off := int64(i) << 13
			if _, err := f.WriteAt(want, off); err != nil {
				return err
			}
			size := int64(1<<16 + (round*6+i)*100_000)
			if err := f.Extend(size); err != nil {
				return err
			}
			if got, err := f.Size(); err != nil || got < size {
				return fmt.Errorf("size %d after Extend to %d: %w", got, size, err)
			}
			if err := f.Sync(); err != nil {
				return err
			}
			if _, err := f.ReadAt(got, off); err != nil {
				return err
			}
			if !bytes.Equal(got, want) {
				return errors.New("bytes below the old size changed in Extend")
			}
		}
		return nil
	})
	require.NoError(t, err)
	size := sizeOf(t, a)
	require.Equal(t, int64(1<<16+47*100_000), size)
	requireZeros(t, a, 6<<13, size-6<<13)
}

// closeInFlight closes the disk under running calls: each ends, with success or
// disk.ErrClosed, and the disk can be opened again.
func closeInFlight(t require.TestingT, h Harness) {
	d := h.Disk()
	f := mustCreate(t, d, "file", 1<<16)
	var started sync.WaitGroup
	started.Add(8)
	done := make(chan error, 1)
	go func() {
		done <- together(8, func(i int) error {
			p := pattern(4096, byte(i))
			for round := 0; ; round++ {
				_, err := f.WriteAt(p, int64(i)<<12)
				if err == nil {
					err = f.Sync()
				}
				if err == nil {
					_, err = f.ReadAt(p, int64(i)<<12)
				}
				if err == nil && i == 0 {
					err = d.Check()
				}
				if round == 0 {
					started.Done()
				}
				if errors.Is(err, disk.ErrClosed) {
					return nil
				}
				if err != nil {
					return err
				}
			}
		})
	}()
	started.Wait()
	require.NoError(t, d.Close())
	require.NoError(t, <-done)
	d = h.Reopen()
	require.Equal(t, []disk.Entry{{Name: "file", Size: 1 << 16}}, entriesOf(t, d))
}
