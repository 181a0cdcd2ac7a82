package redis

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/redis/rueidis"

	"github.com/seastreamer/seastreamer/driver"
)

// createEmpty makes streams without entries of all keys, where none of them
// exists, and answers 1; else 0. A stream of Redis comes with its first entry,
// or with its first group, and stays when that goes.
const createEmpty script = `
for _, key in ipairs(KEYS) do
  if redis.call('EXISTS', key) == 1 then return 0 end
end
for _, key in ipairs(KEYS) do
  redis.call('XGROUP', 'CREATE', key, 'sea-create', '0', 'MKSTREAM')
  redis.call('XGROUP', 'DESTROY', key, 'sea-create')
end
return 1`

// CreateStream makes the keys of a stream, at one moment on a server. In a
// cluster shard 0 comes last, by which readers know the stream, so that they
// see all or nothing; what fails on the way is taken back. One shard is the
// bare key, which gets no more shards.
func (c *client) CreateStream(ctx context.Context, s driver.StreamSpec) error {
	rc, err := c.ready(ctx)
	if err != nil {
		return err
	}
	if err := c.checkName(s.Name); err != nil {
		return err
	}
	if err := refuseSettings(&s.Settings); err != nil {
		return err
	}
	n := s.Shards
	if n == 0 {
		n = c.o.Shards
	}
	_, _, one := cutShard(s.Name)
	switch {
	case n < 0 || n >= math.MaxInt32:
		return driver.Errorf(driver.ErrInvalid, "", "stream %q cannot have %d shards", s.Name, n)
	case one && n > 1:
		return driver.Errorf(driver.ErrInvalid, "", "stream %q is one key: a name that ends in a number has no shards below it", s.Name)
	}
	l, err := c.discover(ctx, s.Name)
	if err != nil {
		return err
	}
	if l.exists() {
		return c.exists(s.Name)
	}
	keys := []string{c.o.bareKey(s.Name)}
	if n > 1 {
		keys = c.shardKeys(s.Name, 0, n)
	}
	err = c.makeKeys(ctx, rc, keys)
	if errors.Is(err, driver.ErrExists) {
		return c.exists(s.Name)
	}
	return err
}

func (c *client) exists(stream string) error {
	return driver.Errorf(driver.ErrExists, "", "%s has a stream %q, or a key of that name", c.where(), stream)
}

// shardKeys are the keys of shards [from, to).
func (c *client) shardKeys(stream string, from, to int) []string {
	keys := make([]string, 0, to-from)
	for i := from; i < to; i++ {
		keys = append(keys, c.o.shardKey(stream, int32(i))) //nolint:gosec // checked by the caller
	}
	return keys
}

// makeKeys makes streams without entries, the first key last. ErrExists is one
// of the keys.
func (c *client) makeKeys(ctx context.Context, rc rueidis.Client, keys []string) error {
	if rc.Mode() != rueidis.ClientModeCluster && len(keys) <= 1000 { // a script takes some thousands of keys
		_, err := c.makeTogether(ctx, rc, [][]string{keys}, false)
		return err
	}
	// The second key alone first: whoever makes that makes the others. Of several
	// who made them all at once each would find one of another's, and none would
	// succeed.
	second := min(2, len(keys))
	parts := [][]string{keys[1:second]}
	parts = slices.AppendSeq(parts, slices.Chunk(keys[second:], askAtOnce))
	parts = append(parts, keys[:1])
	// A part that is under way when ctx ends is waited for: a server that comes to
	// it later would make the keys behind what takes them back.
	whole := context.WithoutCancel(ctx)
	var made [][]string
	for _, part := range parts {
		err := c.failure("", driver.Shard{}, ctx.Err())
		if err == nil {
			var some [][]string
			some, err = c.makeTogether(whole, rc, slices.Collect(slices.Chunk(part, 1)), len(made) > 0)
			made = append(made, some...)
		}
		if err != nil {
			c.takeBack(whole, rc, made)
			return err
		}
	}
	return nil
}

// makeTogether makes the keys of each set at one moment, and returns the sets
// that are made. Where alone, as nobody else can be making them, those of which
// the server answered nothing count as made: they may be.
func (c *client) makeTogether(ctx context.Context, rc rueidis.Client, sets [][]string, alone bool) (made [][]string, err error) {
	if len(sets) == 0 {
		return nil, nil
	}
	cmds := make([]rueidis.Completed, len(sets))
	for i, keys := range sets {
		cmds[i] = createEmpty.buildFor(rc.B(), keys)
	}
	answers, err := c.ask(ctx, rc, cmds...)
	for i, a := range answers {
		n, e := a.AsInt64()
		switch {
		case alone && a.NonRedisError() != nil:
			made = append(made, sets[i]) // perhaps
		case e != nil && err == nil:
			err = c.keyFailure("", driver.Shard{}, sets[i][0], e)
		case e == nil && n == 1:
			made = append(made, sets[i])
		case e == nil && err == nil:
			err = driver.Errorf(driver.ErrExists, "", "%s has a key %q", c.where(), sets[i][0])
		}
	}
	if alone {
		made = append(made, sets[len(answers):]...)
	}
	return made, err
}

// deleteEmpty deletes streams that nobody has used since they were made.
const deleteEmpty script = `
local n = 0
for _, key in ipairs(KEYS) do
  local s = redis.pcall('XINFO', 'STREAM', key)
  if not s.err and redis.call('XLEN', key) == 0 and #redis.call('XINFO', 'GROUPS', key) == 0 then
    for i = 1, #s, 2 do
      if s[i] == 'last-generated-id' and s[i + 1] == '0-0' then n = n + redis.call('UNLINK', key) end
    end
  end
end
return n`

// takeBack deletes what was made of a stream that there will not be. A
// connection that has broken under the making, and a server that takes no
// writes for the time being, is tried again for RequestTimeout. The first set
// goes last: until then nobody makes the others anew, which a deletion that
// comes twice would hit.
func (c *client) takeBack(ctx context.Context, rc rueidis.Client, sets [][]string) {
	ctx, cancel := context.WithTimeout(ctx, c.o.RequestTimeout)
	defer cancel()
	for tries := 0; len(sets) > 0; {
		first := sets[:min(1, len(sets)-1)]
		some := sets[len(first):]
		cmds := make([]rueidis.Completed, len(some))
		for i, keys := range some {
			cmds[i] = deleteEmpty.buildFor(rc.B(), keys)
		}
		answers, err := c.askAll(ctx, rc, cmds)
		sets = slices.Concat(first, some[len(answers):])
		for i, a := range answers {
			if a.NonRedisError() != nil || temporary(a.Error()) {
				sets = append(sets, some[i])
			}
		}
		if len(sets) == len(first) {
			continue
		}
		if tries++; errors.Is(err, errClosed) || !sleep(ctx, backoff(tries)) {
			return
		}
	}
}

// refuseSettings says why a setting cannot be kept. That nothing limits a
// stream can be: it is always so.
func refuseSettings(s *driver.Settings) error {
	const trim = "Redis keeps no %s of a stream: trim it, or have its producers trim it (max_len, max_age)"
	switch {
	case s.MaxAge != nil && *s.MaxAge >= 0:
		return unsupported(trim, "max age")
	case s.MaxBytes != nil && *s.MaxBytes >= 0:
		return unsupported(trim, "max bytes")
	case s.MaxMessages != nil && *s.MaxMessages >= 0:
		return unsupported(trim, "max messages")
	case s.MaxMessage != nil && *s.MaxMessage >= 0:
		return unsupported("Redis keeps no largest message of a stream: max_record is the producers', proto-max-bulk-len the server's")
	case s.Compact != nil && *s.Compact:
		return unsupported("Redis does not compact streams: keep the last message of each key in a hash")
	case s.Replicas != nil:
		return unsupported("Redis replicates whole servers: a stream has as many replicas as its master")
	case s.MinInSync != nil:
		return unsupported("Redis asks for replicas of whole servers: set min-replicas-to-write of the node")
	case len(s.Native) > 0:
		return unsupported("Redis has no settings of a stream: those of nodes are changed by node config")
	}
	return nil
}

// SetStream is ErrUnsupported for all that would change something: Redis keeps
// no settings of a stream.
func (c *client) SetStream(ctx context.Context, name string, s driver.Settings) error {
	if _, err := c.ready(ctx); err != nil {
		return err
	}
	if _, err := c.find(ctx, name); err != nil {
		return err
	}
	return refuseSettings(&s)
}

// DeleteStream unlinks the keys of a stream, and with them go its groups. Shard
// 0 goes last: if something fails on the way the stream is still known and can
// be deleted again. A bare key of the same name, which is not read where there
// are shards, is left, and is a stream again then. What owners of a Transactor
// have written down about it is left too, as it may be about a stream of the
// same name on another broker.
func (c *client) DeleteStream(ctx context.Context, name string) error {
	rc, err := c.ready(ctx)
	if err != nil {
		return err
	}
	l, err := c.find(ctx, name)
	if err != nil {
		return err
	}
	keys := c.keys(&l)
	for _, some := range [][]string{keys[1:], keys[:1]} {
		cmds := make([]rueidis.Completed, len(some))
		for i, k := range some {
			cmds[i] = rc.B().Unlink().Key(k).Build()
		}
		answers, err := c.askAll(ctx, rc, cmds)
		if err != nil {
			return err
		}
		for i := range answers {
			if err := answers[i].Error(); err != nil {
				return c.keyFailure("", driver.Shard{}, some[i], err)
			}
		}
	}
	return nil
}

// AddShards makes the keys of more shards. Running producers and consumers find
// them within discover_every, and records with keys may go to other shards than
// before. A stream that is a bare key cannot have any: nobody would read the
// bare key any more.
func (c *client) AddShards(ctx context.Context, name string, total int) error {
	rc, err := c.ready(ctx)
	if err != nil {
		return err
	}
	l, err := c.find(ctx, name)
	if err != nil {
		return err
	}
	has := len(l.shards)
	switch {
	case total < has:
		return driver.Errorf(driver.ErrInvalid, "", "stream %q has %d shards: their number can only grow", name, has)
	case total == has:
		return nil
	case total >= math.MaxInt32:
		return driver.Errorf(driver.ErrInvalid, "", "stream %q cannot have %d shards", name, total)
	case !l.sharded:
		return unsupported("stream %q is the key %q itself: with shards beside it nobody would read that key; copy it to a stream that is created with %d shards", name, c.o.bareKey(name), total)
	}
	first := int(l.shards[has-1]) + 1
	err = c.makeKeys(ctx, rc, c.shardKeys(name, first, first+total-has))
	if errors.Is(err, driver.ErrExists) {
		return &driver.Error{Kind: driver.ErrExists, Err: fmt.Errorf("stream %q gets no more shards: %w", name, err)}
	}
	return err
}

// trimAtOnce is about how many entries a server removes in one go, some ten
// milliseconds, in which it does nothing else.
const trimAtOnce = 100_000

// Trim removes exactly what is below the positions (XTRIM MINID).
func (c *client) Trim(ctx context.Context, before []driver.Position) ([]driver.Position, error) {
	rc, err := c.ready(ctx)
	if err != nil {
		return nil, err
	}
	shards := make([]driver.Shard, len(before))
	for i, p := range before {
		shards[i] = p.Shard
	}
	keys, err := c.keysOf(ctx, rc, shards)
	if err != nil {
		return nil, err
	}
	// Whole nodes first, a piece at a time, and then the rest.
	all := make([]int, len(before))
	for i := range all {
		all[i] = i
	}
	errs := make([]error, len(before)) // of each shard: one that failed is not asked again
	for todo := all; len(todo) > 0; {
		todo = c.trim(ctx, rc, keys, before, todo, errs, "~", "LIMIT", strconv.Itoa(trimAtOnce))
	}
	c.trim(ctx, rc, keys, before, slices.DeleteFunc(all, func(i int) bool { return errs[i] != nil }), errs, "=")
	if err := driver.Partial(errs); err != nil {
		return nil, err
	}
	sights, err := c.sights(ctx, shards, keys)
	if err != nil {
		return nil, err
	}
	after := make([]driver.Position, len(before))
	for i := range sights {
		after[i] = driver.Position{Shard: shards[i], Next: sights[i].front()}
	}
	return after, nil
}

// trim returns those of the shards in todo of which entries went, and puts the
// errors of others in errs.
func (c *client) trim(ctx context.Context, rc rueidis.Client, keys []string, before []driver.Position, todo []int, errs []error, how string, more ...string) (went []int) {
	cmds := make([]rueidis.Completed, len(todo))
	for n, i := range todo {
		args := append([]string{"MINID", how, idText(before[i].Next)}, more...)
		cmds[n] = rc.B().Arbitrary("XTRIM").Keys(keys[i]).Args(args...).Build()
	}
	answers, err := c.askAll(ctx, rc, cmds)
	for n, i := range todo {
		if n >= len(answers) {
			errs[i] = err
			continue
		}
		count, err := answers[n].AsInt64()
		if err != nil {
			errs[i] = c.keyFailure("", before[i].Shard, keys[i], err)
		} else if count > 0 {
			went = append(went, i)
		}
	}
	return went
}

// keysOf are the keys of shards, which have to exist.
func (c *client) keysOf(ctx context.Context, rc rueidis.Client, shards []driver.Shard) ([]string, error) {
	at := map[string]int{}
	var names []string
	for _, s := range shards {
		if _, known := at[s.Stream]; !known {
			if err := c.checkName(s.Stream); err != nil {
				return nil, err
			}
			at[s.Stream] = len(names)
			names = append(names, s.Stream)
		}
	}
	layouts, errs := c.layoutsOf(ctx, rc, names)
	has := make(map[driver.Shard]bool, len(shards))
	for i := range layouts {
		if errs[i] != nil {
			return nil, errs[i]
		}
		if !layouts[i].exists() {
			return nil, c.missing(names[i])
		}
		for _, n := range layouts[i].shards {
			has[driver.Shard{Stream: names[i], Index: n}] = true
		}
	}
	keys := make([]string, len(shards))
	for i, s := range shards {
		if !has[s] {
			return nil, driver.Errorf(driver.ErrNotFound, "", "%s: stream %q has no shard %d", c.where(), s.Stream, s.Index)
		}
		keys[i] = c.key(&layouts[at[s.Stream]], s.Index)
	}
	return keys, nil
}
