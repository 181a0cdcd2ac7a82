package redis

import (
	"context"
	"time"

	"github.com/redis/rueidis"

	"github.com/seastreamer/seastreamer/driver"
)

// Resolve finds where reading from a start would begin, as consumers do: by
// time it looks at the entries from a minute before on, so that it reads what
// came in that minute.
func (c *client) Resolve(ctx context.Context, stream string, how driver.Start) ([]driver.Position, error) {
	if _, err := c.ready(ctx); err != nil {
		return nil, err
	}
	l, err := c.find(ctx, stream)
	if err != nil {
		return nil, err
	}
	keys := c.keys(&l)
	at := make([]driver.Position, len(keys))
	shards := make([]driver.Shard, len(keys))
	for i, n := range l.shards {
		shards[i] = driver.Shard{Stream: stream, Index: n}
	}
	if how.At != driver.AtTime { // all in few round trips
		starts, err := c.resolve(ctx, how, shards, keys)
		if err != nil {
			return nil, err
		}
		for i, s := range starts {
			at[i] = driver.Position{Shard: shards[i], Next: s.at}
		}
		return at, nil
	}
	errs := make([]error, len(keys))
	atOnce(len(keys), func(i int) {
		var starts []start
		if starts, errs[i] = c.resolve(ctx, how, shards[i:i+1], keys[i:i+1]); errs[i] == nil {
			at[i] = driver.Position{Shard: shards[i], Next: starts[0].at}
		}
	})
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return at, nil
}

// Times reads one entry at each position (XRANGE COUNT 1): a message's time may
// be its own, which only the entry tells.
func (c *client) Times(ctx context.Context, at []driver.Position) ([]time.Time, error) {
	rc, err := c.ready(ctx)
	if err != nil {
		return nil, err
	}
	shards := make([]driver.Shard, len(at))
	for i, p := range at {
		shards[i] = p.Shard
	}
	keys, err := c.keysOf(ctx, rc, shards)
	if err != nil {
		return nil, err
	}
	cmds := make([]rueidis.Completed, len(at))
	for i, p := range at {
		cmds[i] = rc.B().Xrange().Key(keys[i]).Start(idText(p.Next)).End("+").Count(1).Build()
	}
	answers, err := c.askAll(ctx, rc, cmds)
	if err != nil {
		return nil, err
	}
	times := make([]time.Time, len(at))
	for i, a := range answers {
		m, err := a.ToMessage()
		var list []value
		if err == nil {
			list, err = valueOf(m).list()
		}
		if err == nil && len(list) > 0 {
			times[i], err = c.entryTime(list[0])
		}
		if err != nil {
			return nil, c.keyFailure("", shards[i], keys[i], err)
		}
	}
	return times, nil
}
