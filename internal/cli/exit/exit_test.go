package exit

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/admin"
	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/pipe"
)

func TestFrom(t *testing.T) {
	for _, c := range []struct {
		err  error
		code int
	}{
		{nil, 0},
		{errors.New("anything"), Partial},
		{Usagef("", "x"), Usage},
		{fmt.Errorf("around: %w", Silent(143)), 143},
		{&ss.Error{Op: "send", Kind: errors.ErrUnsupported}, Usage},
		{&ss.Error{Kind: ss.ErrUnavailable}, Connect},
		{context.DeadlineExceeded, Connect},
		{&ss.Error{Kind: ss.ErrDenied}, Denied},
		{&ss.Error{Kind: ss.ErrNotFound}, NotFound},
		{&os.PathError{Op: "open", Path: "x", Err: syscall.ENOENT}, NotFound},
		{&ss.Error{Kind: ss.ErrFenced}, Conflict},
		{&ss.Error{Kind: ss.ErrTooLarge}, BadData},
		{&ss.Error{Kind: ss.ErrUnknown}, Incomplete},
		{&ss.GapError{}, Partial},
		{fmt.Errorf("write: %w", syscall.EPIPE), BrokenPipe},
		// A broker that has gone is not the reader of standard output.
		{&ss.Error{Kind: ss.ErrUnavailable, Err: &net.OpError{Op: "write", Net: "tcp", Err: os.NewSyscallError("write", syscall.EPIPE)}}, Connect},
		{Output(&os.PathError{Op: "write", Path: "/dev/stdout", Err: syscall.EPIPE}), BrokenPipe},
		{&pipe.PathError{Kind: pipe.Locked}, Conflict},
		{&pipe.PathError{Kind: pipe.Unsupported}, Usage},
		{&pipe.PathError{Kind: pipe.NotFound}, NotFound},
		{&admin.PartialError{Total: 3, Failures: []admin.Failure{{Err: ss.ErrDenied}}, NotTried: 1}, Partial},
		{&admin.PartialError{Total: 2, Failures: []admin.Failure{{Err: ss.ErrDenied}}, NotTried: 1}, Denied},
		{&ss.Error{Kind: ss.ErrUnavailable, Err: &driver.PartialError{Errs: []error{nil, ss.ErrUnavailable}}}, Partial},
		{&ss.Error{Kind: ss.ErrUnavailable, Err: &driver.PartialError{Errs: []error{ss.ErrUnavailable, ss.ErrUnavailable}}}, Connect},
	} {
		e := From(c.err)
		if (e == nil) != (c.err == nil) || e != nil && e.Code != c.code {
			t.Errorf("%v: %+v, want code %d", c.err, e, c.code)
		}
	}
}

func TestText(t *testing.T) {
	e := &Error{Code: 3, Msg: "reach the broker", Err: errors.New("one\ntwo"), Hint: "start it", Item: "b"}
	if got, want := e.Text("sea streamer"), "sea streamer: reach the broker: one; two (start it)"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := e.JSON(), `{"code":3,"error":"reach the broker: one; two","hint":"start it","item":"b"}`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if s := Silent(141); s.Text("x") != "" || s.JSON() != "" {
		t.Error("it is not silent")
	}
}

func TestJoin(t *testing.T) {
	first, second := Usagef("do this", "first"), errors.New("second")
	if err := Join(nil, nil); err != nil {
		t.Error(err)
	}
	if e := From(Join(nil, second)); e.Error() != "second" {
		t.Error(e)
	}
	if e := From(Join(first, second)); e.Error() != "first; and second" || e.Code != Usage || e.Hint != "do this" {
		t.Errorf("%+v", e)
	}
	if e := From(Join(first, Silent(9))); e.Error() != "first" {
		t.Error(e)
	}
}
