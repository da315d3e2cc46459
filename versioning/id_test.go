package versioning

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestIDString(t *testing.T) {
	// Strings are in users' hands: they never change.
	for _, tc := range []struct {
		id   ID
		want string
	}{
		{ID{Epoch: 1, Sequence: 1}, "i452rr4909ec3qftc14tcmni3o"},
		{ID{Epoch: 1, Sequence: 2}, "itc3bngsitbcto3dq11j52uigk"},
		{ID{Epoch: 7, Sequence: 1 << 40}, "3ven2a7j231oianq10gujbfa6g"},
		{ID{Epoch: math.MaxUint64, Sequence: math.MaxUint64}, "sjcn2torckm20oo92gv6f93p6o"},
	} {
		if got := tc.id.String(); got != tc.want {
			t.Errorf("%+v is %q, want %q", tc.id, got, tc.want)
		}
		back, err := ParseID(tc.want)
		if err != nil || back != tc.id {
			t.Errorf("ParseID(%q) = %+v, %v, want %+v", tc.want, back, err, tc.id)
		}
	}
}

func TestIDRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := ID{rapid.Uint64().Draw(t, "epoch"), rapid.Uint64Min(1).Draw(t, "sequence")}
		s := id.String()
		if len(s) != StringLen || strings.Trim(s, "0123456789abcdefghijklmnopqrstuvwxyz") != "" {
			t.Fatalf("%+v has the string %q", id, s)
		}
		back, err := ParseID(s)
		if got := string(id.Append([]byte("before"))); got != "before"+s {
			t.Fatalf("%+v appends %q, its string is %q", id, got, s)
		}
		if err != nil || back != id {
			t.Fatalf("%+v came back as %+v, %v", id, back, err)
		}
	})
}

func TestIDNeighboursDiffer(t *testing.T) {
	// Opaque: ten commits in a row do not come out in order, nor share a stem.
	var all []string
	for seq := uint64(1); seq <= 10; seq++ {
		all = append(all, ID{Epoch: 1, Sequence: seq}.String())
	}
	if slices.IsSorted(all) {
		t.Error("the strings of successive versions sort as the versions do")
	}
	for i := 1; i < len(all); i++ {
		if all[i][:4] == all[i-1][:4] {
			t.Errorf("%s and %s look alike", all[i-1], all[i])
		}
	}
}

func TestParseIDRefuses(t *testing.T) {
	good := ID{Epoch: 1, Sequence: 5}.String()
	for _, s := range []string{
		"", "null", good[1:], good + "0", strings.ToUpper(good), "-" + good[1:], "w" + good[1:],
		good[:25] + "1", ID{}.String(), strings.Repeat("\x00", StringLen), strings.Repeat("v", StringLen),
	} {
		if id, err := ParseID(s); !errors.Is(err, ErrID) {
			t.Errorf("ParseID(%q) = %+v, %v, want ErrID", s, id, err)
		}
	}
}

func TestIDCompare(t *testing.T) {
	order := []ID{{9, 1}, {1, 2}, {2, 2}, {1, 3}, {0, math.MaxUint64}}
	for i, a := range order {
		for j, b := range order {
			if got, want := a.Compare(b), sign(i-j); got != want {
				t.Errorf("%+v against %+v is %d, want %d", a, b, got, want)
			}
		}
	}
	if !(ID{}).IsZero() || (ID{Epoch: 1}).IsZero() {
		t.Error("IsZero is wrong")
	}
}

func sign(n int) int { return max(-1, min(1, n)) }

func TestIDAllocs(t *testing.T) {
	id := ID{Epoch: 1, Sequence: 5}
	kept := ""
	if n := testing.AllocsPerRun(100, func() { kept = id.String() }); n > 1 || len(kept) != StringLen {
		t.Errorf("String allocates %v times", n)
	}
}

func BenchmarkIDString(b *testing.B) {
	b.ReportAllocs()
	id := ID{Epoch: 1, Sequence: 5}
	for b.Loop() {
		_ = id.String()
	}
}

func FuzzParseID(f *testing.F) {
	f.Add(ID{Epoch: 1, Sequence: 1}.String())
	f.Add("")
	f.Add(strings.Repeat("v", StringLen))
	f.Fuzz(func(t *testing.T, s string) {
		id, err := ParseID(s)
		if err != nil {
			if !errors.Is(err, ErrID) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		if id.String() != s {
			t.Fatalf("%q parsed to %+v, which is %q", s, id, id.String())
		}
	})
}
