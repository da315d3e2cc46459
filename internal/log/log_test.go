package log

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/disk/faultdisk"
	"github.com/cairnstore/cairn/internal/protocol"
)

func TestReopenShowsEverything(t *testing.T) {
	for _, g := range [][2]int{{1, 0}, {1, 1}, {2, 1}, {2, 2}, {4, 2}, {8, 3}} {
		r := newRig(t, g[0], g[1], 0)
		var want []entry
		for round := range 3 {
			l, shown, err := r.open()
			require.NoError(t, err)
			require.Equal(t, want, shown, "%v round %d", g, round)
			require.NoError(t, l.Refusal())
			for i := range 12 {
				want = append(want, r.mustPut(l, uint64(1+i%3), 100, 5000, 40000*(i%3)))
			}
			want = append(want, r.mustPut(l, 1))
			if round == 1 {
				continue // no clean close
			}
			require.NoError(t, l.Close())
		}
	}
}

func TestLostDisksLoseNothing(t *testing.T) {
	r := newRig(t, 4, 2, 1)
	l, _, err := r.open()
	require.NoError(t, err)
	var want []entry
	for i := range 10 {
		want = append(want, r.mustPut(l, 1, 4096, 60000*(i%4), 60000*(i%3)))
	}
	require.NoError(t, l.Close())
	for a := range r.disks {
		for b := range a {
			l, err := r.gather(a, b)
			require.NoError(t, err)
			require.NoError(t, l.Refusal())
			require.NoError(t, l.Decide(context.Background(), Position{}))
			var shown []entry
			require.NoError(t, l.Replay(context.Background(), func(g *Group) error {
				p, err := readPayload(l, g)
				shown = append(shown, entry{g.First, g.Last, g.Records, p})
				return err
			}))
			require.Equal(t, want, shown, "without %d and %d", a, b)
			require.NoError(t, l.Close())
		}
	}
}

func TestRottenBlocksAreLeftOut(t *testing.T) {
	r := newRig(t, 4, 2, 0)
	l, _, err := r.open()
	require.NoError(t, err)
	first := l.Last() + 1
	items := []int{60000, 60000, 60000, 60000}
	var payload [][]byte
	at := 0
	for _, n := range items {
		payload = append(payload, pattern(first, at, n))
		at += n
	}
	g, err := l.Append([]byte("r"), 1, payload)
	require.NoError(t, err)
	require.Equal(t, 4, g.Data)
	byID := map[disk.ID]int{}
	for id, m := range l.members {
		for i, f := range r.faults {
			if m.disk == disk.Disk(f) {
				byID[id] = i
			}
		}
	}
	flip := func(block int) {
		b := g.Blocks[block]
		d := r.disks[byID[g.Segment.Disks[b.Shard]]]
		require.NoError(t, d.Corrupt(segmentFile(g, b.Shard), b.Offset+123, 0x40))
	}
	flip(1) // a data block
	flip(5) // and a parity block, at the same place
	got, err := readPayload(l, g)
	require.NoError(t, err)
	require.Equal(t, pattern(first, 0, 240000), got)
	flip(0)
	_, err = readPayload(l, g)
	var lost *LostError
	require.ErrorAs(t, err, &lost)
	require.ErrorIs(t, err, ErrCorrupt)
	require.Len(t, lost.Disks, 3)
}

// A lone group goes to m+1 disks in one round of syncs, a large one to k+m.
func TestSyncsOfAppend(t *testing.T) {
	r := newRig(t, 4, 2, 0)
	l, _, err := r.open()
	require.NoError(t, err)
	r.mustPut(l, 1, 4096)
	count := func(items ...int) (n faultdisk.Counts) {
		for _, f := range r.faults {
			f.Reset()
		}
		r.mustPut(l, 1, items...)
		l.background.Wait()
		for _, f := range r.faults {
			n = n.Add(f.Counts())
		}
		return n
	}
	c := count(4096)
	require.Equal(t, int64(3), c.Syncs)
	require.Equal(t, int64(3), c.Writes)
	require.Zero(t, c.Creates+c.Removes+c.Opens)
	items := make([]int, 64)
	for i := range items {
		items[i] = 4096
	}
	require.Equal(t, int64(6), count(items...).Syncs)
	require.NoError(t, l.Close())
}

// Large groups write each byte once: their space is reserved, not zero-filled.
func TestLargeGroupsAreNotZeroFilled(t *testing.T) {
	r := newRig(t, 4, 2, 0)
	r.size = 64 << 20
	l, _, err := r.open()
	require.NoError(t, err)
	for range 10 {
		r.mustPut(l, 1, 600_000, 600_000, 600_000, 600_000)
	}
	l.background.Wait()
	require.Zero(t, l.Metrics().Extensions)
	r.mustPut(l, 1, 60_000, 60_000, 60_000, 60_000)
	r.mustPut(l, 1, 60_000, 60_000, 60_000, 60_000)
	l.background.Wait()
	require.NotZero(t, l.Metrics().Extensions)
	require.NoError(t, l.Close())
}

// When a disk fails in the middle of a group, the same group goes elsewhere.
func TestDiskFailsInMidGroup(t *testing.T) {
	for _, op := range []faultdisk.Op{faultdisk.OpWrite, faultdisk.OpSync} {
		r := newRig(t, 4, 2, 0)
		l, _, err := r.open()
		require.NoError(t, err)
		want := []entry{r.mustPut(l, 1, 4096)}
		for failed := range 3 {
			r.faults[failed].Add(faultdisk.Rule{Ops: op, Nth: 1, Sticky: true, Err: errors.New("EIO")})
			want = append(want, r.mustPut(l, 2, 60000, 60000, 60000, 60000))
			require.Len(t, l.liveIDs(), 5-failed)
		}
		require.NoError(t, l.Refusal())
		require.Equal(t, 1, l.tail.desc.Geometry.Data)
		// A fourth failure leaves two of three: still half, but not m+1.
		r.faults[3].Add(faultdisk.Rule{Ops: op, Nth: 1, Sticky: true, Err: errors.New("EIO")})
		_, err = r.put(l, 1, 10)
		require.ErrorIs(t, err, ErrNoQuorum)
		require.ErrorIs(t, l.Refusal(), ErrNoQuorum)
		require.NoError(t, l.Close())

		l, shown, err := r.open()
		require.NoError(t, err)
		require.NoError(t, l.Refusal())
		require.Equal(t, want, shown)
		require.NoError(t, l.Close())

		// Without the three that went on, it is not the newest view.
		l, _, err = r.open(3, 4, 5)
		require.NoError(t, err)
		require.ErrorIs(t, l.Refusal(), protocol.ErrStaleQuorum)
		require.NoError(t, l.Close())
	}
}

// The blocks of a large group are written before its headers, and fail on
// their own: a part without its block must not count as written.
func TestBlockOfLargeGroupFails(t *testing.T) {
	r := newRig(t, 4, 2, 0)
	r.size = 8 << 20
	l, _, err := r.open()
	require.NoError(t, err)
	want := []entry{r.mustPut(l, 1, 4096)}
	for failed := range 2 {
		r.faults[failed].Add(faultdisk.Rule{Ops: faultdisk.OpWrite, Nth: 1, Err: errors.New("EIO")})
		want = append(want, r.mustPut(l, 1, 600_000, 600_000, 600_000, 600_000))
		require.Len(t, l.liveIDs(), 5-failed)
	}
	require.NoError(t, l.Close())
	_, shown, err := r.open()
	require.NoError(t, err)
	require.Equal(t, want, shown)
}

// Power fails at every operation of a short history; afterwards up to m disks
// are absent, at one open and then at another.
func TestPowerCutAtEveryOperation(t *testing.T) {
	for _, g := range [][2]int{{4, 2}, {1, 1}, {2, 1}} {
		powerCuts(t, g, 64<<10, 14, func(i int) []int { return []int{3000, 50000 * (i % 3), 50000 * (i % 2)} })
	}
}

// The same with groups that go to reserved space, between others that do not.
func TestPowerCutBesideReservedSpace(t *testing.T) {
	powerCuts(t, [2]int{2, 1}, 1<<20, 7, func(i int) []int {
		if i%3 == 0 {
			return []int{100}
		}
		return []int{300_000, 200_000, 100_000}
	})
}

func powerCuts(t *testing.T, g [2]int, segmentSize int64, puts int, items func(i int) []int) {
	newRig := func(t testing.TB, k, m, extra int) *rig {
		r := newRig(t, k, m, extra)
		r.size = segmentSize
		return r
	}
	history := func(r *rig, cut int64) (acked []entry, whole bool) {
		if cut > 0 {
			r.machine.CutAt(cut)
		}
		l, _, err := r.open()
		if err != nil {
			return nil, false
		}
		defer l.Close()
		for i := range puts {
			e, err := r.put(l, 1, items(i)...)
			if err != nil {
				return acked, false
			}
			acked = append(acked, e)
		}
		return acked, true
	}
	r := newRig(t, g[0], g[1], 0)
	_, whole := history(r, 0)
	require.True(t, whole)
	total := r.machine.Ops()
	step := int64(7) // engine's crash test takes all of them
	if *long {
		step = 1
	}
	for cut := int64(1); cut <= total; cut += step {
		rng := rand.New(rand.NewPCG(uint64(cut), 1))
		r := newRig(t, g[0], g[1], 0)
		acked, _ := history(r, cut)
		r.restart(rng)
		var before []entry
		for again := range 3 {
			var absent []int
			if len(acked) > 0 && g[1] > 0 {
				absent = rng.Perm(len(r.disks))[:rng.IntN(g[1]+1)]
			}
			l, shown, err := r.open(absent...)
			require.NoError(t, err, "%v cut at %d, without %v", g, cut, absent)
			require.GreaterOrEqual(t, len(shown), len(acked), "%v cut at %d", g, cut)
			if len(acked) > 0 {
				require.Equal(t, acked, shown[:len(acked)], "%v cut at %d, without %v", g, cut, absent)
			}
			require.LessOrEqual(t, len(shown), len(acked)+1)
			if l.Refusal() == nil {
				require.GreaterOrEqual(t, len(shown), len(before), "a group was shown and is gone: %v cut at %d", g, cut)
				before = shown
				acked = append(shown, r.mustPut(l, 1, 100))
			} else {
				require.ErrorIs(t, l.Refusal(), protocol.ErrStaleQuorum, "%v cut at %d, without %v", g, cut, absent)
			}
			if again == 1 {
				r.restart(rng)
			} else {
				require.NoError(t, l.Close())
			}
		}
	}
}

// A shortage of the host in mid-group drops no disk, and the sequences of the
// group that failed are used again only behind a new opening group. A group
// whose failure was told does not come up at the next open.
func TestShortageInMidGroup(t *testing.T) {
	for _, op := range []faultdisk.Op{faultdisk.OpWrite, faultdisk.OpSync} {
		for _, shortage := range []error{disk.ErrBusy, disk.ErrNoSpace} {
			for _, more := range []bool{true, false} {
				r := newRig(t, 2, 1, 0)
				l, _, err := r.open()
				require.NoError(t, err)
				want := []entry{r.mustPut(l, 1, 4096)}
				var n atomic.Int64
				for range 3 {
					var stops []func()
					for _, f := range r.faults {
						stops = append(stops, f.Add(faultdisk.Rule{Ops: op, Name: "s-*", Nth: 1, Err: shortage, Hook: func(faultdisk.Call) { n.Add(1) }}))
					}
					e, err := r.put(l, 1, 10, 9000)
					for _, stop := range stops {
						stop()
					}
					if err == nil {
						want = append(want, e)
					} else {
						require.ErrorIs(t, err, shortage)
					}
					require.Len(t, l.liveIDs(), 3)
					if more {
						want = append(want, r.mustPut(l, 2, 70000, 50), r.mustPut(l, 1))
					}
				}
				require.NotZero(t, n.Load())
				require.NoError(t, l.Close())
				l, shown, err := r.open()
				require.NoError(t, err)
				require.Equal(t, want, shown, "%v %v %v", op, shortage, more)
				require.NoError(t, l.Close())
			}
		}
	}
}

// A zero-fill beside an append syncs the same file, and the kernel tells only
// one of the two of a failed write-back: the append must not be acknowledged on
// the word of its own sync while the other's is still to come.
func TestZeroFillFailsBesideAppend(t *testing.T) {
	r := newRig(t, 1, 0, 0)
	l, _, err := r.open()
	require.NoError(t, err)
	hold := make(chan struct{})
	extending := make(chan struct{})
	r.faults[0].Add(faultdisk.Rule{Ops: faultdisk.OpExtend, Nth: 1, Block: hold, Err: errors.New("EIO"),
		Hook: func(faultdisk.Call) { close(extending) }})
	r.mustPut(l, 1, 100) // begins a zero-fill
	<-extending
	synced := make(chan struct{})
	r.faults[0].Add(faultdisk.Rule{Ops: faultdisk.OpSync, Nth: 1, Hook: func(faultdisk.Call) { close(synced) }})
	outcome := make(chan error, 1)
	go func() {
		_, err := r.put(l, 1, 100)
		outcome <- err
	}()
	<-synced
	close(hold)
	require.ErrorIs(t, <-outcome, ErrNoQuorum)
	require.NoError(t, l.Close())
}
