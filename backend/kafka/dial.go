package kafka

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seastreamer/seastreamer/internal/conn"
)

// A dialer opens connections to brokers and remembers the last failure, since
// franz-go goes on trying and reports only that time ran out.
type dialer struct {
	o    *Options
	last atomic.Pointer[conn.Error]
}

// limit is a little less than the connect time-out, so that who gives up when
// that has passed can say why.
func (d *dialer) limit() time.Duration { return d.o.ConnectTimeout * 9 / 10 }

func (d *dialer) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	limit := d.limit()
	within, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	nc, err := (&net.Dialer{KeepAlive: 30 * time.Second}).DialContext(within, network, addr)
	if err == nil && d.o.TLS {
		nc, err = d.o.tls().Handshake(within, nc, addr, "leave out tls")
	}
	if err != nil {
		if ctx.Err() != nil { // the caller gave up: nobody is to blame
			return nil, err
		}
		var e *conn.Error
		if !errors.As(err, &e) {
			e = &conn.Error{Addr: addr, Err: err}
		}
		d.last.Store(e)
		return nil, e
	}
	return &conversation{Conn: nc, d: d, addr: addr, until: time.Now().Add(limit)}, nil
}

var errNotKafka = errors.New("it is not a Kafka broker")

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
	reads int

	mu    sync.Mutex // deadlines also come from who closes the client
	begun bool       // the first byte came; written by the one goroutine that reads
	asked time.Time  // the read deadline that franz-go wants
}

func (c *conversation) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = t
	if !c.begun && (t.IsZero() || t.After(c.until)) {
		t = c.until
	}
	return c.Conn.SetReadDeadline(t)
}

func (c *conversation) SetDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = t
	return c.Conn.SetDeadline(t)
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
		c.mu.Lock()
		c.begun = true
		_ = c.Conn.SetReadDeadline(c.asked)
		c.mu.Unlock()
		if c.d.o.SASL == "" {
			c.d.last.Store(nil)
		}
		return n, err
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.d.last.Store(&conn.Error{Addr: c.addr, Err: conn.ErrSilent, Hint: "is it a Kafka broker?"})
	case n > 0:
		e := &conn.Error{Addr: c.addr, Err: fmt.Errorf("%w: it answered %q", errNotKafka, conn.FirstLine(b[:n])), Hint: "is this the right port?"}
		if b[0] == 21 {
			e = &conn.Error{Addr: c.addr, Err: conn.ErrTLS, Hint: "add tls"}
		}
		c.d.last.Store(e)
		return 0, e
	case conn.IsAlert(err):
		e := &conn.Error{Addr: c.addr, Err: err, Hint: "give cert_file and key_file that it accepts"}
		c.d.last.Store(e)
		return 0, e
	case conn.IsEOF(err):
		c.d.last.Store(&conn.Error{Addr: c.addr, Err: conn.ErrHungUp, Hint: "it may want TLS or a user, or be no Kafka broker"})
	}
	return n, err
}

// authReads is how many reads authentication takes at least: with one more the
// broker has let us in.
const authReads = 4

// authenticating looks at reads that may be part of authentication: some
// servers do not say that they refuse a user, and hang up.
func (c *conversation) authenticating(err error) {
	switch c.reads++; {
	case conn.IsEOF(err):
		c.d.last.Store(&conn.Error{Addr: c.addr, Err: conn.ErrHungUp, Hint: fmt.Sprintf("is the password of user %q right, and sasl=%s what the user has?", c.d.o.User, c.d.o.SASL)})
	case err == nil && c.reads > authReads:
		c.d.last.Store(nil)
	}
}
