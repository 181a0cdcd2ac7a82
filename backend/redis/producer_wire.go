package redis

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

// A wire is one connection of a link, or of a waiter. It speaks RESP2, in which
// every command has one reply, in order, and the streams of a reply come as a
// list in the order of the command. rueidis is not used here: two batches of
// one goroutine cannot be in flight on one of its connections in a known order,
// its errors do not say what was certainly not sent, and it allocates for each
// message and each reply.
// https://redis.io/docs/latest/develop/reference/protocol-spec/
type wire struct {
	net.Conn
	whole    net.Conn // what has to be closed
	buf      []byte   // buf[from:to] was read and not looked at
	from, to int
	skew     time.Duration // the server's clock less ours
	large    int           // how large answers were of late, where they were
	script   bool          // the server has the script of explicit ids; of the reader, under the producer's mutex
}

// A reply is one answer. text points into the wire's buffer until the next one
// is read.
type reply struct {
	kind byte // + status, - error, $ string, : number, * array; 0 for nil
	num  int  // of a number, or the length of an array, whose elements follow
	text []byte
}

// maxReply bounds the replies to what a producer asks: ids, short texts.
const maxReply = 64 << 10

var errProtocol = errors.New("the server's answer is not Redis protocol")

func newWire(c net.Conn) *wire { return &wire{Conn: c, whole: c, buf: make([]byte, 16<<10)} }

// Close ends the connection. It may come at any time.
func (w *wire) Close() error { return w.whole.Close() }

// fill reads more, waiting for it.
func (w *wire) fill() error {
	if w.from > 0 {
		w.to = copy(w.buf, w.buf[w.from:w.to])
		w.from = 0
	}
	if w.to == len(w.buf) {
		if len(w.buf) >= 2*maxReply {
			return errProtocol
		}
		w.buf = append(w.buf, make([]byte, len(w.buf))...)
	}
	n, err := w.Read(w.buf[w.to:])
	w.to += n
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// next is the next reply, for which it waits.
func (w *wire) next() (r reply, err error) {
	for {
		n, err := parseReply(w.buf[w.from:w.to], &r)
		if err != nil {
			return r, err
		}
		if n > 0 {
			w.from += n
			return r, nil
		}
		if err := w.fill(); err != nil {
			return r, err
		}
	}
}

// parseReply reads the reply that b begins with and returns how long it is, 0
// where b does not hold all of it.
func parseReply(b []byte, r *reply) (int, error) {
	line := bytes.IndexByte(b, '\n')
	if line < 0 {
		if len(b) > maxReply {
			return 0, errProtocol
		}
		return 0, nil
	}
	if line < 2 || b[line-1] != '\r' {
		return 0, errProtocol
	}
	*r = reply{kind: b[0], text: b[1 : line-1]}
	switch b[0] {
	case '+', '-':
		return line + 1, nil
	case ':', '$', '*':
	default:
		return 0, errProtocol
	}
	negative := r.text[0] == '-'
	if negative {
		r.text = r.text[1:]
	}
	if len(r.text) == 0 || len(r.text) > 18 {
		return 0, errProtocol
	}
	for _, d := range r.text {
		if d < '0' || d > '9' {
			return 0, errProtocol
		}
		r.num = r.num*10 + int(d-'0')
	}
	if negative {
		r.num = -r.num
	}
	switch {
	case r.kind == ':':
		return line + 1, nil
	case r.num == -1:
		*r = reply{}
		return line + 1, nil
	case r.num < 0 || r.num > maxReply:
		return 0, errProtocol
	case r.kind == '*':
		return line + 1, nil
	}
	end := line + 1 + r.num
	if len(b) < end+2 {
		return 0, nil
	}
	if b[end] != '\r' || b[end+1] != '\n' {
		return 0, errProtocol
	}
	r.text = b[line+1 : end]
	return end + 2, nil
}

// entryID reads an entry id as Redis writes it.
func entryID(b []byte) (s driver.Seq, ok bool) {
	i := 0
	for ; i < len(b) && b[i] != '-'; i++ {
		d := uint64(b[i] - '0')
		if d > 9 || i > 19 {
			return s, false
		}
		s.Hi = s.Hi*10 + d
	}
	if i == 0 || i+1 >= len(b) || len(b)-i > 21 {
		return s, false
	}
	for i++; i < len(b); i++ {
		d := uint64(b[i] - '0')
		if d > 9 {
			return s, false
		}
		s.Lo = s.Lo*10 + d
	}
	return s, true
}

// writeAll writes b in pieces, each of which has to be taken within the
// time-out, so that a slow line is not taken for a dead one.
func (w *wire) writeAll(b []byte, timeout time.Duration) error {
	for len(b) > 0 {
		n := min(len(b), 256<<10)
		if err := w.SetWriteDeadline(time.Now().Add(timeout)); err != nil {
			return err
		}
		if _, err := w.Write(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// appendCommand appends a command in RESP.
func appendCommand(b []byte, args ...string) []byte {
	b = appendHeader(b, '*', len(args))
	for _, a := range args {
		b = appendBulk(b, a)
	}
	return b
}

// appendHeader appends a line such as $256.
func appendHeader(b []byte, kind byte, n int) []byte {
	b = append(b, kind)
	switch { // a third faster than strconv
	case n < 10:
		b = append(b, byte('0'+n))
	case n < 100:
		b = append(b, byte('0'+n/10), byte('0'+n%10))
	case n < 1000:
		b = append(b, byte('0'+n/100), byte('0'+n/10%10), byte('0'+n%10))
	default:
		b = fmt.Appendf(b, "%d", n)
	}
	return append(b, '\r', '\n')
}

// appendBulk appends one argument.
func appendBulk[S string | []byte](b []byte, s S) []byte {
	b = appendHeader(b, '$', len(s))
	b = append(b, s...)
	return append(b, '\r', '\n')
}

// cutWord splits a text at its first space.
func cutWord(s string) (word, rest string, found bool) { return strings.Cut(s, " ") }
