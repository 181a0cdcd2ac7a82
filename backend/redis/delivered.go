package redis

import (
	"context"
	"fmt"

	"github.com/redis/rueidis"

	"github.com/seastreamer/seastreamer/driver"
)

// Delivered says how far a group has handed out each shard: everything below
// has been delivered to one of its members, done or not. A shard on which there
// is no such group is left out.
//
// It is reached through As as interface{ Delivered(context.Context, string,
// []string) (map[driver.Shard]driver.Seq, error) }.
func (c *client) Delivered(ctx context.Context, group string, streams []string) (map[driver.Shard]driver.Seq, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	m := map[driver.Shard]driver.Seq{}
	for _, s := range streams {
		l, err := c.find(ctx, s)
		if err != nil {
			return nil, err
		}
		rc, err := c.connect(ctx)
		if err != nil {
			return nil, err
		}
		for from := 0; from < len(l.shards); from += askAtOnce {
			shards := l.shards[from:min(from+askAtOnce, len(l.shards))]
			cmds := make([]rueidis.Completed, len(shards))
			for i, s := range shards {
				cmds[i] = rc.B().XinfoGroups().Key(c.key(&l, s)).Build()
			}
			answers, err := c.ask(ctx, rc, cmds...)
			if err != nil {
				return nil, err
			}
			for i, a := range answers {
				sh := driver.Shard{Stream: l.stream, Index: shards[i]}
				last, exists, err := lastDelivered(a, group)
				if err != nil {
					return nil, c.keyFailure("", sh, c.key(&l, sh.Index), err)
				}
				if exists {
					m[sh] = last.Succ()
				}
			}
		}
	}
	return m, nil
}

// lastDelivered finds a group's last-delivered-id in what XINFO GROUPS answers.
func lastDelivered(r rueidis.RedisResult, group string) (last driver.Seq, exists bool, err error) {
	groups, err := r.ToArray()
	if err != nil {
		return last, false, err
	}
	for _, g := range groups {
		info, err := g.AsStrMap()
		if err != nil {
			return last, false, fmt.Errorf("XINFO GROUPS: %w", err)
		}
		if info["name"] != group {
			continue
		}
		last, ok := parseID(info["last-delivered-id"])
		if !ok {
			return last, false, fmt.Errorf("XINFO GROUPS: %q is no entry id", info["last-delivered-id"])
		}
		return last, true, nil
	}
	return last, false, nil
}
