package redis

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seastreamer/seastreamer/internal/conn"
)

var errNotRedis = errors.New("it is not a Redis server")

// A conversation looks at the first byte that a server says. Redis answers the
// greeting with a map or a list, or with an error; a TLS alert begins with 21,
// and other protocols mostly with a letter or a digit. The first byte has to
// come within the connect time-out: who says nothing was not reached. Until it
// has come nothing but the greeting was sent, so that what fails is a
// conn.Error, after which writes are known not to have happened.
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
	error string    // the error that the server began with, until it says something else
	stop  func() bool
	ended atomic.Bool // by us
	turns turns
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
	if !t.ended.Swap(true) {
		t.c.open.Add(-1)
	}
	t.stop()
	return t.Conn.Close()
}

func (t *conversation) Write(b []byte) (int, error) {
	t.turns.ask(b)
	n, err := t.Conn.Write(b)
	if err != nil && !t.begun {
		return n, t.failed(err)
	}
	return n, err
}

func (t *conversation) Read(b []byte) (int, error) {
	if t.turns.overdrawn() {
		return 0, t.fail(fmt.Errorf("%w: it says more than it was asked", errNotRedis), "is this the right port?")
	}
	n, err := t.Conn.Read(b)
	if n > 0 && isGreeting(b[0]) || t.begun {
		n = t.turns.answer(b[:n])
	}
	if t.begun {
		switch {
		case err == nil:
			t.error = ""
		case t.ended.Load():
		case t.error != "" && conn.IsEOF(err):
			return n, t.refused()
		case t.role == toServer:
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
	switch {
	case isGreeting(b[0]):
		t.begun = true
		if b[0] == '-' {
			t.error = conn.FirstLine(b[1:n])
			t.c.lastRefusal.Store(&t.addr)
		}
		t.c.lastDial.Store(nil)
		if t.role == toServer {
			t.c.suspect(false)
		}
		_ = t.Conn.SetDeadline(t.asked)
		return n, err
	case b[0] == 21:
		return 0, t.fail(conn.ErrTLS, t.c.tlsHint())
	}
	return 0, t.fail(fmt.Errorf("%w: it answered %q", errNotRedis, conn.FirstLine(b[:n])), "is this the right port?")
}

// isGreeting reports whether an answer to the greeting may begin with b.
func isGreeting(b byte) bool { return b == '%' || b == '*' || b == '-' }

// failed is why the greeting failed.
func (t *conversation) failed(err error) error {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return t.fail(conn.ErrSilent, "is it a Redis server, "+map[bool]string{false: "and does it want TLS (rediss://)?", true: "with TLS?"}[t.c.o.TLS])
	case conn.IsAlert(err):
		return t.fail(err, "give cert_file and key_file that it accepts")
	case conn.IsEOF(err) && !t.c.o.TLS:
		return t.fail(conn.ErrHungUp, "it may be no Redis server, have too many clients, or want TLS: "+t.c.tlsHint())
	case conn.IsEOF(err):
		return t.fail(conn.ErrHungUp, "it may want cert_file and key_file, or be no Redis server")
	}
	return t.fail(err, "")
}

// refused is why a server ended the connection, which it has said.
func (t *conversation) refused() error {
	switch {
	case strings.HasPrefix(t.error, "ERR max number of clients"):
		return t.fail(errors.New("it has as many clients as it takes"), "see its setting maxclients")
	case strings.HasPrefix(t.error, "DENIED"):
		return t.fail(errors.New("it is in protected mode and takes connections from its own host only"), "give it a password, or set protected-mode no")
	}
	return t.fail(fmt.Errorf("%w: it said %q", conn.ErrHungUp, t.error), "")
}

func (t *conversation) fail(err error, hint string) error {
	e := &conn.Error{Addr: t.addr, Err: err, Hint: hint}
	if !t.ended.Load() {
		t.c.lastDial.Store(e)
	}
	return e
}

// turns sees to it that a server says no more than it was asked for: rueidis
// panics, in a goroutine of its own, where an answer comes that nobody waits
// for. Counting costs some 80 ns an entry, so that it ends with the greeting
// when that went well, and goes on where the server has refused it. What a
// server that was once found to be Redis says is trusted.
//
// Write stops the counting before its bytes leave, and Read looks again after
// it has read, so that an answer is never counted without its question.
type turns struct {
	off      atomic.Bool
	mu       sync.Mutex
	refused  bool // the greeting was
	extra    bool // something came that was not asked for
	asked    int
	answered int
	out, in  frames
}

// ask counts the commands in b, which is about to be written.
func (t *turns) ask(b []byte) {
	if t.off.Load() {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.answered > 0 && t.asked == t.answered && !t.refused && !t.extra {
		t.off.Store(true)
		return
	}
	for len(b) > 0 {
		n, complete, err := t.out.next(b)
		if err != nil {
			return // we do not write what is no RESP
		}
		if b = b[n:]; complete {
			t.asked++
		}
	}
}

// answer counts the answers in b, which has been read, and returns how much of
// it was asked for.
func (t *turns) answer(b []byte) int {
	if t.off.Load() {
		return len(b)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.off.Load() {
		return len(b)
	}
	from := 0
	for from < len(b) {
		if t.asked == t.answered {
			t.extra = true
			return from
		}
		if t.answered == 0 && t.in.open == 0 {
			t.refused = b[from] == '-'
		}
		n, complete, err := t.in.next(b[from:])
		if err != nil {
			t.extra = true
			return from
		}
		if from += n; complete && !t.in.push {
			t.answered++
		}
	}
	return from
}

// overdrawn reports whether the server has said more than it was asked.
func (t *turns) overdrawn() bool {
	if t.off.Load() {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.extra
}
