package redis

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/redis/rueidis"

	"github.com/seastreamer/seastreamer/driver"
)

// failure is the error that a method returns: what a server or the way to it
// said, as one line with a kind. Op is empty where the core knows better what
// was tried, the shard zero where it is not about one.
func (c *client) failure(op string, shard driver.Shard, err error) error {
	if err == nil {
		return nil
	}
	var e *driver.Error
	if errors.As(err, &e) {
		return err
	}
	kind, text := c.describe(err)
	return &driver.Error{Op: op, Shard: shard, Kind: kind, Err: text}
}

// keyFailure is failure where the command was about a key, whose name helps.
func (c *client) keyFailure(op string, shard driver.Shard, key string, err error) error {
	if r, ok := answer(err); ok && code(r) == "WRONGTYPE" {
		return &driver.Error{Op: op, Shard: shard, Kind: driver.ErrInvalid, Err: fmt.Errorf("key %q on %s holds something else than a stream: choose another name, or delete the key", key, c.where())}
	}
	return c.failure(op, shard, err)
}

// describe is one line about err, and its kind.
func (c *client) describe(err error) (kind, text error) {
	if r, ok := answer(err); ok {
		return c.describeAnswer(r)
	}
	switch {
	case errors.Is(err, rueidis.ErrClosing):
		return driver.ErrClosed, nil
	case errors.Is(err, context.Canceled):
		return nil, err
	case errors.Is(err, context.DeadlineExceeded):
		return driver.ErrUnavailable, fmt.Errorf("no answer from %s in time: %w", c.where(), err)
	case isEOF(err):
		return driver.ErrUnavailable, fmt.Errorf("%s closed the connection", c.where())
	case errors.Is(err, errPanic):
		return driver.ErrUnknown, err
	}
	return driver.ErrUnavailable, err
}

// codes are the kinds of what servers answer, by the first word.
var codes = map[string]error{
	"NOAUTH": driver.ErrDenied, "WRONGPASS": driver.ErrDenied, "NOPERM": driver.ErrDenied, "DENIED": driver.ErrDenied,
	"WRONGTYPE": driver.ErrInvalid,
	"MOVED":     driver.ErrUnavailable, "ASK": driver.ErrUnavailable, "TRYAGAIN": driver.ErrUnavailable,
	"CLUSTERDOWN": driver.ErrUnavailable, "READONLY": driver.ErrUnavailable, "LOADING": driver.ErrUnavailable,
	"MASTERDOWN": driver.ErrUnavailable, "NOREPLICAS": driver.ErrUnavailable, "BUSY": driver.ErrUnavailable,
	"OOM": driver.ErrUnavailable, "MISCONF": driver.ErrUnavailable, "UNBLOCKED": driver.ErrUnavailable,
	"NOGROUP": driver.ErrNotFound, "CROSSSLOT": driver.ErrInvalid,
}

func (c *client) describeAnswer(err *rueidis.RedisError) (kind, text error) {
	return codes[code(err)], err
}

// answer is what a server said, if that is what err is about.
func answer(err error) (*rueidis.RedisError, bool) {
	var r *rueidis.RedisError
	ok := errors.As(err, &r) && !r.IsNil()
	return r, ok
}

// code is the first word of what a server answered.
func code(err *rueidis.RedisError) string {
	word, _, _ := strings.Cut(err.Error(), " ")
	return word
}

// temporary reports whether the same command may succeed soon, on the same or
// another node.
func temporary(err error) bool {
	r, ok := answer(err)
	return ok && errors.Is(codes[code(r)], driver.ErrUnavailable)
}

// notWritten reports whether a write that failed with err was certainly not
// done: a server refused it, or it never left. Everything else, a lost reply
// above all, leaves the outcome unknown.
func notWritten(err error) bool {
	if _, ok := answer(err); ok {
		return true
	}
	var op *net.OpError
	return errors.Is(err, rueidis.ErrNoSlot) || errors.Is(err, rueidis.ErrNoAddr) || errors.Is(err, errClosed) || errors.As(err, &op) && op.Op == "dial"
}

// isEOF reports whether the other side has ended the connection.
func isEOF(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

func (c *client) where() string { return strings.Join(c.nodes, ",") }
