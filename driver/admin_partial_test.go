package driver

import (
	"errors"
	"testing"
)

func TestPartialError(t *testing.T) {
	a, b := Errorf(ErrNotFound, "", "a"), errors.New("b")
	for _, test := range []struct {
		errs []error
		text string // "" is no error
		kind error
	}{
		{nil, "", nil},
		{[]error{nil, nil}, "", nil},
		{[]error{a}, "not found: a", ErrNotFound},
		{[]error{nil, a}, "not found: a", ErrNotFound},
		{[]error{b, nil, a, ErrNotTried}, "b, and 1 more", ErrNotFound},
		{[]error{nil, ErrNotTried}, "not tried", nil},
	} {
		err := Partial(test.errs)
		text := ""
		if err != nil {
			text = err.Error()
		}
		if text != test.text || test.kind != nil && !errors.Is(err, test.kind) {
			t.Errorf("%v: %q, want %q of kind %v", test.errs, text, test.text, test.kind)
		}
		if len(test.errs) > 1 && errors.Is(err, ErrNotTried) {
			t.Errorf("%v: what was not tried is no failure", test.errs)
		}
	}
	var some *PartialError
	if err := RefusedAt(3, 1, a); !errors.As(err, &some) || some.Errs[1] != error(a) || !errors.Is(some.Errs[0], ErrNotTried) || !errors.Is(some.Errs[2], ErrNotTried) {
		t.Errorf("refused: %v", err)
	}
}
