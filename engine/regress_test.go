package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/disk/faultdisk"
	"github.com/cairnstore/cairn/disk/memdisk"
	"github.com/cairnstore/cairn/meta"
)

// A disk that fails its labels while the pool is made, and an empty disk later:
// neither lets an open take the pool for one that was never made.
func TestStaleFirstLabelDoesNotRemakeThePool(t *testing.T) {
	for fail := 1; fail <= 10; fail++ {
		r := newRig(t, 4, 2)
		o := r.opts
		o.Disks = r.wrap()
		r.faults[2].Add(faultdisk.Rule{Ops: faultdisk.OpWrite, Name: "label-*", Nth: fail, Sticky: true, Err: faultdisk.ErrInjected})
		e, err := Open(context.Background(), &o)
		if err != nil {
			e = r.open() // creation is made whole by the next attempt
		}
		b := bucketOf(t, e, "bucket")
		for i := range 5 {
			_, err := b.PutBytes(context.Background(), fmt.Sprint(i), content(uint64(i), 5000), nil)
			require.NoError(t, err)
		}
		require.NoError(t, e.Close())
		kept := r.mems[5]
		r.mems[5] = memdisk.NewMachine().NewDisk("empty")
		e, err = r.tryOpen(context.Background())
		if err == nil {
			got, err := read(e.Bucket("bucket"), "3")
			require.NoError(t, err, "label write %d", fail)
			require.Equal(t, content(3, 5000), got)
			require.NoError(t, e.Close())
		}
		r.mems[5] = kept
		e = r.open()
		got, err := read(e.Bucket("bucket"), "4")
		require.NoError(t, err, "label write %d", fail)
		require.Equal(t, content(4, 5000), got)
		require.NoError(t, e.Close())
	}
}

// A shortage of descriptors while an open judges the log's end fails that open;
// it never ends the log before what was acknowledged.
func TestShortageWhileJudgingTheTail(t *testing.T) {
	r := newRig(t, 4, 2)
	e := r.open()
	b := bucketOf(t, e, "bucket")
	_, err := b.PutBytes(context.Background(), "last", content(1, 4096), nil)
	require.NoError(t, err)
	r.machine = r.machine.Kill() // no clean close: nothing proves the last group
	r.mems = r.machine.Disks()
	for _, shortage := range []error{disk.ErrBusy, errors.New("EIO")} {
		for nth := 1; nth < 40; nth++ {
			o := r.opts
			o.Disks = r.wrap()
			for _, f := range r.faults {
				f.Add(faultdisk.Rule{Ops: faultdisk.OpRead, Name: "s-*", Nth: nth, Err: shortage})
			}
			e, err := Open(context.Background(), &o)
			if err != nil {
				require.ErrorIs(t, err, shortage)
				continue
			}
			if !e.Status().ReadOnly {
				got, err := read(e.Bucket("bucket"), "last")
				if err == nil {
					require.Equal(t, content(1, 4096), got)
				} else {
					require.NotErrorIs(t, err, ErrNotFound, "%v at read %d", shortage, nth)
				}
			}
			require.NoError(t, e.Close())
		}
		got, err := read(r.reopen(r.open()).Bucket("bucket"), "last")
		require.NoError(t, err)
		require.Equal(t, content(1, 4096), got)
	}
}

func TestTheSameDiskTwice(t *testing.T) {
	d := memdisk.New("d")
	_, err := Open(context.Background(), &Options{Disks: []disk.Disk{d, d}, plainIndex: true})
	require.ErrorIs(t, err, ErrDuplicateDisk)
	d = d.Reopen()
	_, err = Open(context.Background(), &Options{Disks: []disk.Disk{faultdisk.Wrap(d), faultdisk.Wrap(d)}, plainIndex: true})
	require.ErrorIs(t, err, ErrDuplicateDisk)
}

// A first open that is given up at any point leaves nothing that stands in the
// way of the next.
func TestFirstOpenGivenUp(t *testing.T) {
	for n := 1; n < 60; n++ {
		r := newRig(t, 2, 1)
		r.opts.plainIndex = false
		r.opts.IndexDir = filepath.Join(t.TempDir(), "index")
		o := r.opts
		o.Disks = r.wrap()
		ctx, cancel := context.WithCancel(context.Background())
		count := 0
		r.faults[0].Add(faultdisk.Rule{Ops: faultdisk.OpAll, Hook: func(faultdisk.Call) {
			if count++; count == n {
				cancel()
			}
		}})
		e, err := Open(ctx, &o)
		cancel()
		if err == nil {
			require.NoError(t, e.Close())
		} else {
			require.ErrorIs(t, err, context.Canceled)
		}
		e, err = r.tryOpen(context.Background())
		require.NoError(t, err, "given up at operation %d", n)
		require.False(t, e.Status().ReadOnly)
		require.NoError(t, e.Close())
	}
}

// What Put says an object survives counts the disks that were lost on the way.
func TestSurvivesCountsDiskLostDuringPut(t *testing.T) {
	r := newRig(t, 4, 2)
	r.opts.PayloadSegmentSize = 64 << 20
	e := r.open()
	b := bucketOf(t, e, "bucket")
	want := content(9, 24<<20)
	lose := func(at int) { r.faults[at].Lose() }
	info, err := b.Put(context.Background(), "big", &hooked{p: want, at: 16 << 20, hook: func() { lose(0) }}, nil)
	require.NoError(t, err)
	for i := range info.Survives {
		lose(1 + i)
	}
	got, err := read(b, "big")
	require.NoError(t, err)
	require.Equal(t, want, got)
}

// hooked reads p and calls hook when it has given away at bytes.
type hooked struct {
	p    []byte
	n    int
	at   int
	hook func()
}

func (h *hooked) Read(p []byte) (int, error) {
	if h.n >= h.at && h.hook != nil {
		h.hook()
		h.hook = nil
	}
	if h.n == len(h.p) {
		return 0, io.EOF
	}
	n := copy(p, h.p[h.n:])
	h.n += n
	return n, nil
}

// Space of a stream that could not be committed is counted.
func TestStreamWithoutCommitIsDead(t *testing.T) {
	r := newRig(t, 2, 1)
	e := r.open()
	b := bucketOf(t, e, "bucket")
	want := content(1, 1<<20)
	_, err := b.Put(context.Background(), "k", &hooked{p: want, at: len(want), hook: func() {
		require.NoError(t, e.DeleteBucket(context.Background(), "bucket"))
	}}, nil)
	require.ErrorIs(t, err, ErrNoBucket)
	require.GreaterOrEqual(t, e.Metrics().BytesDead, int64(3<<19))
}

// A record that the log could not give back is refused before it is written.
func TestRecordLimit(t *testing.T) {
	r := newRig(t, 2, 1)
	e := r.open()
	b := bucketOf(t, e, "bucket")
	_, err := b.PutBytes(context.Background(), "striped", content(1, 200<<10), nil)
	require.NoError(t, err)
	k, _ := e.state.Bucket("bucket")
	v, err := meta.HeadOf(e.index, k.ID, "striped", nil)
	require.NoError(t, err)
	o := &meta.Object{}
	for range 200_000 {
		o.Extents = append(o.Extents, v.Extents[0])
		o.Size += v.Extents[0].Length
	}
	q := &request{record: meta.Record{Kind: meta.KindPut, Bucket: k.ID, Key: "huge", Object: o}}
	require.ErrorIs(t, e.change(context.Background(), q), ErrTooLarge)
	e = r.reopen(e)
	_, err = e.Bucket("bucket").Head(context.Background(), "huge", nil)
	require.ErrorIs(t, err, ErrNotFound)
	got, err := read(e.Bucket("bucket"), "striped")
	require.NoError(t, err)
	require.Equal(t, content(1, 200<<10), got)
}
