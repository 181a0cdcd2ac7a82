// Package exit maps what went wrong to one line and an exit code.
//
// The codes are stable: 0 ok, 1 negative or partial result, 2 usage, 3 cannot
// connect or time-out, 4 not authorised, 5 not found, 6 already exists or
// conflict, 7 refused, 8 bad data, 9 delivery incomplete, 128+n ended by
// signal n before the work was finished, 141 the reader of standard output has
// gone.
package exit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/admin"
	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/pipe"
)

// The exit codes.
const (
	OK         = 0
	Partial    = 1
	Usage      = 2
	Connect    = 3
	Denied     = 4
	NotFound   = 5
	Conflict   = 6
	Refused    = 7
	BadData    = 8
	Incomplete = 9
	Signal     = 128 // plus the signal's number
	BrokenPipe = 141
)

// An Error is a failure with its exit code.
type Error struct {
	Code int
	Msg  string // what was tried, on what, what is wrong; "" says nothing at all
	Hint string // what to do about it
	Item string // what it is about, such as a file or a stream
	Err  error
}

// Error is the message without the hint.
func (e *Error) Error() string {
	switch {
	case e.Err == nil:
		return e.Msg
	case e.Msg == "":
		return e.Err.Error()
	}
	return e.Msg + ": " + e.Err.Error()
}

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.Err }

// Usagef is an error in how a command was called.
func Usagef(hint, format string, args ...any) *Error {
	return &Error{Code: Usage, Msg: fmt.Sprintf(format, args...), Hint: hint}
}

// OfFlag is err of a flag's value: a mistake in the call, unless the backend says
// what it is.
func OfFlag(flag string, err error) error {
	e := From(err)
	if e.Code == Partial {
		return Usagef("", "%s: %v", flag, err)
	}
	return &Error{Code: e.Code, Msg: flag, Err: err, Hint: e.Hint, Item: e.Item}
}

// Silent ends with a code and no word.
func Silent(code int) *Error { return &Error{Code: code} }

// From is err as an Error, with the code and hint that its kind deserves; nil
// for nil.
func From(err error) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	// A connection's EPIPE is the broker's end, and no reader of ours.
	if errors.Is(err, syscall.EPIPE) && !errors.As(err, new(*net.OpError)) {
		return Silent(BrokenPipe)
	}
	var p *pipe.PathError
	if errors.As(err, &p) {
		return fromPipe(p)
	}
	e = &Error{Code: Partial, Err: err}
	// The others worked: that is a partial result, whatever kind these are.
	var some *admin.PartialError
	var things *driver.PartialError
	ofMany := errors.As(err, &some) && len(some.Failures)+some.NotTried < some.Total || errors.As(err, &things) && slices.Contains(things.Errs, nil)
	for _, k := range kinds {
		if !ofMany && errors.Is(err, k.kind) {
			e.Code, e.Hint = k.code, k.hint
			break
		}
	}
	var s *ss.Error
	if errors.As(err, &s) {
		e.Item = s.Shard.Stream
	}
	var path *fs.PathError
	if errors.As(err, &path) {
		e.Item = path.Path
	}
	return e
}

// Join is two failures as one: the code and hint of the first, and what both
// say. Either may be nil.
func Join(first, second error) error {
	if first == nil || second == nil {
		return errors.Join(first, second)
	}
	a, b := *From(first), From(second)
	if b.Error() == "" {
		return &a
	}
	a.Err = errors.New(strings.TrimPrefix(a.Error()+"; and "+b.Error(), "; and "))
	a.Msg = ""
	return &a
}

// kinds are looked through in order: the first that fits decides.
var kinds = []struct {
	kind error
	code int
	hint string
}{
	{errors.ErrUnsupported, Usage, "sea streamer drivers shows what each backend can do"},
	{ss.ErrNotFound, NotFound, ""},
	{ss.ErrDenied, Denied, "check the user and password, and what they may do on this broker"},
	{ss.ErrExists, Conflict, ""},
	{ss.ErrTooLarge, BadData, "raise the limit of the broker or stream, or leave such messages out with --max-message SIZE --oversize skip"},
	{ss.ErrFenced, Conflict, "another process has taken over: run one of them, or give each a group of its own"},
	{ss.ErrLost, Partial, "--on-gap warn goes on behind what is missing"},
	{ss.ErrUnavailable, Connect, "check that the broker runs and that --broker names it"},
	{ss.ErrUnknown, Incomplete, ""},
	{ss.ErrInvalid, Usage, ""},
	{context.DeadlineExceeded, Connect, "check that the broker runs and that --broker names it"},
	{fs.ErrNotExist, NotFound, ""},
	{fs.ErrPermission, Denied, ""},
}

func fromPipe(p *pipe.PathError) *Error {
	e := &Error{Hint: p.Hint, Item: p.Path, Msg: p.Path + ": " + p.Reason, Err: p.Err}
	switch p.Kind {
	case pipe.Exists, pipe.Locked:
		e.Code = Conflict
	case pipe.NotFound:
		e.Code = NotFound
	case pipe.Denied:
		e.Code = Denied
	case pipe.Unsupported:
		e.Code = Usage
	default:
		e.Code = Partial
	}
	return e
}

// Text is the line for standard error, or "" where nothing is to be said.
func (e *Error) Text(program string) string {
	msg := oneLine(e.Error())
	if msg == "" {
		return ""
	}
	if e.Hint != "" {
		msg += " (" + e.Hint + ")"
	}
	return program + ": " + msg
}

// JSON is the line for standard error with --errors json, or "".
func (e *Error) JSON() string {
	if e.Error() == "" {
		return ""
	}
	b, err := json.Marshal(struct {
		Code  int    `json:"code"`
		Error string `json:"error"`
		Hint  string `json:"hint,omitempty"`
		Item  string `json:"item,omitempty"`
	}{e.Code, oneLine(e.Error()), e.Hint, e.Item})
	if err != nil { // there is nothing in it that cannot be written
		return e.Error()
	}
	return string(b)
}

// oneLine joins the lines of errors.Join and of clients that are wordy.
func oneLine(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}

// Output is err where it means that standard output cannot be written.
func Output(err error) error {
	if err == nil || errors.Is(err, syscall.EPIPE) {
		return err
	}
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	if errors.Is(err, os.ErrClosed) || errors.Is(err, syscall.EBADF) {
		return &Error{Code: Incomplete, Msg: "standard output is closed", Hint: "redirect it to a file or a pipe"}
	}
	return &Error{Code: Incomplete, Msg: "write to standard output", Err: err}
}
