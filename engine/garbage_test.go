package engine

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/disk/faultdisk"
)

// Power fails while an object streams in: its payload segment was never
// committed, and the next open counts its files and deletes none of them.
func TestGarbageOfACutStreamIsCounted(t *testing.T) {
	r := newRig(t, 2, 1)
	e := r.open()
	b := bucketOf(t, e, "bucket")
	kept := content(1, 200<<10)
	_, err := b.PutBytes(context.Background(), "kept", kept, nil)
	require.NoError(t, err)
	require.Zero(t, e.Status().GarbageFiles)
	e = r.reopen(e) // a new epoch: the next stream gets a new segment
	b = e.Bucket("bucket")
	r.faults[0].Add(faultdisk.Rule{Ops: faultdisk.OpSync, Name: "s-*", Nth: 1, Hook: func(faultdisk.Call) { r.machine.Cut() }, Err: faultdisk.ErrInjected})
	_, err = b.PutBytes(context.Background(), "cut", content(2, 300<<10), nil)
	require.Error(t, err)
	_ = e.Close() // without power
	r.restart(rand.New(rand.NewPCG(1, 1)))
	e = r.open()
	s := e.Status()
	require.NotZero(t, s.GarbageFiles)
	require.NotZero(t, s.GarbageBytes)
	files := 0
	for _, d := range r.mems {
		entries, err := d.List()
		require.NoError(t, err)
		files += len(entries)
	}
	e = r.reopen(e)
	for _, d := range r.mems {
		entries, err := d.List()
		require.NoError(t, err)
		files -= len(entries)
	}
	require.LessOrEqual(t, files, 0, "an open deleted files")
	got, err := read(e.Bucket("bucket"), "kept")
	require.NoError(t, err)
	require.Equal(t, kept, got)
}
