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
