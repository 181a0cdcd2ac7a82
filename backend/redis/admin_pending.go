package redis

import (
	"context"
	"iter"
	"time"

	"github.com/redis/rueidis"

	"github.com/seastreamer/seastreamer/driver"
)

// pendingPage is how many entries are listed at once.
const pendingPage = 1000

// handOver gives the entries ARGV[5], … of the group ARGV[1], as far as they
// are pending for at least ARGV[3] milliseconds, to the consumer ARGV[2], or
// leaves them to who has them where that is ”, and gives them an idle time of
// ARGV[4] milliseconds. The deliveries stay as they were counted. It answers how
// many these were.
//
// What was trimmed or deleted is left alone: XCLAIM would forget it, and nobody
// would be told that it is missing.
const handOver script = `
local n = 0
for i = 5, #ARGV do
  local p = redis.call('XPENDING', KEYS[1], ARGV[1], 'IDLE', ARGV[3], ARGV[i], ARGV[i], 1)[1]
  if p and #redis.call('XRANGE', KEYS[1], ARGV[i], ARGV[i], 'COUNT', 1) > 0 then
    local to = ARGV[2]
    if to == '' then to = p[2] end
    n = n + #redis.call('XCLAIM', KEYS[1], ARGV[1], to, 0, ARGV[i], 'IDLE', ARGV[4], 'JUSTID')
  end
end
return n`

// Pending lists what is out at members of a group (XPENDING). An entry that was
// trimmed or deleted meanwhile is listed, too.
func (c *client) Pending(ctx context.Context, stream, group string, f driver.PendingFilter) iter.Seq2[driver.PendingMessage, error] {
	return func(yield func(driver.PendingMessage, error) bool) {
		if err := c.eachPending(ctx, stream, group, f, func(m driver.PendingMessage) bool { return yield(m, nil) }); err != nil {
			yield(driver.PendingMessage{}, err)
		}
	}
}

// eachPending calls f until it returns false.
func (c *client) eachPending(ctx context.Context, stream, group string, filter driver.PendingFilter, f func(driver.PendingMessage) bool) error {
	rc, err := c.ready(ctx)
	if err != nil {
		return err
	}
	l, err := c.find(ctx, stream)
	if err != nil {
		return err
	}
	known := false
	for _, n := range l.shards {
		s, key := driver.Shard{Stream: stream, Index: n}, c.key(&l, n)
		for from := "-"; ; {
			args := []string{group}
			if filter.MinIdle > 0 {
				args = append(args, "IDLE", millis(filter.MinIdle))
			}
			args = append(args, from, "+", "1000")
			if filter.Member != "" {
				args = append(args, filter.Member)
			}
			answers, err := c.ask(ctx, rc, rc.B().Arbitrary("XPENDING").Keys(key).Args(args...).Build())
			if err != nil {
				return err
			}
			page, err := pendingOf(answers[0].ToMessage())
			if isNoGroup(err) {
				break // one that does not know this shard yet
			}
			if err != nil {
				return c.keyFailure("", s, key, err)
			}
			known = true
			for _, p := range page {
				m := driver.PendingMessage{MessageID: driver.MessageID{Shard: s, Seq: p.id}, Member: p.consumer, Idle: p.idle, Attempts: int(p.count)}
				if !f(m) {
					return nil
				}
			}
			if len(page) < pendingPage {
				break
			}
			from = "(" + idText(page[len(page)-1].id)
		}
	}
	if !known {
		return c.noGroup(group)
	}
	return nil
}

// nackedIdle is how long a message seems to have been idle that was nacked from
// outside: its members may have a longer AckTimeout than we know of.
const nackedIdle = time.Hour

// SettlePending acknowledges messages (XACK), whoever has them, or makes them
// due at once: with VerdictNack they look as if they had been idle for an hour,
// or AckTimeout where that is longer, so that the next member that looks takes
// them, which counts as an attempt. A member that works on one of them is not
// told.
func (c *client) SettlePending(ctx context.Context, group string, ids []driver.MessageID, v driver.Verdict) (int, error) {
	switch v {
	case driver.VerdictAck:
		return c.eachOrder(ctx, ids, func(b rueidis.Builder, key string, ids []string) rueidis.Completed {
			return b.Xack().Key(key).Group(group).Id(ids...).Build()
		}, group)
	case driver.VerdictNack:
		return c.handOver(ctx, group, "", 0, max(nackedIdle, c.o.AckTimeout), ids)
	case driver.VerdictReturn, driver.VerdictExtend:
	}
	return 0, driver.Errorf(driver.ErrInvalid, "", "a pending message can be acked or nacked, not: %v", v)
}

// ClaimPending hands messages to a member of the group, and counts as no
// delivery (XCLAIM JUSTID). A member that the group does not know it gets by
// that. A member of this library is not told: it comes to
// them as to what others have left, when AckTimeout has passed, or at its next
// start where it has its name from Options.Consumer.
func (c *client) ClaimPending(ctx context.Context, group, member string, minIdle time.Duration, ids []driver.MessageID) (int, error) {
	if member == "" {
		return 0, driver.Errorf(driver.ErrInvalid, "", "no member is named")
	}
	return c.handOver(ctx, group, member, minIdle, 0, ids)
}

func (c *client) handOver(ctx context.Context, group, member string, minIdle, idle time.Duration, ids []driver.MessageID) (int, error) {
	return c.eachOrder(ctx, ids, func(b rueidis.Builder, key string, ids []string) rueidis.Completed {
		return handOver.build(b, key, append([]string{group, member, millis(minIdle), millis(idle)}, ids...)...)
	}, group)
}

// eachOrder sends a command for the ids of each shard, some at a time, and adds
// up what they answer. The group has to exist in one of the shards.
func (c *client) eachOrder(ctx context.Context, ids []driver.MessageID, build func(b rueidis.Builder, key string, ids []string) rueidis.Completed, group string) (int, error) {
	rc, err := c.ready(ctx)
	if err != nil {
		return 0, err
	}
	texts := map[driver.Shard][]string{}
	var shards []driver.Shard
	for _, id := range ids {
		if texts[id.Shard] == nil {
			shards = append(shards, id.Shard)
		}
		texts[id.Shard] = append(texts[id.Shard], idText(id.Seq))
	}
	keys, err := c.keysOf(ctx, rc, shards)
	if err != nil || len(keys) == 0 {
		return 0, err
	}
	has, err := c.withGroup(ctx, rc, shards, keys, group)
	if err != nil {
		return 0, err
	}
	var cmds []rueidis.Completed
	var about []int
	for i, s := range shards {
		for all := texts[s]; has[i] && len(all) > 0; {
			some := all[:min(idsAtOnce, len(all))]
			all = all[len(some):]
			cmds, about = append(cmds, build(rc.B(), keys[i], some)), append(about, i)
		}
	}
	answers, failed := c.askAll(ctx, rc, cmds)
	n := 0
	for i, a := range answers {
		k, err := a.AsInt64()
		if err != nil && failed == nil {
			failed = c.keyFailure("", shards[about[i]], keys[about[i]], err)
		}
		n += int(k)
	}
	return n, failed
}

// withGroup says in which keys a group is.
func (c *client) withGroup(ctx context.Context, rc rueidis.Client, shards []driver.Shard, keys []string, group string) ([]bool, error) {
	cmds := make([]rueidis.Completed, len(keys))
	for i, k := range keys {
		cmds[i] = rc.B().Xpending().Key(k).Group(group).Build()
	}
	answers, err := c.askAll(ctx, rc, cmds)
	if err != nil {
		return nil, err
	}
	has, known := make([]bool, len(keys)), false
	for i, a := range answers {
		err := a.Error()
		if isNoGroup(err) {
			continue
		}
		if err != nil {
			return nil, c.keyFailure("", shards[i], keys[i], err)
		}
		has[i], known = true, true
	}
	if !known {
		return nil, c.noGroup(group)
	}
	return has, nil
}
