package redis

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// A dialError says which server could not be reached, and why. It comes before
// anything but the greeting was sent.
type dialError struct {
	addr string // the address, behind "sentinel " where it is one
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

var (
	errNotTLS   = errors.New("it does not speak TLS")
	errTLS      = errors.New("it speaks TLS")
	errNotRedis = errors.New("it is not a Redis server")
	errHungUp   = errors.New("it closed the connection")
	errSilent   = errors.New("it accepted the connection and says nothing")
)

// sentinelMark is the TLS configuration by which we know connections to
// sentinels: rueidis hands it to dial, and nobody uses it.
var sentinelMark = &tls.Config{MinVersion: tls.VersionTLS12}

// limit is a little less than the connect time-out, so that who gives up when
// that has passed can say why.
func (c *client) limit() time.Duration { return c.o.ConnectTimeout * 9 / 10 }

// dial opens a connection for rueidis. It ends with the driver, too, so that
// Close need not wait for a server that says nothing.
func (c *client) dial(ctx context.Context, addr string, _ *net.Dialer, mark *tls.Config) (net.Conn, error) {
	to := toServer
	if mark == sentinelMark {
		to = toSentinel
	}
	limit := c.limit()
	within, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	defer context.AfterFunc(c.life, cancel)()
	network := "tcp"
	if c.unix {
		network = "unix"
	}
	conn, err := (&net.Dialer{KeepAlive: 30 * time.Second}).DialContext(within, network, addr)
	if err == nil && c.o.TLS {
		conn, err = c.handshake(within, conn, addr)
	}
	if err != nil {
		// What it was that ended the attempt does not matter: nothing was sent.
		var e *dialError
		if !errors.As(err, &e) {
			e = &dialError{err: err}
		}
		e.addr = string(to) + addr
		if c.unix && errors.Is(err, os.ErrNotExist) {
			e.hint = "is that the server's unixsocket, and does the server run?"
		}
		if ctx.Err() == nil {
			c.lastDial.Store(e)
		}
		return nil, e
	}
	t := &conversation{Conn: conn, c: c, addr: string(to) + addr, role: to, until: time.Now().Add(limit)}
	t.stop = context.AfterFunc(c.life, func() { _ = conn.Close() })
	return t, nil
}

func (c *client) handshake(ctx context.Context, conn net.Conn, addr string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = addr
	}
	config, err := c.o.tlsConfig(host)
	if err != nil {
		conn.Close()
		return nil, err
	}
	t := tls.Client(conn, config)
	if err := t.HandshakeContext(ctx); err != nil {
		conn.Close()
		e := &dialError{err: err}
		var header tls.RecordHeaderError
		var verify *tls.CertificateVerificationError
		switch {
		case errors.As(err, &header):
			e.err, e.hint = fmt.Errorf("%w (%w)", errNotTLS, err), "write redis:// without TLS, or use the port for TLS"
		case errors.As(err, &verify):
			e.hint = "give ca_file of who signed it, or server_name"
		case isAlert(err):
			e.hint = "give cert_file and key_file that it accepts, or server_name"
		case errors.Is(err, context.DeadlineExceeded):
			e.err, e.hint = fmt.Errorf("no answer to TLS (%w)", err), "it may not speak TLS: write redis:// without TLS"
		case isEOF(err):
			e.err, e.hint = fmt.Errorf("%w (%w)", errHungUp, err), "it may not speak TLS: write redis:// without TLS"
		}
		return nil, e
	}
	return t, nil
}

// A conversation looks at the first byte that a server says. Redis answers the
// greeting with a map or a list, or with an error; a TLS alert begins with 21,
// and other protocols mostly with a letter or a digit. The first byte has to
// come within the connect time-out: who says nothing was not reached. Until it
// has come nothing but the greeting was sent, so that what fails is a
// dialError, after which writes are known not to have happened.
//
// rueidis greets in the goroutine that dials, and only then hands the
// connection to others, so that begun needs no lock. Close may come at any
// time.
type conversation struct {
	net.Conn
	c     *client
	addr  string
	role  role
	until time.Time // for the first byte
	asked time.Time // the deadline that rueidis wants
	begun bool      // the first byte has come
	stop  func() bool
	ended atomic.Bool // by us
}

func (t *conversation) RemoteAddr() net.Addr { return peer{t.Conn.RemoteAddr(), t.role} }

func (t *conversation) SetDeadline(d time.Time) error {
	if !t.begun {
		if t.asked = d; d.IsZero() || d.After(t.until) {
			d = t.until
		}
	}
	return t.Conn.SetDeadline(d)
}

func (t *conversation) Close() error {
	t.ended.Store(true)
	t.stop()
	return t.Conn.Close()
}

func (t *conversation) Write(b []byte) (int, error) {
	n, err := t.Conn.Write(b)
	if err != nil && !t.begun {
		return n, t.failed(err)
	}
	return n, err
}

func (t *conversation) Read(b []byte) (int, error) {
	n, err := t.Conn.Read(b)
	if t.begun {
		if err != nil && !t.ended.Load() && t.role == toServer {
			t.c.suspect(true)
		}
		return n, err
	}
	if n == 0 {
		if err != nil {
			err = t.failed(err)
		}
		return 0, err
	}
	switch b[0] {
	case '%', '*', '-', '+':
		t.begun = true
		t.c.lastDial.Store(nil)
		if t.role == toServer {
			t.c.suspect(false)
		}
		_ = t.Conn.SetDeadline(t.asked)
		return n, err
	case 21:
		return 0, t.fail(errTLS, t.c.tlsHint())
	}
	return 0, t.fail(fmt.Errorf("%w: it answered %q", errNotRedis, firstLine(b[:n])), "is this the right port?")
}

// failed is why the greeting failed.
func (t *conversation) failed(err error) error {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return t.fail(errSilent, "is it a Redis server, "+map[bool]string{false: "and does it want TLS (rediss://)?", true: "with TLS?"}[t.c.o.TLS])
	case isAlert(err):
		return t.fail(err, "give cert_file and key_file that it accepts")
	case isEOF(err) && !t.c.o.TLS:
		return t.fail(errHungUp, "it may be no Redis server, or want TLS: "+t.c.tlsHint())
	case isEOF(err):
		return t.fail(errHungUp, "it may want cert_file and key_file, or be no Redis server")
	}
	return t.fail(err, "")
}

func (t *conversation) fail(err error, hint string) error {
	e := &dialError{addr: t.addr, err: err, hint: hint}
	if !t.ended.Load() {
		t.c.lastDial.Store(e)
	}
	return e
}

func (c *client) tlsHint() string {
	if c.sentinel {
		return "write " + SchemeSentinelTLS + "://"
	}
	return "write " + SchemeTLS + "://"
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

func firstLine(b []byte) string {
	b, _, _ = bytes.Cut(b[:min(len(b), 40)], []byte("\n"))
	return strings.TrimSpace(string(b))
}
