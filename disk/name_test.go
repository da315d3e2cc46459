package disk_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/cairnstore/cairn/disk"
)

func FuzzValidName(f *testing.F) {
	for _, s := range []string{"", ".", "..", "a", "a.b-0", "A", "a/b", "é", "a\x00", "\xff", "-", "a_", strings.Repeat("z", 128), strings.Repeat("z", 129)} {
		f.Add(s)
	}
	valid := regexp.MustCompile(`\A[a-z0-9-][a-z0-9.-]{0,127}\z`)
	f.Fuzz(func(t *testing.T, name string) {
		err := disk.ValidName(name)
		if (err == nil) != valid.MatchString(name) {
			t.Fatalf("ValidName(%q) = %v", name, err)
		}
		if err != nil && !errors.Is(err, disk.ErrName) {
			t.Fatalf("%v is not ErrName", err)
		}
		if err != nil && len(err.Error()) > 8*disk.MaxName {
			t.Fatalf("error of %d bytes", len(err.Error()))
		}
	})
}
