// Package conn is what every client of a broker over the network needs when it
// connects: why that failed in words for a user, TLS from files, passwords
// from files.
package conn

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
)

// An Error says which server could not be reached, and why. It comes before
// anything but a greeting was sent.
type Error struct {
	Addr string
	Err  error
	Hint string // what to do; may be empty
}

// Error is one line.
func (e *Error) Error() string {
	s := "cannot connect to " + e.Addr + ": " + reason(e.Err)
	if e.Hint != "" {
		s += ": " + e.Hint
	}
	return s
}

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.Err }

// Causes that several protocols have.
var (
	ErrNotTLS = errors.New("it does not speak TLS")
	ErrTLS    = errors.New("it speaks TLS")
	ErrHungUp = errors.New("it closed the connection")
	ErrSilent = errors.New("it accepted the connection and says nothing")
)

// reason is what the operating system said, without the addresses around it.
func reason(err error) string {
	var dns *net.DNSError
	if errors.As(err, &dns) {
		if dns.IsNotFound {
			return "no such host"
		}
		return dns.Err
	}
	var op *net.OpError
	if errors.As(err, &op) {
		if op.Timeout() {
			return "no answer"
		}
		var sys interface{ Unwrap() error }
		if errors.As(op.Err, &sys) {
			return sys.Unwrap().Error()
		}
		return op.Err.Error()
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer"
	}
	return err.Error()
}

// IsEOF reports whether the other side has ended the connection.
func IsEOF(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// IsAlert reports whether the other side has refused our half of TLS.
func IsAlert(err error) bool {
	var op *net.OpError // crypto/tls gives alerts of the other side no type of their own
	return errors.As(err, &op) && op.Op == "remote error"
}

// FirstLine is the beginning of what a server of another kind said, to be
// shown with %q.
func FirstLine(b []byte) string {
	b, _, _ = bytes.Cut(b[:min(len(b), 40)], []byte("\n"))
	return strings.TrimSpace(string(b))
}
