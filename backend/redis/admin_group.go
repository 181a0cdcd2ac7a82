package redis

import (
	"context"
	"iter"
	"slices"
	"time"

	"github.com/redis/rueidis"

	"github.com/seastreamer/seastreamer/driver"
)

// A group of Redis belongs to one key. Those of the same name in several keys
// are one group here.

// A groupAt is what XINFO GROUPS says of a group in one key.
type groupAt struct {
	key       string
	name      string
	consumers int64
	pending   int64
	last      driver.Seq // the last delivered
	lag       int64      // below zero where the server does not know it
	shard     driver.Shard
}

// groupsOf asks for the groups of keys and calls f with each. What is no stream
// (any more) has none.
func (c *client) groupsOf(ctx context.Context, rc rueidis.Client, keys []string, f func(groupAt)) error {
	cmds := make([]rueidis.Completed, len(keys))
	for i, k := range keys {
		cmds[i] = rc.B().XinfoGroups().Key(k).Build()
	}
	answers, err := c.askAll(ctx, rc, cmds)
	if err != nil {
		return err
	}
	for i, a := range answers {
		list, err := a.ToArray()
		if isNoKey(err) {
			continue // deleted since it was found
		}
		if err != nil {
			return c.keyFailure("", driver.Shard{}, keys[i], err)
		}
		for _, m := range list {
			g, err := groupOf(m)
			if err != nil {
				return err
			}
			g.key = keys[i]
			f(g)
		}
	}
	return nil
}

func groupOf(m rueidis.RedisMessage) (g groupAt, err error) {
	info, err := m.AsMap()
	if err != nil {
		return g, errReply
	}
	number := func(name string) int64 {
		v, has := info[name]
		if !has || v.IsNil() {
			return -1
		}
		n, e := v.AsInt64()
		if e != nil {
			err = errReply
		}
		return n
	}
	name, last := info["name"], info["last-delivered-id"]
	g.name, _ = name.ToString()
	text, _ := last.ToString()
	var ok bool
	if g.last, ok = parseID(text); !ok {
		return g, errReply
	}
	g.consumers, g.pending, g.lag = number("consumers"), number("pending"), number("lag")
	return g, err
}

// GroupNames yields the groups of all streams, or of those named, by XINFO
// GROUPS of every key.
func (c *client) GroupNames(ctx context.Context, streams []string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		rc, err := c.ready(ctx)
		if err != nil {
			yield("", err)
			return
		}
		seen := map[string]struct{}{}
		stopped := false
		page := func(keys []string) error {
			var names []string
			err := c.groupsOf(ctx, rc, keys, func(g groupAt) {
				if _, known := seen[g.name]; !known {
					seen[g.name] = struct{}{}
					names = append(names, g.name)
				}
			})
			for _, name := range names {
				if stopped = !yield(name, nil); stopped {
					break
				}
			}
			return err
		}
		var failed error
		if len(streams) > 0 {
			layouts, errs := c.layoutsOf(ctx, rc, streams)
			for i := range layouts {
				switch {
				case failed != nil || stopped:
				case errs[i] != nil:
					failed = errs[i]
				case !layouts[i].exists():
					failed = c.missing(streams[i])
				default:
					failed = page(c.keys(&layouts[i]))
				}
			}
		} else {
			err := c.eachPage(ctx, rc, func(keys []string) bool {
				failed = page(keys)
				return failed == nil && !stopped
			})
			if failed == nil {
				failed = err
			}
		}
		if failed != nil && !stopped {
			yield("", failed)
		}
	}
}

// keys are those of all shards of a stream.
func (c *client) keys(l *layout) []string {
	keys := make([]string, len(l.shards))
	for i, n := range l.shards {
		keys[i] = c.key(l, n)
	}
	return keys
}

// findGroups finds where groups are: it looks at all keys, as Redis does not
// know which have a group. The shard is zero where a key is none: a bare key
// that is not read, as there are shards.
func (c *client) findGroups(ctx context.Context, rc rueidis.Client, names []string) (map[string][]groupAt, error) {
	wanted := make(map[string][]groupAt, len(names))
	for _, n := range names {
		wanted[n] = nil
	}
	seen := map[string]struct{}{} // keys that have one, as a scan may name keys twice
	var failed error
	err := c.eachPage(ctx, rc, func(keys []string) bool {
		keys = slices.DeleteFunc(keys, func(k string) bool { _, known := seen[k]; return known })
		failed = c.groupsOf(ctx, rc, keys, func(g groupAt) {
			if at, is := wanted[g.name]; is {
				seen[g.key] = struct{}{}
				wanted[g.name] = append(at, g)
			}
		})
		return failed == nil
	})
	if failed == nil {
		failed = err
	}
	if failed != nil {
		return nil, failed
	}
	keys := make([]string, 0, len(seen))
	for k := range seen {
		keys = append(keys, k)
	}
	shards, err := c.newFinder(rc).shards(ctx, keys, false)
	if err != nil {
		return nil, err
	}
	at := make(map[string]driver.Shard, len(keys))
	for i, k := range keys {
		at[k] = shards[i]
	}
	for name, all := range wanted {
		for i := range all {
			all[i].shard = at[all[i].key]
		}
		slices.SortFunc(all, func(a, b groupAt) int { return a.shard.Compare(b.shard) })
		wanted[name] = all
	}
	return wanted, nil
}

// DescribeGroups describes groups over all streams that have them.
//
// Members are the consumers of Redis. One that has left orderly is none; one
// that has died stays until somebody deletes it. So a group is stable where a
// member was heard of within AckTimeout or is connected, idle where all were
// heard of earlier, and empty where there are none. Behind is what Redis counts
// (lag, from 7.0, and not after XDEL or in a group that was put into the middle),
// and exact.
func (c *client) DescribeGroups(ctx context.Context, names []string) ([]driver.GroupInfo, error) {
	rc, err := c.ready(ctx)
	if err != nil {
		return nil, err
	}
	found, err := c.findGroups(ctx, rc, names)
	if err != nil {
		return nil, err
	}
	connected := c.connected(ctx, rc)
	infos := make([]driver.GroupInfo, len(names))
	for i, name := range names {
		g := &infos[i]
		g.Name, g.Kind = name, "stream"
		if len(found[name]) == 0 {
			g.Err = c.noGroup(name)
			continue
		}
		found[name] = slices.DeleteFunc(found[name], func(at groupAt) bool { return at.shard.Stream == "" })
		for _, at := range found[name] {
			g.Positions = append(g.Positions, driver.GroupPosition{
				Position: driver.Position{Shard: at.shard, Next: next(at.last)},
				Behind:   driver.Count{N: at.lag}, Pending: at.pending,
			})
		}
	}
	if err := c.describeMembers(ctx, rc, infos, found, connected); err != nil {
		return nil, err
	}
	return infos, nil
}

// next is the position behind a last delivered id. Zero has delivered nothing.
func next(last driver.Seq) driver.Seq {
	if last.IsZero() {
		return last
	}
	return last.Succ()
}

func (c *client) noGroup(name string) error {
	return driver.Errorf(driver.ErrNotFound, "", "%s has no group %q", c.where(), name)
}

// describeMembers asks for the consumers of each group in each key.
func (c *client) describeMembers(ctx context.Context, rc rueidis.Client, infos []driver.GroupInfo, found map[string][]groupAt, connected map[string]map[string]peerMember) error {
	type question struct{ info, at int }
	var asked []question
	var cmds []rueidis.Completed
	for i := range infos {
		for n, at := range found[infos[i].Name] {
			if at.consumers > 0 {
				asked = append(asked, question{i, n})
				cmds = append(cmds, rc.B().XinfoConsumers().Key(at.key).Group(at.name).Build())
			}
		}
	}
	answers, err := c.askAll(ctx, rc, cmds)
	if err != nil {
		return err
	}
	members := make([]map[string]*driver.MemberInfo, len(infos))
	for k, a := range answers {
		q := asked[k]
		g := &infos[q.info]
		all, err := consumersOf(a)
		if isNoKey(err) || isNoGroup(err) {
			continue // gone since it was found
		}
		if err != nil {
			g.Err = c.keyFailure("", g.Positions[q.at].Shard, found[g.Name][q.at].key, err)
			continue
		}
		if members[q.info] == nil {
			members[q.info] = map[string]*driver.MemberInfo{}
		}
		if len(all) == 1 {
			g.Positions[q.at].Member = all[0].ID
		}
		for _, m := range all {
			if known := members[q.info][m.ID]; known == nil {
				members[q.info][m.ID] = &m
			} else {
				known.Pending += m.Pending
				known.Idle = min(known.Idle, m.Idle)
			}
		}
	}
	for i := range infos {
		c.gather(&infos[i], members[i], connected[infos[i].Name])
	}
	return nil
}

// gather puts together the consumers that Redis knows and the connections of
// members: one that waits and has never been given a message is no consumer
// before Redis 7.2.
func (c *client) gather(g *driver.GroupInfo, members map[string]*driver.MemberInfo, connected map[string]peerMember) {
	if g.Err != nil && len(g.Positions) == 0 {
		return
	}
	for id, p := range connected {
		m := members[id]
		if m == nil {
			m = &driver.MemberInfo{ID: id, Idle: p.idle}
			if members == nil {
				members = map[string]*driver.MemberInfo{}
			}
			members[id] = m
		}
		m.Client, m.Host, m.Idle = p.client, p.host, min(m.Idle, p.idle)
	}
	g.State = "empty"
	for _, m := range members {
		g.Members = append(g.Members, *m)
		if _, here := connected[m.ID]; here || m.Idle < c.alive() {
			g.State = "stable"
		} else if g.State == "empty" {
			g.State = "idle"
		}
	}
	slices.SortFunc(g.Members, func(a, b driver.MemberInfo) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
}

// alive is how long ago a member may have been heard of that is taken for
// alive: who works on messages extends them within AckTimeout.
func (c *client) alive() time.Duration { return max(c.o.AckTimeout, 5*time.Second) }

// consumersOf reads what XINFO CONSUMERS answers.
func consumersOf(r rueidis.RedisResult) ([]driver.MemberInfo, error) {
	list, err := r.ToArray()
	if err != nil {
		return nil, err
	}
	all := make([]driver.MemberInfo, len(list))
	for i, m := range list {
		info, err := m.AsMap()
		if err != nil {
			return nil, errReply
		}
		name, pending, idle := info["name"], info["pending"], info["idle"]
		id, err0 := name.ToString()
		n, err1 := pending.AsInt64()
		ms, err2 := idle.AsInt64()
		if err0 != nil || err1 != nil || err2 != nil {
			return nil, errReply
		}
		all[i] = driver.MemberInfo{ID: id, Pending: n, Idle: time.Duration(ms) * time.Millisecond}
	}
	return all, nil
}
