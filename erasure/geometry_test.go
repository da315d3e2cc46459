package erasure

import "testing"

func TestParseGeometry(t *testing.T) {
	for s, want := range map[string]Geometry{
		"1+0": {1, 0}, "4+2": {4, 2}, "17+3": {17, 3}, "32+16": {32, 16},
	} {
		g, err := ParseGeometry(s)
		noError(t, err, "%q", s)
		equal(t, want, g)
		equal(t, s, g.String())
	}
	for _, s := range []string{
		"", "4", "+", "4+", "+2", "4+2+1", "4 + 2", " 4+2", "+4+2", "4++2", "4+-2", "-4+2", "04+2", "4+02", "4+2 ",
		"4-2", "0x4+2", "0+2", "33+2", "4+17", "99999999999999999999+1", "٤+2",
	} {
		g, err := ParseGeometry(s)
		errorIs(t, err, ErrGeometry, "%q", s)
		equal(t, Geometry{}, g)
	}
}

func TestGeometryValidate(t *testing.T) {
	for k := -1; k <= MaxData+1; k++ {
		for m := -1; m <= MaxParity+1; m++ {
			err := Geometry{k, m}.Validate()
			if k >= 1 && k <= 32 && m >= 0 && m <= 16 {
				noError(t, err, "%d+%d", k, m)
			} else {
				errorIs(t, err, ErrGeometry, "%d+%d", k, m)
			}
		}
	}
	equal(t, 6, Geometry{4, 2}.Shards())
}

func TestNarrow(t *testing.T) {
	for _, tc := range []struct {
		from  string
		disks int
		to    string // "" is none
	}{
		{"4+2", 60, "4+2"}, {"4+2", 6, "4+2"}, {"4+2", 5, "3+2"}, {"4+2", 4, "2+2"}, {"4+2", 3, "1+2"},
		{"4+2", 2, ""}, {"4+2", 0, ""}, {"4+2", -1, ""},
		{"2+1", 2, "1+1"}, {"1+1", 2, "1+1"}, {"1+1", 1, ""}, {"2+1", 1, ""},
		{"3+0", 2, "2+0"}, {"3+0", 1, "1+0"}, {"3+0", 0, ""},
		{"32+16", 47, "31+16"}, {"32+16", 17, "1+16"}, {"32+16", 16, ""},
	} {
		g, err := ParseGeometry(tc.from)
		noError(t, err)
		to, ok := g.Narrow(tc.disks)
		equal(t, tc.to != "", ok, "%s on %d disks", tc.from, tc.disks)
		if ok {
			equal(t, tc.to, to.String(), "%s on %d disks", tc.from, tc.disks)
			noError(t, to.Validate())
		} else {
			equal(t, Geometry{}, to)
		}
	}
}
