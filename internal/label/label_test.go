package label

import (
	"bytes"
	"errors"
	"flag"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/disk/faultdisk"
	"github.com/cairnstore/cairn/disk/memdisk"
	"github.com/cairnstore/cairn/erasure"
	"github.com/cairnstore/cairn/internal/protocol"
)

var update = flag.Bool("update", false, "rewrite golden files")

func sample() *protocol.Label {
	a, b, c := disk.ID{1}, disk.ID{2}, disk.ID{0xff, 15: 3}
	return &protocol.Label{
		Pool: erasure.PoolID{9, 8, 7}, Disk: b, Generation: 7,
		Epoch: protocol.Epoch{Number: 5, Random: 0xdeadbeef}, Parent: protocol.Epoch{Number: 4, Random: 1},
		Members: []disk.ID{a, b, c}, Beside: []protocol.View{
			{Epoch: protocol.Epoch{Number: 4, Random: 1}, Members: []disk.ID{a, b}},
			{Epoch: protocol.Epoch{Number: 3, Random: 2}, Members: []disk.ID{c}},
		},
		Segments: []protocol.Named{
			{ID: erasure.SegmentID{Epoch: 5, Random: 0xdeadbeef, Counter: 1}, Parity: 2, Disks: []disk.ID{c, a, b}},
			{ID: erasure.SegmentID{Epoch: 4, Random: 1, Counter: 3}, Parity: 1, Disks: []disk.ID{a, b}},
		},
		Acked: 1 << 40, Class: 1, Geometry: erasure.Geometry{Data: 4, Parity: 2}, Created: 1_700_000_000_000_000_000,
	}
}

func TestGolden(t *testing.T) {
	got, err := Append(nil, sample())
	require.NoError(t, err)
	if *update {
		require.NoError(t, os.WriteFile("testdata/label.golden", got, 0o666))
	}
	want, err := os.ReadFile("testdata/label.golden")
	require.NoError(t, err)
	require.Equal(t, want, got, "the label format changed: it needs a new version")
	l, err := Decode(want)
	require.NoError(t, err)
	require.Equal(t, sample(), l)
}

func TestEveryFlippedBitIsFound(t *testing.T) {
	b, err := Append(nil, sample())
	require.NoError(t, err)
	for i := range b {
		for bit := range 8 {
			b[i] ^= 1 << bit
			_, err := Decode(b)
			require.ErrorIs(t, err, ErrLabel, "byte %d bit %d", i, bit)
			b[i] ^= 1 << bit
		}
	}
	for n := range b {
		_, err := Decode(b[:n])
		require.ErrorIs(t, err, ErrLabel)
	}
}

func TestNewerFormatIsNamed(t *testing.T) {
	b := bytes.Clone(newer(t))
	_, err := Decode(b)
	var format *FormatError
	require.ErrorAs(t, err, &format)
	require.Equal(t, FormatError{Have: 2, Want: 1}, *format)
}

func TestTooMuchForALabel(t *testing.T) {
	l := sample()
	for range 5000 {
		l.Members = append(l.Members, disk.ID{1})
	}
	_, err := Append(nil, l)
	require.ErrorIs(t, err, ErrLabel)
}

func TestWriteAndRead(t *testing.T) {
	d := memdisk.New("d")
	s := NewStore(d)
	_, state, err := s.Read()
	require.NoError(t, err)
	require.Equal(t, Blank, state)
	for gen := uint64(1); gen < 5; gen++ {
		l := sample()
		require.NoError(t, s.Write(l))
		require.NoError(t, s.Close())
		s = NewStore(d)
		got, state, err := s.Read()
		require.NoError(t, err)
		require.Equal(t, Labelled, state)
		require.Equal(t, gen, got.Generation)
		require.Equal(t, sample().Segments, got.Segments)
	}
	require.NoError(t, s.Close())
}

// Whichever copies rot, the label is read from one that did not; when all
// four are gone the disk is damaged, not blank.
func TestRottenCopies(t *testing.T) {
	for mask := range 16 {
		d := memdisk.New("d")
		s := NewStore(d)
		require.NoError(t, s.Write(sample()))
		require.NoError(t, s.Close())
		for c := range 4 {
			if mask&(1<<c) != 0 {
				require.NoError(t, d.Corrupt(Files[c/2], int64(c%2)*SlotSize+40, 1))
			}
		}
		got, state, err := NewStore(d).Read()
		if mask == 15 {
			require.Equal(t, Damaged, state)
			require.ErrorIs(t, err, ErrLabel)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, Labelled, state)
		require.Equal(t, sample().Epoch, got.Epoch)
	}
}

// A power cut at any operation of a rewrite leaves the old or the new label,
// also when the rewrite before was cut as well.
func TestPowerCutLeavesOneWholeGeneration(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 1))
		d := memdisk.New("d")
		s := NewStore(d)
		first := sample()
		first.Acked = 1
		require.NoError(t, s.Write(first))
		low := uint64(1)
		for round := uint64(2); round < 6; round++ {
			m := d.Machine()
			m.CutAt(m.Ops() + 1 + rng.Int64N(8))
			l := sample()
			l.Acked = round
			err := s.Write(l)
			m = m.Restart(rng)
			d = m.Disks()[0]
			s = NewStore(d)
			got, state, readErr := s.Read()
			require.NoError(t, readErr, "seed %d", seed)
			require.Equal(t, Labelled, state, "seed %d", seed)
			if err == nil {
				require.Equal(t, round, got.Acked, "seed %d", seed)
			}
			require.GreaterOrEqual(t, got.Acked, low, "seed %d", seed)
			require.LessOrEqual(t, got.Acked, round, "seed %d", seed)
			low = got.Acked
		}
	}
}

// The very first label, cut anywhere, leaves a blank disk or a label.
func TestPowerCutOfTheFirstLabel(t *testing.T) {
	for cut := int64(1); cut <= 8; cut++ {
		for seed := range uint64(50) {
			d := memdisk.New("d")
			d.Machine().CutAt(cut)
			err := NewStore(d).Write(sample())
			d = d.Machine().Restart(rand.New(rand.NewPCG(seed, 2))).Disks()[0]
			_, state, readErr := NewStore(d).Read()
			require.NoError(t, readErr, "cut %d seed %d", cut, seed)
			if err == nil {
				require.Equal(t, Labelled, state)
			} else {
				require.Contains(t, []State{Blank, Labelled}, state)
			}
		}
	}
}

func TestForeignFiles(t *testing.T) {
	d := memdisk.New("d")
	_, err := d.Create("somebody.txt", 3)
	require.NoError(t, err)
	_, state, err := NewStore(d).Read()
	require.Equal(t, Foreign, state)
	require.ErrorContains(t, err, "somebody.txt")
}

func TestUnreadableDisk(t *testing.T) {
	boom := errors.New("EIO")
	d := faultdisk.Wrap(memdisk.New("d"))
	d.Add(faultdisk.Rule{Ops: faultdisk.OpList, Err: boom})
	_, _, err := NewStore(d).Read()
	require.ErrorIs(t, err, boom)
}

func newer(t testing.TB) []byte {
	b, err := Append(nil, sample())
	require.NoError(t, err)
	body := b[:len(b)-sumLen]
	body[9] = 2
	return seal(body)
}
