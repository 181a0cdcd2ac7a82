package redis

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/seastreamer/seastreamer/driver"
)

const (
	// putGroup puts the group ARGV[1] behind the id ARGV[2], and makes it where
	// there is none. ARGV[3] is how many entries it has read then, or ''.
	putGroup script = `
local how = {KEYS[1], ARGV[1], ARGV[2]}
if ARGV[3] ~= '' then how[4], how[5] = 'ENTRIESREAD', ARGV[3] end
local put = redis.pcall('XGROUP', 'SETID', unpack(how))
if not put.err then return 1 end
if put.err:find('NOGROUP', 1, true) then return redis.pcall('XGROUP', 'CREATE', unpack(how)) end
return put`

	// dropGroup destroys the group ARGV[1] where none of its consumers was heard
	// of for ARGV[2] milliseconds, and answers 1; it answers the name of one that
	// was, and 0 where there is no such group.
	dropGroup script = luaMap + `
local all = redis.pcall('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])
if all.err then
  if all.err:find('NOGROUP', 1, true) or all.err:find('no such key', 1, true) then return 0 end
  return all
end
for _, c in ipairs(all) do
  c = map(c)
  if c['idle'] < tonumber(ARGV[2]) then return c['name'] end
end
return redis.call('XGROUP', 'DESTROY', KEYS[1], ARGV[1])`
)

// SetPositions moves a group, or makes it (XGROUP SETID, XGROUP CREATE). That is
// never refused: members keep no position, and read on from the new one. What
// is out at members stays out: it is acknowledged, or delivered again, as if
// nothing had happened; when a group is moved back, messages that are out come
// once more beside that. From Redis 7.0 the group also learns how many entries
// it has read, as far as that can be counted exactly, so that it knows how far
// it is behind.
func (c *client) SetPositions(ctx context.Context, group string, at []driver.Position) error {
	rc, err := c.ready(ctx)
	if err != nil {
		return err
	}
	if group == "" {
		return driver.Errorf(driver.ErrInvalid, "", "the group has no name")
	}
	shards, ranges := make([]driver.Shard, len(at)), make([]driver.Range, len(at))
	for i, p := range at {
		shards[i], ranges[i] = p.Shard, driver.Range{Shard: p.Shard, From: p.Next, To: driver.MaxSeq}
	}
	keys, err := c.keysOf(ctx, rc, shards)
	if err != nil {
		return err
	}
	sights, err := c.sights(ctx, shards, keys)
	if err != nil {
		return err
	}
	left, err := c.count(ctx, rc, ranges, false)
	if err != nil {
		return err
	}
	cmds := make([]rueidis.Completed, len(at))
	for i, p := range at {
		read := ""
		if n := left[i].N; n >= 0 && sights[i].counts && uint64(n) <= sights[i].added { //nolint:gosec // not negative
			read = strconv.FormatUint(sights[i].added-uint64(n), 10) //nolint:gosec // as above
		}
		cmds[i] = putGroup.build(rc.B(), keys[i], group, idText(p.Next.Prev()), read)
	}
	return c.askEach(ctx, rc, shards, keys, cmds, nil)
}

// DeleteGroup destroys a group in all streams. What is out at members is
// forgotten, too. It is ErrFenced while a member is connected, which CLIENT LIST
// shows of those of this library, or was heard of within AckTimeout (and five
// seconds): it would make the group anew, and begin at the first message. Before
// Redis 7.2 nobody knows of a consumer of another program that waits and was not
// given a message meanwhile.
func (c *client) DeleteGroup(ctx context.Context, group string) error {
	rc, err := c.ready(ctx)
	if err != nil {
		return err
	}
	found, err := c.findGroups(ctx, rc, []string{group})
	if err != nil {
		return err
	}
	if len(found[group]) == 0 {
		return c.noGroup(group)
	}
	keys := make([]string, len(found[group]))
	for i, at := range found[group] {
		keys[i] = at.key
	}
	_, err = c.dropGroups(ctx, rc, group, make([]driver.Shard, len(keys)), keys)
	return err
}

// DeletePositions destroys a group in shards, see DeleteGroup. A member that is
// connected counts, whatever it reads. A shard that the group does not know is
// passed over.
func (c *client) DeletePositions(ctx context.Context, group string, shards []driver.Shard) error {
	rc, err := c.ready(ctx)
	if err != nil {
		return err
	}
	keys, err := c.keysOf(ctx, rc, shards)
	if err != nil {
		return err
	}
	n, err := c.dropGroups(ctx, rc, group, shards, keys)
	if err == nil && n == 0 && len(keys) > 0 {
		err = c.noGroup(group)
	}
	return err
}

// dropGroups looks at all keys before it destroys anything, and at each again
// when it does.
func (c *client) dropGroups(ctx context.Context, rc rueidis.Client, group string, shards []driver.Shard, keys []string) (n int, err error) {
	for member := range c.connected(ctx, rc)[group] {
		return 0, fenced(group, member, "is connected")
	}
	cmds := make([]rueidis.Completed, len(keys))
	for i, k := range keys {
		cmds[i] = rc.B().XinfoConsumers().Key(k).Group(group).Build()
	}
	answers, err := c.askAll(ctx, rc, cmds)
	if err != nil {
		return 0, err
	}
	for i, a := range answers {
		members, err := consumersOf(a)
		if isNoGroup(err) || isNoKey(err) {
			continue
		}
		if err != nil {
			return 0, c.keyFailure("", shards[i], keys[i], err)
		}
		for _, m := range members {
			if m.Idle < c.alive() {
				return 0, fenced(group, m.ID, fmt.Sprintf("was heard of %v ago: end it, or wait until it was silent for %v", m.Idle.Round(time.Millisecond), c.alive()))
			}
		}
	}
	for i, k := range keys {
		cmds[i] = dropGroup.build(rc.B(), k, group, millis(c.alive()))
	}
	err = c.askEach(ctx, rc, shards, keys, cmds, func(_ int, m rueidis.RedisMessage) error {
		if member, err := m.ToString(); err == nil {
			return fenced(group, member, "has just come back")
		}
		if gone, _ := m.AsInt64(); gone > 0 {
			n++
		}
		return nil
	})
	return n, err
}

func fenced(group, member, why string) error {
	return driver.Errorf(driver.ErrFenced, "", "group %q has members: %s %s", group, member, why)
}
