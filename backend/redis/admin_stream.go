package redis

import (
	"context"
	"iter"

	"github.com/redis/rueidis"

	"github.com/seastreamer/seastreamer/driver"
)

// StreamNames yields the streams of the database, by SCAN on every master. A
// stream whose shards are keys of their own comes once, under the name without
// the number. No stream is internal: what this library keeps are no streams.
func (c *client) StreamNames(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		rc, err := c.ready(ctx)
		if err != nil {
			yield("", err)
			return
		}
		seen := map[string]struct{}{}
		f := c.newFinder(rc)
		stopped := false
		var failed error
		err = c.eachPage(ctx, rc, func(keys []string) bool {
			var shards []driver.Shard
			if shards, failed = f.shards(ctx, keys, true); failed != nil {
				return false
			}
			for _, s := range shards {
				if _, known := seen[s.Stream]; known || s.Stream == "" {
					continue
				}
				seen[s.Stream] = struct{}{}
				if stopped = !yield(s.Stream, nil); stopped {
					return false
				}
			}
			return true
		})
		if failed == nil {
			failed = err
		}
		if failed != nil && !stopped {
			yield("", failed)
		}
	}
}

// DescribeStreams describes streams. Messages are exact (XLEN), Bytes an
// estimate of the server's (MEMORY USAGE, SAMPLES 5), and the times those that
// a reader sees. Redis keeps no settings of a stream: trimming is the
// producers' affair, by max_len and max_age.
func (c *client) DescribeStreams(ctx context.Context, names []string, d driver.Detail) ([]driver.StreamInfo, error) {
	rc, err := c.ready(ctx)
	if err != nil {
		return nil, err
	}
	infos := make([]driver.StreamInfo, len(names))
	layouts, errs := c.layoutsOf(ctx, rc, names)
	var shards []shardAt
	for i := range infos {
		s, l := &infos[i], &layouts[i]
		s.Name = names[i]
		if s.Err = errs[i]; s.Err == nil {
			s.Err = c.checkName(s.Name)
		}
		if s.Err == nil && !l.exists() {
			s.Err = c.missing(s.Name)
		}
		if s.Err != nil {
			continue
		}
		s.Shards = make([]driver.ShardInfo, len(l.shards))
		for n, index := range l.shards {
			s.Shards[n] = driver.ShardInfo{Index: index, Messages: driver.Count{N: -1}, Bytes: -1}
			shards = append(shards, shardAt{s, &s.Shards[n], c.key(l, index)})
		}
	}
	if d&(driver.DetailBounds|driver.DetailTimes) != 0 {
		if err := c.describeContent(ctx, rc, shards, d); err != nil {
			return nil, err
		}
	}
	if d.Has(driver.DetailBytes) {
		if err := c.describeBytes(ctx, rc, shards); err != nil {
			return nil, err
		}
	}
	if d.Has(driver.DetailReplicas) {
		c.describeReplicas(ctx, shards)
	}
	return infos, nil
}

// A shardAt is a shard that is being described, and its key.
type shardAt struct {
	stream *driver.StreamInfo
	*driver.ShardInfo
	key string
}

// failed notes why something is not known of a shard.
func (s *shardAt) failed(err error) {
	if s.stream.Err == nil {
		s.stream.Err = err
	}
}

func (s *shardAt) shard() driver.Shard {
	return driver.Shard{Stream: s.stream.Name, Index: s.Index}
}

func (c *client) describeContent(ctx context.Context, rc rueidis.Client, shards []shardAt, d driver.Detail) error {
	// In pieces, as each answer has two entries.
	for len(shards) > 0 {
		some := shards[:min(askAtOnce, len(shards))]
		shards = shards[len(some):]
		cmds := make([]rueidis.Completed, len(some))
		for i := range some {
			cmds[i] = rc.B().XinfoStream().Key(some[i].key).Build()
		}
		answers, err := c.ask(ctx, rc, cmds...)
		if err != nil {
			return err
		}
		for i := range some {
			if err := c.content(&some[i], answers[i], d); isNoKey(err) {
				some[i].failed(c.missing(some[i].stream.Name)) // deleted since it was found
			} else if err != nil {
				some[i].failed(c.keyFailure("", some[i].shard(), some[i].key, err))
			}
		}
	}
	return nil
}

// content reads what XINFO STREAM says of a shard.
func (c *client) content(s *shardAt, r rueidis.RedisResult, d driver.Detail) error {
	m, err := r.ToMessage()
	if err != nil {
		return err
	}
	v := valueOf(m)
	at, err := sightOf(v)
	if err != nil {
		return err
	}
	if d.Has(driver.DetailBounds) {
		s.Bound = driver.Bound{First: at.front(), Next: at.end()}
		s.Messages = driver.Count{N: int64(at.length)} //nolint:gosec // it comes from one
		if at.counts {
			s.Added = int64(at.added) //nolint:gosec // likewise
		}
	}
	if d.Has(driver.DetailTimes) {
		info, err := v.table()
		if err != nil {
			return err
		}
		if s.FirstTime, err = c.entryTime(info["first-entry"]); err != nil {
			return err
		}
		if s.LastTime, err = c.entryTime(info["last-entry"]); err != nil {
			return err
		}
	}
	return nil
}

func (c *client) describeBytes(ctx context.Context, rc rueidis.Client, shards []shardAt) error {
	cmds := make([]rueidis.Completed, len(shards))
	for i := range shards {
		cmds[i] = rc.B().MemoryUsage().Key(shards[i].key).Samples(5).Build()
	}
	answers, err := c.askAll(ctx, rc, cmds)
	if err != nil {
		return err
	}
	for i := range answers {
		n, err := answers[i].AsInt64()
		switch {
		case rueidis.IsRedisNil(err):
			shards[i].failed(c.missing(shards[i].stream.Name))
		case err != nil:
			shards[i].failed(c.keyFailure("", shards[i].shard(), shards[i].key, err))
		default:
			shards[i].Bytes = n
		}
	}
	return nil
}

// describeReplicas says which nodes have the shards. In sync are the master and
// those replicas whose link to it is up and that have finished their first
// synchronisation; as Redis replicates behind the answer they may be behind by
// what was written in the last moments.
func (c *client) describeReplicas(ctx context.Context, shards []shardAt) {
	top, err := c.topology(ctx)
	if err != nil {
		for i := range shards {
			shards[i].failed(err)
		}
		return
	}
	for i := range shards {
		s := &shards[i]
		m := top.leader(slot(s.key))
		if m == nil {
			continue
		}
		s.Leader, s.Replicas, s.InSync = m.id, []string{m.id}, []string{m.id}
		for _, r := range top.replicas(m) {
			s.Replicas = append(s.Replicas, r.id)
			if r.linked {
				s.InSync = append(s.InSync, r.id)
			}
		}
	}
}
