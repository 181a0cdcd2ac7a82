package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"os"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/seastreamer/seastreamer/driver"
)

// openWire opens a connection to the server at addr within ctx and begins it:
// who we are, which database, and whether the server is ready for commands. It
// returns the answer to HELLO and those to further commands.
func (c *client) openWire(ctx context.Context, addr string, also ...[]string) (*wire, []value, error) {
	return c.openWireAs(ctx, addr, toServer, c.o.ClientName, also...)
}

// openWireAs is openWire to a server or a sentinel, under a name that CLIENT
// LIST shows.
func (c *client) openWireAs(ctx context.Context, addr string, to role, name string, also ...[]string) (*wire, []value, error) {
	var mark *tls.Config
	if to == toSentinel {
		mark = sentinelMark
	}
	nc, err := c.dial(ctx, addr, nil, mark)
	if err != nil {
		return nil, nil, err
	}
	w := newWire(nc)
	stop := context.AfterFunc(ctx, func() { nc.Close() })
	answers, err := c.introduce(w, addr, to, name, also)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		nc.Close()
		return nil, nil, err
	}
	if v, ok := nc.(*conversation); ok {
		// What it looks at has been seen; from here on it would only cost.
		w.Conn, w.whole = v.Conn, v
	}
	return w, answers, nil
}

func (c *client) introduce(w *wire, addr string, to role, as string, also [][]string) ([]value, error) {
	who, err := c.credentials(rueidis.AuthCredentialsContext{Address: w.RemoteAddr()})
	if err != nil {
		return nil, err
	}
	user, password := who.Username, who.Password
	_ = w.SetDeadline(time.Now().Add(c.o.ConnectTimeout))
	defer w.SetDeadline(time.Time{}) //nolint:errcheck // a broken one fails soon enough
	hello := []string{"HELLO", "2"}
	if password != "" {
		if user == "" {
			user = "default"
		}
		hello = append(hello, "AUTH", user, password)
	}
	cmds := [][]string{append(hello, "SETNAME", as)}
	if c.o.DB != 0 && to == toServer {
		cmds = append(cmds, []string{"SELECT", strconv.Itoa(c.o.DB)})
	}
	cmds = append(cmds, []string{"PING"})
	cmds = append(cmds, also...)
	var b []byte
	for _, cmd := range cmds {
		b = appendCommand(b, cmd...)
	}
	if _, err := w.Write(b); err != nil {
		return nil, err
	}
	answers, err := w.answers(len(cmds))
	if err != nil {
		return nil, err
	}
	for i, a := range answers {
		said := a.err()
		if said == nil {
			continue
		}
		name, text := cmds[i][0], said.Error()
		switch word := firstWord(text); {
		case name == "HELLO", name == "SELECT", word == "NOAUTH", word == "DENIED", word == "LOADING", word == "MASTERDOWN":
			kind, said := c.describeText(addr, text)
			return nil, &driver.Error{Kind: kind, Err: errors.New(said)}
		}
	}
	return append(answers[:1], answers[len(answers)-len(also):]...), nil
}

// maxAnswers bounds the answers to the commands of one round: so that a server
// which never comes to an end does not take all memory. It is changed by tests
// only.
var maxAnswers = 1 << 30

// errTooMuch says that there is more in an answer than is taken at once. Who
// asks for fewer entries may get them.
var errTooMuch = errors.New("an answer is larger than a gigabyte")

// tooMuch reports whether a read failed that has perhaps asked for too many
// entries: more than can be taken, or than come over the line in time.
func tooMuch(err error) bool {
	return errors.Is(err, errTooMuch) || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
}

// answers reads the replies to n commands, for which it waits, and nothing may
// be left behind them. They are one piece of memory that nobody else has.
//
// What is small, as what comes while somebody waits for it mostly is, goes
// through the wire's own buffer, so that waiting keeps no memory and a reply
// has no more than it needs. What is large is read to where it stays, and the
// next one is expected to be as large.
func (w *wire) answers(n int) ([]value, error) {
	var f frames
	buf := w.buf[w.from:w.to]
	own := true // buf is the wire's
	read := 0   // of buf, by f
	ends := make([]int, 0, n)
	for {
		k, complete, err := f.next(buf[read:])
		if err != nil {
			return nil, errors.Join(errProtocol, err)
		}
		read += k
		if complete {
			if ends = append(ends, read); len(ends) == n {
				break
			}
			continue
		}
		if len(buf) == cap(buf) {
			if len(buf) >= maxAnswers {
				return nil, errTooMuch
			}
			larger := make([]byte, len(buf), max(w.large, 2*len(buf)))
			copy(larger, buf)
			buf, own = larger, false
		}
		more, err := w.Read(buf[len(buf):cap(buf)])
		if buf = buf[:len(buf)+more]; more == 0 && err != nil {
			return nil, err
		}
	}
	w.from, w.to = 0, 0
	if read < len(buf) {
		return nil, errProtocol // it says more than it was asked
	}
	if !own {
		w.large = len(buf) + len(buf)/8
	}
	if own || cap(buf) > 2*len(buf) {
		buf = append(make([]byte, 0, len(buf)), buf...)
	}
	values := make([]value, n)
	from := 0
	for i, to := range ends {
		values[i] = buf[from:to:to]
		from = to
	}
	return values, nil
}
