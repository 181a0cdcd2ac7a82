package driver

import (
	"errors"
	"fmt"
	"strings"
)

// The kinds of failure. Test for them with errors.Is; errors.ErrUnsupported
// belongs to them for what a backend cannot do.
var (
	ErrClosed      = errors.New("closed")
	ErrNotFound    = errors.New("not found")
	ErrExists      = errors.New("already exists")
	ErrInvalid     = errors.New("invalid")
	ErrDenied      = errors.New("not authorised")
	ErrTooLarge    = errors.New("too large")
	ErrUnavailable = errors.New("unavailable")                 // temporary: trying again may help
	ErrUnknown     = errors.New("outcome unknown")             // it may or may not have happened
	ErrAborted     = errors.New("aborted")                     // none of it happened; the same may be tried again
	ErrFenced      = errors.New("taken over by somebody else") // another owner has taken what this one held
	ErrLost        = errors.New("lost")                        // messages or progress that should be there are gone
)

// An Error is a failure with what was tried (Op, such as "send" or "open
// kafka://h:9092"), on which shard where that is known, its kind (one of the
// sentinels of this package, or errors.ErrUnsupported) and what the client
// underneath said. Both the kind and the cause are found by errors.Is and
// errors.As.
type Error struct {
	Op    string
	Shard Shard
	Kind  error
	Err   error
}

// Error is one line: what was tried, on what, what is wrong.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.Shard != (Shard{}) {
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(e.Shard.String())
	}
	switch {
	case e.Err != nil:
		// The kind is said only where the cause does not say it already.
		if e.Kind != nil && !errors.Is(e.Err, e.Kind) && e.Kind != ErrInvalid {
			fmt.Fprintf(&b, ": %v", e.Kind)
		}
		fmt.Fprintf(&b, ": %v", e.Err)
	case e.Kind != nil:
		fmt.Fprintf(&b, ": %v", e.Kind)
	}
	return strings.TrimPrefix(b.String(), ": ")
}

// Unwrap is the kind and the cause.
func (e *Error) Unwrap() []error {
	var es []error
	if e.Kind != nil {
		es = append(es, e.Kind)
	}
	if e.Err != nil {
		es = append(es, e.Err)
	}
	return es
}

// Errorf is an Error of the given kind whose cause is the formatted text.
func Errorf(kind error, op, format string, args ...any) *Error {
	return &Error{Op: op, Kind: kind, Err: fmt.Errorf(format, args...)}
}

// GapCause says why messages are missing.
type GapCause uint8

// The causes of a gap.
const (
	GapTrimmed   GapCause = iota // retention or a trim removed them before they were read
	GapTruncated                 // the end of the shard went back, for instance after power loss
	GapCorrupt                   // they are there and cannot be read
	GapRecreated                 // the stream was deleted and made anew
)

// String says the cause in one word.
func (c GapCause) String() string {
	switch c {
	case GapTrimmed:
		return "trimmed"
	case GapTruncated:
		return "truncated"
	case GapCorrupt:
		return "corrupt"
	case GapRecreated:
		return "recreated"
	}
	return fmt.Sprintf("cause(%d)", uint8(c))
}

// A GapError says that the messages of Shard from From up to and without To
// cannot be delivered. Reading goes on at To. It is an ErrLost.
// Where a shard was truncated or made anew To may be below From: what lies
// between was replaced, and reading goes back.
type GapError struct {
	Shard    Shard
	From, To Seq
	Cause    GapCause
}

// Error names the range and the cause.
func (e *GapError) Error() string {
	return fmt.Sprintf("gap in %v: sequences %v up to %v are missing (%v); reading can go on at %v", e.Shard, e.From, e.To, e.Cause, e.To)
}

// Is makes a GapError an ErrLost.
func (e *GapError) Is(target error) bool { return target == ErrLost }
