package redis

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/rueidis"

	"github.com/seastreamer/seastreamer/driver"
)

// scanCount is how many keys a server looks at in one step of a scan: with the
// default of ten, a large database takes for ever.
const scanCount = 1000

// scan finds the shards of a stream among all keys of all masters, so that
// there may be gaps between their numbers.
func (c *client) scan(ctx context.Context, rc rueidis.Client, l layout) (layout, error) {
	before, after := c.o.around(l.stream)
	pattern := globbed(before) + "[0-9]*" + globbed(after)
	found := map[int32]bool{}
	nodes, err := c.masters(ctx, rc)
	if err != nil {
		return l, err
	}
	for _, node := range nodes {
		master, err := c.isMaster(ctx, node)
		if err != nil {
			return l, err
		}
		for cursor := uint64(0); master; {
			answers, err := c.ask(ctx, node, node.B().Scan().Cursor(cursor).Match(pattern).Count(scanCount).Build())
			if err != nil {
				return l, err
			}
			page, err := answers[0].AsScanEntry()
			if err != nil {
				return l, c.failure("", driver.Shard{}, err)
			}
			for _, key := range page.Elements {
				n := key[len(before) : len(key)-len(after)]
				if isShard(n) {
					i, _ := strconv.ParseInt(n, 10, 32)
					found[int32(i)] = true
				}
			}
			if cursor = page.Cursor; cursor == 0 {
				break
			}
		}
	}
	for i := range found {
		l.shards = append(l.shards, i)
	}
	slices.Sort(l.shards)
	if l.sharded = len(l.shards) > 0; l.sharded {
		return l, nil
	}
	bare, err := c.existing(ctx, rc, c.o.bareKey(l.stream))
	if err == nil && bare[0] {
		l.shards = []int32{0}
	}
	return l, err
}

// around is what stands before and after the number in the keys of shards.
func (o *Options) around(stream string) (before, after string) {
	key := o.shardKey(stream, 0)
	if before, ok := strings.CutSuffix(key, "{0}"); ok && o.HashTag == "shard" {
		return before + "{", "}"
	}
	return strings.TrimSuffix(key, "0"), ""
}

// globbed is s as a pattern that matches nothing else.
func globbed(s string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`, "]", `\]`).Replace(s)
}

// isMaster asks a node what it is: replicas have the same keys, and those that
// their master has just deleted.
func (c *client) isMaster(ctx context.Context, node rueidis.Client) (bool, error) {
	answers, err := c.ask(ctx, node, node.B().Role().Build())
	if err != nil {
		return false, err
	}
	role, err := answers[0].ToArray()
	if err != nil || len(role) == 0 {
		return false, c.failure("", driver.Shard{}, err)
	}
	name, _ := role[0].ToString()
	return name == "master", nil
}
