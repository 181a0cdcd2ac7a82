package redis

import (
	"context"
	"fmt"

	"github.com/redis/rueidis"

	"github.com/seastreamer/seastreamer/driver"
)

// askAtOnce is how many commands go to the server together.
const askAtOnce = 512

// Bounds is the first entry and the end of every shard. It needs a server to
// answer within the connect time-out, also where no stream is named.
func (c *client) Bounds(ctx context.Context, streams []string) (map[driver.Shard]driver.Bound, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if len(streams) == 0 {
		return nil, c.Ping(ctx)
	}
	layouts, err := c.findAll(ctx, streams)
	if err != nil {
		return nil, err
	}
	m := map[driver.Shard]driver.Bound{}
	if err := c.bounds(ctx, layouts, m); err != nil {
		return nil, err
	}
	return m, nil
}

// find is discover where a missing stream is an error.
func (c *client) find(ctx context.Context, stream string) (layout, error) {
	if err := c.checkName(stream); err != nil {
		return layout{}, err
	}
	l, err := c.discover(ctx, stream)
	if err == nil && !l.exists() {
		err = c.missing(stream)
	}
	return l, err
}

func (c *client) missing(stream string) error {
	return driver.Errorf(driver.ErrNotFound, "", "%s has no stream %q", c.where(), stream)
}

// bounds adds the bounds of all shards of streams to m.
func (c *client) bounds(ctx context.Context, layouts []layout, m map[driver.Shard]driver.Bound) error {
	rc, err := c.connect(ctx)
	if err != nil {
		return err
	}
	var shards []driver.Shard
	var keys []string
	for i := range layouts {
		l := &layouts[i]
		for _, n := range l.shards {
			shards, keys = append(shards, driver.Shard{Stream: l.stream, Index: n}), append(keys, c.key(l, n))
		}
	}
	for from := 0; from < len(shards); from += askAtOnce {
		shards, keys := shards[from:min(from+askAtOnce, len(shards))], keys[from:]
		cmds := make([]rueidis.Completed, len(shards))
		for i := range cmds {
			cmds[i] = rc.B().XinfoStream().Key(keys[i]).Build()
		}
		answers, err := c.ask(ctx, rc, cmds...)
		if err != nil {
			return err
		}
		for i, a := range answers {
			b, err := bound(a)
			if isNoKey(err) {
				return c.missing(shards[i].Stream) // deleted since it was found
			} else if err != nil {
				return c.keyFailure("", shards[i], keys[i], err)
			}
			m[shards[i]] = b
		}
	}
	return nil
}

// bound reads what XINFO STREAM answers.
func bound(r rueidis.RedisResult) (b driver.Bound, err error) {
	info, err := r.AsMap()
	if err != nil {
		return b, err
	}
	last := info["last-generated-id"]
	id, err := last.ToString()
	if err != nil {
		return b, fmt.Errorf("XINFO STREAM: last-generated-id: %w", err)
	}
	end, ok := parseID(id)
	if !ok {
		return b, fmt.Errorf("XINFO STREAM: %q is no entry id", id)
	}
	if !end.IsZero() {
		end = end.Succ()
	}
	b = driver.Bound{First: end, Next: end}
	first := info["first-entry"]
	if first.IsNil() {
		return b, nil
	}
	entry, err := first.ToArray()
	if err != nil || len(entry) == 0 {
		return b, fmt.Errorf("XINFO STREAM: first-entry: %w", err)
	}
	if id, err = entry[0].ToString(); err != nil {
		return b, fmt.Errorf("XINFO STREAM: first-entry: %w", err)
	}
	if b.First, ok = parseID(id); !ok {
		return b, fmt.Errorf("XINFO STREAM: %q is no entry id", id)
	}
	return b, nil
}

// Ping asks a server for an answer and returns ErrUnavailable, or ErrDenied,
// within the connect time-out when there is none.
func (c *client) Ping(ctx context.Context) error {
	if err := c.check(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.o.ConnectTimeout)
	defer cancel()
	rc, err := c.connect(ctx)
	if err != nil {
		return err
	}
	answers, err := c.ask(ctx, rc, rc.B().Ping().Build())
	if err != nil {
		return err
	}
	return c.failure("", driver.Shard{}, answers[0].Error())
}
