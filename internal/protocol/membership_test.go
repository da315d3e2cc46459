package protocol

import (
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/erasure"
)

// Disks are letters. An epoch is written number, random part and members
// ("5a:ABC": number 5, random part 'a', members A, B and C).
func disks(letters string) []disk.ID {
	ids := make([]disk.ID, len(letters))
	for i, c := range []byte(letters) {
		ids[i] = disk.ID{15: c}
	}
	return ids
}

func letters(ids []disk.ID) string {
	var b strings.Builder
	for _, id := range ids {
		b.WriteByte(id[15])
	}
	return b.String()
}

func epochNamed(s string) Epoch {
	if s == "" {
		return Epoch{}
	}
	n, err := strconv.ParseUint(s[:len(s)-1], 10, 64)
	if err != nil {
		panic(err)
	}
	return Epoch{Number: n, Random: uint64(s[len(s)-1])}
}

func viewNamed(s string) View {
	e, members, _ := strings.Cut(s, ":")
	return View{epochNamed(e), disks(members)}
}

// made is what an epoch's labels say: its view, its parent, and the views
// beside it.
type made struct {
	view, parent string
	beside       []string
}

func (m made) label(d byte) Label {
	v := viewNamed(m.view)
	l := Label{Disk: disk.ID{15: d}, Epoch: v.Epoch, Members: v.Members, Parent: epochNamed(m.parent)}
	for _, b := range m.beside {
		l.Beside = append(l.Beside, viewNamed(b))
	}
	return l
}

func TestDecideMembership(t *testing.T) {
	var (
		ab     = made{view: "4a:AB"}
		abc    = made{view: "4a:ABC"}
		abcde  = made{view: "4a:ABCDE"}
		onlyB  = made{"5a:B", "4a", []string{"4a:AB"}}
		onlyA  = made{"5b:A", "4a", []string{"4a:AB"}}
		of3    = made{"5a:ABC", "4a", []string{"4a:ABC"}}
		pairAB = made{"5a:AB", "4a", []string{"4a:ABC"}}
		pairBC = made{"5b:BC", "4a", []string{"4a:ABC"}}
		threeA = made{"5a:ABC", "4a", []string{"4a:ABCDE"}}
		joined = made{"5a:ABX", "4a", []string{"4a:AB"}}
		three6 = made{"6a:ABC", "5a", []string{"5a:ABC", "4a:ABCDE"}}
	)
	for _, c := range []struct {
		name   string
		labels map[byte]made
		opened []string // epochs of which an opening group is seen
		epoch  string   // decided
		beside string   // how many views beside, if any
		stale  string
		err    error
		none   bool // nothing can be read either
	}{
		// F-25: two disks, 1+1. A fails, B goes on alone under {B}.
		{name: "F-25 only B, under {B}", labels: map[byte]made{'B': onlyB}, epoch: "5a"},
		{name: "F-25 only stale A", labels: map[byte]made{'A': ab}, epoch: "4a", err: ErrStaleQuorum},
		{name: "F-25 either alone under {A,B}", labels: map[byte]made{'B': ab}, epoch: "4a", err: ErrStaleQuorum},
		{name: "F-25 both, the newer wins", labels: map[byte]made{'A': ab, 'B': onlyB}, epoch: "5a", stale: "A"},
		{name: "F-25 both went on alone", labels: map[byte]made{'A': onlyA, 'B': onlyB}, err: ErrEpochConflict, none: true},

		// An epoch in mid-write.
		{name: "half-written: a listed disk did not get it", labels: map[byte]made{'A': of3, 'B': abc}, epoch: "4a", stale: "A"},
		{name: "half-written: an outsider says nothing", labels: map[byte]made{'A': pairAB, 'C': abc}, epoch: "5a", beside: "AB ABC", stale: "C", err: ErrStaleQuorum},
		{name: "all present hold it, and so did the view before", labels: map[byte]made{'A': of3, 'B': of3}, epoch: "5a", beside: "ABC"},
		{name: "held by all that it lists", labels: map[byte]made{'A': threeA, 'B': threeA, 'C': threeA}, epoch: "5a"},
		{name: "a majority of it, but not of the view before", labels: map[byte]made{'A': threeA, 'B': threeA}, epoch: "5a", beside: "ABC ABCDE", err: ErrStaleQuorum},
		{name: "the same, with an opening group seen", labels: map[byte]made{'A': threeA, 'B': threeA}, opened: []string{"5a"}, epoch: "5a"},
		{name: "an opening group outweighs an old copy of a disk", labels: map[byte]made{'A': threeA, 'B': abcde, 'C': threeA}, opened: []string{"5a"}, epoch: "5a", stale: "B"},
		{name: "the others went on without it", labels: map[byte]made{'C': abcde, 'D': abcde, 'E': abcde}, epoch: "4a"},
		{name: "two half-written ones, the common disk absent", labels: map[byte]made{'A': pairAB, 'C': pairBC}, epoch: "5b", beside: "BC ABC AB", stale: "A", err: ErrEpochConflict},
		{name: "two half-written ones, the common disk present", labels: map[byte]made{'A': pairAB, 'B': pairBC, 'C': abc}, epoch: "4a", stale: "AB"},
		{name: "two, one in force", labels: map[byte]made{'A': pairAB, 'B': pairBC, 'C': pairBC}, epoch: "5b", stale: "A"},
		{name: "out, and nobody holds the epoch before it any more", labels: map[byte]made{'A': joined, 'B': joined, 'X': {view: "3a:ABX"}},
			epoch: "4a", beside: "AB ABX", stale: "ABX"},
		{name: "the same, half of that epoch absent", labels: map[byte]made{'B': joined, 'X': {view: "3a:ABX"}},
			epoch: "4a", beside: "AB ABX", stale: "BX", err: ErrStaleQuorum},
		{name: "an attempt that passes over what is in force", labels: map[byte]made{'A': {"6a:AZ", "4a", []string{"4a:ABC"}}, 'B': pairBC, 'C': pairBC},
			epoch: "5b", stale: "A"},
		{name: "an attempt over an attempt", labels: map[byte]made{'A': three6, 'B': three6, 'D': abcde, 'E': abcde},
			epoch: "6a", beside: "ABC ABCDE", stale: "DE"},
		{name: "no epoch", labels: map[byte]made{'A': {}}, err: ErrStaleQuorum, none: true},
		{name: "no labels", err: ErrStaleQuorum, none: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			var labels []Label
			for d := byte('A'); d <= 'Z'; d++ {
				if m, ok := c.labels[d]; ok && m.view != "" {
					labels = append(labels, m.label(d))
				} else if ok {
					labels = append(labels, Label{Disk: disk.ID{15: d}})
				}
			}
			var openings []erasure.SegmentID
			for _, e := range c.opened {
				openings = append(openings, erasure.SegmentID{Epoch: epochNamed(e).Number, Random: epochNamed(e).Random, Counter: 1})
			}
			m, err := DecideMembership(labels, openings...)
			require.ErrorIs(t, err, c.err)
			if c.none {
				require.Nil(t, m)
				return
			}
			require.NotNil(t, m)
			require.Equal(t, epochNamed(c.epoch), m.Epoch)
			require.Equal(t, c.stale, letters(m.Stale))
			require.Equal(t, c.err == nil, m.Quorum())
			var beside []string
			for _, v := range m.Beside {
				beside = append(beside, letters(v.Members))
			}
			require.Equal(t, c.beside, strings.Join(beside, " "))
			for _, l := range labels {
				require.Greater(t, m.Next, l.Epoch.Number)
			}
			require.Equal(t, len(m.View), len(m.Present)+len(m.Absent))
		})
	}
}

// The number of the next epoch is above everything that was ever used, also
// where only a segment tells of it.
func TestNextEpoch(t *testing.T) {
	l := made{view: "4a:A"}.label('A')
	l.Segments = []Named{{ID: erasure.SegmentID{Epoch: 7}}}
	m, err := DecideMembership([]Label{l}, erasure.SegmentID{Epoch: 9})
	require.NoError(t, err)
	require.Equal(t, uint64(10), m.Next)
	m, err = DecideMembership([]Label{l})
	require.NoError(t, err)
	require.Equal(t, uint64(8), m.Next)
}

func TestMembershipBegin(t *testing.T) {
	m, err := DecideMembership([]Label{made{view: "4a:ABCDEF"}.label('A'), made{view: "4a:ABCDEF"}.label('B'),
		made{view: "4a:ABCDEF"}.label('C'), made{view: "4a:ABCDEF"}.label('D')})
	require.NoError(t, err)
	require.True(t, m.OpensWith(disks("ABCD")))
	require.False(t, m.OpensWith(disks("ABC")))
	require.True(t, m.KeepsWith(disks("ABC")))
	require.False(t, m.KeepsWith(disks("AB")))
	require.False(t, m.KeepsWith(nil))

	first := m.Begin(Epoch{5, 1}, disks("ABCD"))
	require.Equal(t, []View{{epochNamed("4a"), disks("ABCDEF")}}, first.Beside)
	require.Equal(t, uint64(6), first.Next)
	// D fails under the labels: the next attempt must keep half of both.
	second := first.Begin(Epoch{6, 1}, disks("ABC"))
	require.Equal(t, []View{{Epoch{5, 1}, disks("ABCD")}, {epochNamed("4a"), disks("ABCDEF")}}, second.Beside)
	require.True(t, second.KeepsWith(disks("ABC")))
	require.False(t, second.KeepsWith(disks("AB")))
	// Of one set of disks the newest epoch is kept.
	again := first.Begin(Epoch{6, 1}, disks("ABCD")).Begin(Epoch{7, 1}, disks("ABCD"))
	require.Equal(t, []View{{Epoch{6, 1}, disks("ABCD")}, {epochNamed("4a"), disks("ABCDEF")}}, again.Beside)
	second.Settle()
	require.Empty(t, second.Beside)
	require.True(t, second.KeepsWith(disks("AB")))
}

func TestMembershipBesideIsBounded(t *testing.T) {
	l := made{view: "99a:AB"}.label('A')
	for i := range MaxBeside {
		l.Beside = append(l.Beside, View{Epoch{uint64(i + 1), 1}, disks("A" + string(rune('b'+i)) + "B")})
	}
	other := l
	other.Disk = disk.ID{15: 'X'}
	_, err := DecideMembership([]Label{l, other})
	require.ErrorIs(t, err, ErrStaleQuorum)
}

func TestKeepsHalf(t *testing.T) {
	for _, c := range []struct {
		view, left int
		ok         bool
	}{{1, 1, true}, {1, 0, false}, {2, 1, true}, {3, 1, false}, {3, 2, true}, {6, 3, true}, {6, 2, false}} {
		require.Equal(t, c.ok, KeepsHalf(c.view, c.left), "%d of %d", c.left, c.view)
	}
}

func TestRefusalNamesDisks(t *testing.T) {
	_, err := DecideMembership([]Label{made{view: "4a:ABC"}.label('A')})
	var r *Refusal
	require.True(t, errors.As(err, &r))
	require.Equal(t, "BC", letters(r.Disks))
	require.Contains(t, r.Error(), disk.ID{15: 'B'}.String())
}
