package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"time"

	"github.com/seastreamer/seastreamer/internal/conn"
)

// sentinelMark is the TLS configuration by which we know connections to
// sentinels: rueidis hands it to dial, and nobody uses it.
var sentinelMark = &tls.Config{MinVersion: tls.VersionTLS12}

// limit is a little less than the connect time-out, so that who gives up when
// that has passed can say why.
func (c *client) limit() time.Duration { return c.o.ConnectTimeout * 9 / 10 }

// dial opens a connection for rueidis. It ends with the driver, too, so that
// Close need not wait for a server that says nothing. An error is a conn.Error:
// what was to be sent over the connection was not sent.
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
	nc, err := (&net.Dialer{KeepAlive: 30 * time.Second}).DialContext(within, network, addr)
	if err == nil && c.o.TLS {
		nc, err = c.o.tls().Handshake(within, nc, addr, "write redis:// without TLS")
	}
	if err != nil {
		var e *conn.Error
		if !errors.As(err, &e) {
			e = &conn.Error{Err: err}
		}
		e.Addr = string(to) + addr
		if c.unix && errors.Is(err, os.ErrNotExist) {
			e.Hint = "is that the server's unixsocket, and does the server run?"
		}
		if ctx.Err() == nil { // else the caller gave up, and nobody is to blame
			c.lastDial.Store(e)
		}
		return nil, e
	}
	t := &conversation{Conn: nc, c: c, addr: string(to) + addr, role: to, until: time.Now().Add(limit)}
	c.open.Add(1)
	t.stop = context.AfterFunc(c.life, func() { _ = nc.Close() })
	return t, nil
}

// tlsHint is how to write that there is to be TLS.
func (c *client) tlsHint() string {
	if c.sentinel {
		return "write " + SchemeSentinelTLS + "://"
	}
	return "write " + SchemeTLS + "://"
}
