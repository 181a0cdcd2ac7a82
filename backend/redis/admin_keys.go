package redis

import (
	"context"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/seastreamer/seastreamer/driver"
)

// What is needed to go from keys to streams, which is the other way round than
// in keys.go.

// shardOf takes the key of a shard of a sharded stream apart. Whether the
// stream is sharded the key alone does not tell.
func (o *Options) shardOf(key string) (stream string, n int32, ok bool) {
	base, digits, ok := cutShard(key)
	if !ok && o.HashTag == "shard" && strings.HasSuffix(key, "}") {
		if i := strings.LastIndex(key, ":{"); i > 0 {
			base, digits = key[:i], key[i+2:len(key)-1]
			ok = isShard(digits)
		}
	}
	if !ok {
		return "", 0, false
	}
	i, _ := strconv.ParseInt(digits, 10, 32)
	for _, s := range []string{untagged(base), base} {
		if _, _, one := cutShard(s); !one && o.shardKey(s, int32(i)) == key {
			return s, int32(i), true
		}
	}
	return "", 0, false
}

// bareOf is the stream that has its only shard in a key. With hash_tag two
// names may lead to the same key, of which this is the one without the tag, and
// there are keys to which none does.
func (o *Options) bareOf(key string) (stream string, ok bool) {
	names := []string{untagged(key), key}
	if base, n, one := cutShard(key); one {
		names = append([]string{untagged(base) + ":" + n}, names...)
	} else if i := strings.LastIndex(key, ":{"); i > 0 && strings.HasSuffix(key, "}") {
		names = append([]string{key[:i] + ":" + key[i+2:len(key)-1]}, names...)
	}
	for _, s := range names {
		if o.bareKey(s) == key {
			return s, true
		}
	}
	return "", false
}

// untagged is s without the braces around all of it.
func untagged(s string) string {
	if from, to, has := hashTag(s); has && from == 1 && to == len(s)-1 {
		return s[1:to]
	}
	return s
}

// A finder says which shard of which stream a key is. It remembers the streams
// that it has asked for, and belongs to one goroutine.
type finder struct {
	c       *client
	rc      rueidis.Client
	layouts map[string]*layout
}

func (c *client) newFinder(rc rueidis.Client) *finder {
	return &finder{c: c, rc: rc, layouts: map[string]*layout{}}
}

// shards says for each key which shard it is; the zero shard is none. With
// hidden it also names the streams of bare keys that are not read, as there are
// shards of the same name.
func (f *finder) shards(ctx context.Context, keys []string, hidden bool) ([]driver.Shard, error) {
	found := make([]driver.Shard, len(keys))
	sharded := make([]bool, len(keys)) // found is a guess, which the stream's layout confirms
	var ask []string
	for i, key := range keys {
		stream, n, ok := f.c.o.shardOf(key)
		if ok {
			found[i], sharded[i] = driver.Shard{Stream: stream, Index: n}, true
		} else if stream, ok = f.c.o.bareOf(key); ok {
			found[i] = driver.Shard{Stream: stream}
		}
		// What is called name:0 is a shard, and with discover=scan all are.
		_, _, one := cutShard(stream)
		sure := !ok || sharded[i] && (n == 0 || f.c.o.Discover == "scan") || !sharded[i] && (hidden || one)
		if !sure && f.layouts[stream] == nil {
			f.layouts[stream] = &layout{}
			ask = append(ask, stream)
		}
	}
	layouts, errs := f.c.layoutsOf(ctx, f.rc, ask)
	for i := range layouts {
		if errs[i] != nil {
			return nil, errs[i]
		}
		f.layouts[ask[i]] = &layouts[i]
	}
	for i, key := range keys {
		l := f.layouts[found[i].Stream]
		switch {
		case sharded[i] && found[i].Index != 0 && f.c.o.Discover != "scan" && !slices.Contains(l.shards, found[i].Index):
			stream, _ := f.c.o.bareOf(key) // a number too far: a stream of its own
			found[i] = driver.Shard{Stream: stream}
		case !sharded[i] && !hidden && l != nil && l.sharded:
			found[i] = driver.Shard{}
		}
		if driver.CheckStream(found[i].Stream) != nil {
			found[i] = driver.Shard{}
		}
	}
	return found, nil
}

// layoutsOf is discover for many streams in few round trips. A stream that does
// not exist has a layout that does not, and no error.
func (c *client) layoutsOf(ctx context.Context, rc rueidis.Client, streams []string) ([]layout, []error) {
	layouts, errs := make([]layout, len(streams)), make([]error, len(streams))
	for i, s := range streams {
		layouts[i].stream = s
	}
	if c.o.Discover == "scan" && len(streams) > 1 {
		c.scanLayouts(ctx, rc, layouts, errs)
		return layouts, errs
	}
	todo := make([]int, len(streams))
	for i := range todo {
		todo[i] = i
	}
	if c.o.Discover == "scan" && len(streams) == 1 {
		layouts[0], errs[0] = c.discover(ctx, streams[0])
		return layouts, errs
	}
	// First the bare key and shard 0 of each; then, of those that have more,
	// twice as many again and again.
	for step := 1; len(todo) > 0; step = min(2*step, 1024) {
		var cmds []rueidis.Completed
		from := make([]int, len(todo)+1)
		for n, i := range todo {
			from[n] = len(cmds)
			l := &layouts[i]
			_, _, one := cutShard(l.stream)
			if step == 1 {
				cmds = append(cmds, rc.B().Exists().Key(c.o.bareKey(l.stream)).Build())
			}
			for k := range step {
				if !one {
					cmds = append(cmds, rc.B().Exists().Key(c.o.shardKey(l.stream, int32(len(l.shards)+k))).Build()) //nolint:gosec // far below the limit
				}
			}
		}
		from[len(todo)] = len(cmds)
		answers, err := c.askAll(ctx, rc, cmds)
		var more []int
		for n, i := range todo {
			if from[n+1] > len(answers) {
				errs[i] = err
				continue
			}
			if full := c.grow(&layouts[i], answers[from[n]:from[n+1]], step == 1, &errs[i]); full {
				more = append(more, i)
			}
		}
		todo = more
	}
	return layouts, errs
}

// grow adds to a layout what EXISTS said of its keys, the bare one first where
// it was asked for, and says whether there may be more.
func (c *client) grow(l *layout, answers []rueidis.RedisResult, bare bool, failed *error) (more bool) {
	has := false
	for i := range answers {
		n, err := answers[i].AsInt64()
		if err != nil {
			*failed = c.keyFailure("", driver.Shard{}, l.stream, err)
			return false
		}
		switch {
		case bare && i == 0:
			has = n > 0
		case n == 0:
			if has && !l.sharded {
				l.shards = []int32{0}
			}
			return false
		default:
			l.sharded = true
			l.shards = append(l.shards, int32(len(l.shards))) //nolint:gosec // far below the limit
		}
	}
	if !l.sharded && has {
		l.shards = []int32{0}
	}
	return l.sharded
}

// scanLayouts finds the shards of streams in one scan of all keys.
func (c *client) scanLayouts(ctx context.Context, rc rueidis.Client, layouts []layout, errs []error) {
	at := make(map[string]*layout, len(layouts))
	found := map[driver.Shard]bool{}
	for i := range layouts {
		at[layouts[i].stream] = &layouts[i]
	}
	err := c.eachPage(ctx, rc, func(keys []string) bool {
		for _, key := range keys {
			if s, n, ok := c.o.shardOf(key); ok && at[s] != nil && !found[driver.Shard{Stream: s, Index: n}] {
				found[driver.Shard{Stream: s, Index: n}] = true
				if !at[s].sharded {
					at[s].shards, at[s].sharded = nil, true // it had the bare key, which is not read
				}
				at[s].shards = append(at[s].shards, n)
			} else if s, ok := c.o.bareOf(key); ok && at[s] != nil && !at[s].sharded && len(at[s].shards) == 0 {
				at[s].shards = []int32{0}
			}
		}
		return true
	})
	for i := range layouts {
		errs[i] = err
		slices.Sort(layouts[i].shards)
	}
}

// eachPage calls f with the keys of all streams of all masters, page by page,
// until it returns false. A key may come more than once. A master that cannot
// be asked is passed over, and the first error returned.
func (c *client) eachPage(ctx context.Context, rc rueidis.Client, f func(keys []string) bool) error {
	nodes, failed := c.masters(ctx, rc)
	for _, node := range nodes {
		for cursor := uint64(0); ; {
			answers, err := c.ask(ctx, node, node.B().Scan().Cursor(cursor).Count(scanCount).Type("stream").Build())
			var page rueidis.ScanEntry
			if err == nil {
				page, err = answers[0].AsScanEntry()
			}
			if err != nil {
				if failed == nil {
					failed = c.failure("", driver.Shard{}, err)
				}
				break
			}
			if len(page.Elements) > 0 && !f(page.Elements) {
				return nil
			}
			if cursor = page.Cursor; cursor == 0 {
				break
			}
		}
	}
	return failed
}

// masters are the nodes that take writes, by address, and the first error of
// those that could not be asked.
func (c *client) masters(ctx context.Context, rc rueidis.Client) (masters []rueidis.Client, failed error) {
	if rc.Mode() != rueidis.ClientModeCluster {
		for _, node := range rc.Nodes() {
			masters = append(masters, node)
		}
		if len(masters) == 0 {
			failed = driver.Errorf(driver.ErrUnavailable, "", "%s: no node can be asked", c.where())
		}
		return masters, failed
	}
	// Not those that rueidis knows: it hears of another master only when it is
	// sent there, and all that this one has would be missing from a list. Right
	// after a fail-over nodes may still name the old one, which says itself that
	// it is none.
	for try := 0; ; try++ {
		slots, err := c.clusterSlots(ctx, rc)
		if err != nil {
			return nil, err
		}
		masters, failed = masters[:0], nil
		stale := false
		for _, addr := range slices.Sorted(maps.Keys(slots)) {
			_, node, err := c.node(ctx, rc, keyOfSlot(slots[addr]), addr)
			var is bool
			if err != nil {
				stale = true // rueidis learns of it in a moment, by having been sent there
			} else {
				is, err = c.isMaster(ctx, node)
				if r, ok := answer(err); ok && code(r) == "NOPERM" {
					is, err = true, nil // it may not be asked
				}
			}
			switch {
			case err != nil && failed == nil:
				failed = c.failure("", driver.Shard{}, err)
			case err == nil && !is:
				stale = true
			case err == nil:
				masters = append(masters, node)
			}
		}
		if !stale {
			return masters, failed
		}
		if try == 60 || !sleep(ctx, 50*time.Millisecond) {
			if failed == nil {
				failed = driver.Errorf(driver.ErrUnavailable, "", "%s: the nodes do not agree on who is a master: a fail-over may be under way", c.where())
			}
			return masters, failed
		}
	}
}

// clusterSlots are the masters' addresses, with a slot of each.
func (c *client) clusterSlots(ctx context.Context, rc rueidis.Client) (map[string]uint16, error) {
	failed := error(driver.Errorf(driver.ErrUnavailable, "", "%s: no node can be asked", c.where()))
	for asked, node := range rc.Nodes() {
		answers, err := c.ask(ctx, node, node.B().ClusterSlots().Build())
		var ranges []rueidis.RedisMessage
		if err == nil {
			ranges, err = answers[0].ToArray()
		}
		if err != nil {
			failed = c.failure("", driver.Shard{}, err)
			continue
		}
		slots := map[string]uint16{}
		for _, r := range ranges {
			f, err := r.ToArray()
			if err != nil || len(f) < 3 {
				return nil, errReply
			}
			first, err := f[0].AsInt64()
			at, err2 := f[2].ToArray()
			if err != nil || err2 != nil || len(at) < 2 {
				return nil, errReply
			}
			host, _ := at[0].ToString()
			port, err := at[1].AsInt64()
			if err != nil || first < 0 || first >= 1<<14 {
				return nil, errReply
			}
			if host == "" {
				host = hostOf(asked)
			}
			slots[net.JoinHostPort(host, strconv.FormatInt(port, 10))] = uint16(first)
		}
		if len(slots) > 0 {
			return slots, nil
		}
	}
	return nil, failed
}

// keyOfSlot is some key in a slot.
func keyOfSlot(n uint16) string {
	for i := 0; ; i++ {
		if k := strconv.Itoa(i); slot(k) == n {
			return k
		}
	}
}
