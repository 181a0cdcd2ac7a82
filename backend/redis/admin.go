package redis

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/seastreamer/seastreamer/driver"
)

// The client can be administered, see driver/admin.go and its neighbours.
var (
	_ driver.StreamAdmin  = (*client)(nil)
	_ driver.GroupAdmin   = (*client)(nil)
	_ driver.PendingAdmin = (*client)(nil)
	_ driver.AccessAdmin  = (*client)(nil)
	_ driver.NodeAdmin    = (*client)(nil)
	_ driver.ClusterAdmin = (*client)(nil)
)

// ready is the client underneath, for a method of administration.
func (c *client) ready(ctx context.Context) (rueidis.Client, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	return c.connect(ctx)
}

// entryTime is the time of an entry as XINFO STREAM and XRANGE have it: its
// own, or that of its id. Nil has none.
func (c *client) entryTime(entry value) (time.Time, error) {
	if len(entry) == 0 || entry.isNil() {
		return time.Time{}, nil
	}
	b, _, err := newBatch(&c.o, driver.Shard{}, append(appendHeader(nil, '*', 1), entry...))
	if err != nil || b.Len() == 0 {
		return time.Time{}, err
	}
	return b.Time(0), nil
}

// unsupported is the error of what Redis does not have.
func unsupported(format string, args ...any) error {
	return driver.Errorf(errors.ErrUnsupported, "", format, args...)
}

// textOf is an answer that is text for people, which RESP 3 marks as such.
func textOf(r rueidis.RedisResult) (string, error) {
	text, err := r.ToString()
	return strings.TrimPrefix(text, "txt:"), err
}
