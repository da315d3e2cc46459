package erasure

import (
	"errors"
	"fmt"
	"reflect"
	"testing"
)

func noError(t testing.TB, err error, about ...any) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s%v", describe(about), err)
	}
}

func errorIs(t testing.TB, err, target error, about ...any) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("%serror is %v, want %v", describe(about), err, target)
	}
}

func equal[T any](t testing.TB, want, got T, about ...any) {
	t.Helper()
	if !reflect.DeepEqual(want, got) {
		t.Fatalf("%s\n got %s\nwant %s", describe(about), brief(got), brief(want))
	}
}

func panics(t testing.TB, f func(), about ...any) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Fatalf("%sno panic", describe(about))
		}
	}()
	f()
}

func brief(v any) string {
	s := fmt.Sprintf("%v", v)
	if len(s) > 400 {
		return s[:400] + "..."
	}
	return s
}

// describe formats a format string and its arguments.
func describe(about []any) string {
	if len(about) == 0 {
		return ""
	}
	return fmt.Sprintf(about[0].(string), about[1:]...) + ": "
}
