package kafka

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// A dialer opens connections to brokers and remembers the last failure, since
// franz-go goes on trying and reports only that time ran out.
type dialer struct {
	o    *Options
	last atomic.Pointer[dialError]
}

// limit is a little less than the connect time-out, so that who gives up when
// that has passed can say why.
func (d *dialer) limit() time.Duration { return d.o.ConnectTimeout * 9 / 10 }

// A dialError says which broker could not be reached, and why.
type dialError struct {
	addr string
	err  error
	hint string
}

func (e *dialError) Error() string {
	s := "cannot connect to " + e.addr + ": " + reason(e.err)
	if e.hint != "" {
		s += ": " + e.hint
	}
	return s
}

func (e *dialError) Unwrap() error { return e.err }

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

func (d *dialer) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	limit := d.limit()
	within, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	conn, err := (&net.Dialer{KeepAlive: 30 * time.Second}).DialContext(within, network, addr)
	if err == nil && d.o.TLS {
		conn, err = d.handshake(within, conn, addr)
	}
	if err != nil {
		if ctx.Err() != nil { // the caller gave up: nobody is to blame
			return nil, err
		}
		var e *dialError
		if !errors.As(err, &e) {
			e = &dialError{addr: addr, err: err}
		}
		d.last.Store(e)
		return nil, e
	}
	return &conversation{Conn: conn, d: d, addr: addr, until: time.Now().Add(limit)}, nil
}

func (d *dialer) handshake(ctx context.Context, conn net.Conn, addr string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = addr
	}
	c, err := d.o.tlsConfig(host)
	if err != nil {
		conn.Close()
		return nil, err
	}
	t := tls.Client(conn, c)
	if err := t.HandshakeContext(ctx); err != nil {
		conn.Close()
		e := &dialError{addr: addr, err: err}
		var header tls.RecordHeaderError
		var verify *tls.CertificateVerificationError
		switch {
		case errors.As(err, &header):
			e.err, e.hint = fmt.Errorf("%w (%w)", errNotTLS, err), "leave out tls, or use the port for TLS"
		case errors.As(err, &verify):
			e.hint = "give ca_file of who signed it, or server_name"
		case errors.Is(err, context.DeadlineExceeded):
			e.hint = "perhaps it does not speak TLS: leave out tls"
		case isAlert(err):
			e.hint = "give cert_file and key_file that it accepts, or server_name"
		case isEOF(err):
			e.err, e.hint = fmt.Errorf("%w (%w)", errHungUp, err), "it may not speak TLS: leave out tls"
		}
		return nil, e
	}
	return t, nil
}

var (
	errNotTLS   = errors.New("it does not speak TLS")
	errTLS      = errors.New("it speaks TLS")
	errNotKafka = errors.New("it is not a Kafka broker")
	errHungUp   = errors.New("it closed the connection")
	errSilent   = errors.New("it accepted the connection and says nothing")
)

// A conversation looks at the first byte that a server says. An answer of
// Kafka begins with its length, which is below 16 MiB when it is the first
// one, so the first byte is zero; a TLS alert begins with 21, and other
// protocols with a letter or a sign. The first byte has to come within the
// connect time-out: who says nothing was not reached.
type conversation struct {
	net.Conn
	d     *dialer
	addr  string
	until time.Time // for the first byte
	begun bool      // it came; reads and read deadlines come from one goroutine at a time
	reads int
}

func (c *conversation) SetReadDeadline(t time.Time) error {
	if !c.begun && (t.IsZero() || t.After(c.until)) {
		t = c.until
	}
	return c.Conn.SetReadDeadline(t)
}

func (c *conversation) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.begun {
		if c.reads <= authReads && c.d.o.SASL != "" {
			c.authenticating(err)
		}
		return n, err
	}
	switch {
	case n > 0 && b[0] == 0:
		c.begun = true
		if c.d.o.SASL == "" {
			c.d.last.Store(nil)
		}
		_ = c.Conn.SetReadDeadline(time.Time{}) // franz-go sets its own for what comes next
		return n, err
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.d.last.Store(&dialError{addr: c.addr, err: errSilent, hint: "is it a Kafka broker?"})
	case n > 0:
		e := &dialError{addr: c.addr, err: fmt.Errorf("%w: it answered %q", errNotKafka, firstLine(b[:n])), hint: "is this the right port?"}
		if b[0] == 21 {
			e = &dialError{addr: c.addr, err: errTLS, hint: "add tls"}
		}
		c.d.last.Store(e)
		return 0, e
	case isAlert(err):
		e := &dialError{addr: c.addr, err: err, hint: "give cert_file and key_file that it accepts"}
		c.d.last.Store(e)
		return 0, e
	case isEOF(err):
		c.d.last.Store(&dialError{addr: c.addr, err: errHungUp, hint: "it may want TLS or a user, or be no Kafka broker"})
	}
	return n, err
}

// isEOF reports whether the other side has ended the connection.
func isEOF(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// isAlert reports whether the other side has refused our half of TLS.
func isAlert(err error) bool {
	var op *net.OpError // crypto/tls gives alerts of the other side no type of their own
	return errors.As(err, &op) && op.Op == "remote error"
}

// authReads is how many reads authentication takes at least: with one more the
// broker has let us in.
const authReads = 4

// authenticating looks at reads that may be part of authentication: some
// servers do not say that they refuse a user, and hang up.
func (c *conversation) authenticating(err error) {
	switch c.reads++; {
	case isEOF(err):
		c.d.last.Store(&dialError{addr: c.addr, err: errHungUp, hint: fmt.Sprintf("is the password of user %q right, and sasl=%s what the user has?", c.d.o.User, c.d.o.SASL)})
	case err == nil && c.reads > authReads:
		c.d.last.Store(nil)
	}
}

func firstLine(b []byte) []byte {
	b, _, _ = bytes.Cut(b[:min(len(b), 40)], []byte("\n"))
	return bytes.TrimSpace(b)
}
