package driver

import (
	"errors"
	"fmt"
	"slices"
)

// ErrNotTried is the entry in a [PartialError] of what was left as it was because
// of what failed before it.
var ErrNotTried = errors.New("not tried")

// A PartialError is the error of a call on many things where it is known of each
// what became of it. After any other error of such a call each may have been done
// or not.
type PartialError struct {
	// Errs has an entry for each thing that the call was given, in that order:
	// nil where it was done. At least one is not nil.
	Errs []error
}

// Partial is the error of a call whose things ended as errs say: nil where none
// failed, the error itself of the only thing, or a [PartialError].
func Partial(errs []error) error {
	switch {
	case !slices.ContainsFunc(errs, func(err error) bool { return err != nil }):
		return nil
	case len(errs) == 1:
		return errs[0]
	}
	return &PartialError{Errs: errs}
}

// RefusedAt is the error of a call on n things that was given up before it did
// anything, because of what is wrong with the i-th.
func RefusedAt(n, i int, err error) error {
	errs := slices.Repeat([]error{ErrNotTried}, n)
	errs[i] = err
	return Partial(errs)
}

// Error is the first failure, and how many more there are, in one line.
func (e *PartialError) Error() string {
	failed := e.Unwrap()
	switch len(failed) {
	case 0:
		return ErrNotTried.Error()
	case 1:
		return failed[0].Error()
	}
	return fmt.Sprintf("%v, and %d more", failed[0], len(failed)-1)
}

// Unwrap is what failed.
func (e *PartialError) Unwrap() []error {
	return slices.DeleteFunc(slices.Clone(e.Errs), func(err error) bool { return err == nil || errors.Is(err, ErrNotTried) })
}
