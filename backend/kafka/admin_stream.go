package kafka

import (
	"context"
	"errors"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/seastreamer/seastreamer/driver"
)

// CreateStream makes a topic, and waits until the broker that it talks to has
// heard of it. Compact alone is cleanup.policy=compact; with an age or a size it
// is compact,delete.
func (c *client) CreateStream(ctx context.Context, s driver.StreamSpec) error {
	op := "create stream " + s.Name
	err := checkName(s.Name)
	if err == nil && s.Shards < 0 {
		err = driver.Errorf(driver.ErrInvalid, "", "%d shards", s.Shards)
	}
	if err != nil {
		return c.fail(op, s.Name, err)
	}
	settings, err := native(s.Settings, "")
	if err == nil {
		err = c.reach(ctx)
	}
	if err != nil {
		return c.fail(op, s.Name, err)
	}
	req := kmsg.NewPtrCreateTopicsRequest()
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = s.Name, -1, -1 // the broker's defaults
	if s.Shards > 0 {
		t.NumPartitions = int32(min(s.Shards, 1<<31-1)) //nolint:gosec // bounded
	}
	if s.Replicas != nil {
		t.ReplicationFactor = int16(max(0, min(*s.Replicas, 1<<15-1))) //nolint:gosec // bounded
	}
	for k, v := range settings {
		if v == nil {
			continue // the default is what it has
		}
		e := kmsg.NewCreateTopicsRequestTopicConfig()
		e.Name, e.Value = k, v
		t.Configs = append(t.Configs, e)
	}
	req.Topics = append(req.Topics, t)
	resp, err := request[*kmsg.CreateTopicsResponse](ctx, c, c.cl, req)
	for i := 0; err == nil && i < len(resp.Topics); i++ {
		err = answer(resp.Topics[i].ErrorCode, resp.Topics[i].ErrorMessage)
	}
	if errors.Is(err, kerr.TopicAlreadyExists) {
		return driver.Errorf(driver.ErrExists, op, "%s has it", c.nodes())
	}
	if err != nil {
		return c.fail(op, s.Name, err)
	}
	settled(ctx, func() bool {
		ts, err := topics(ctx, c, c.cl, false, s.Name)
		return err == nil && !slices.ContainsFunc(ts[s.Name].partitions, func(p partition) bool { return p.leader < 0 })
	})
	return nil
}

// DeleteStream removes a topic. Kafka takes the positions of groups along. What
// a Transactor knows of it stays in __sea_position, since its input may be the
// stream of that name in another cluster. The topics in which Kafka itself, or
// this library, keeps positions are refused.
func (c *client) DeleteStream(ctx context.Context, name string) error {
	op := "delete stream " + name
	err := checkName(name)
	if err == nil && isInternal(name) {
		err = driver.Errorf(driver.ErrInvalid, "", "what groups and transactions are at is kept there")
	}
	if err == nil {
		err = c.reach(ctx)
	}
	if err != nil {
		return c.fail(op, name, err)
	}
	req := kmsg.NewPtrDeleteTopicsRequest()
	t := kmsg.NewDeleteTopicsRequestTopic()
	t.Topic = &name
	req.Topics, req.TopicNames = append(req.Topics, t), []string{name}
	resp, err := request[*kmsg.DeleteTopicsResponse](ctx, c, c.cl, req)
	for i := 0; err == nil && i < len(resp.Topics); i++ {
		err = answer(resp.Topics[i].ErrorCode, resp.Topics[i].ErrorMessage)
	}
	if err != nil {
		return c.fail(op, name, err)
	}
	settled(ctx, func() bool {
		_, err := topics(ctx, c, c.cl, false, name)
		return errors.Is(err, driver.ErrNotFound)
	})
	return nil
}

// SetStream changes settings of a topic, all or none of them, and waits until
// the broker that it talks to has heard of it.
func (c *client) SetStream(ctx context.Context, name string, s driver.Settings) error {
	op := "set stream " + name
	if s.Replicas != nil {
		return unlisted(op, "the number of replicas is not a setting: reassign its shards")
	}
	now, err := c.streamConfigs(ctx, name)
	var settings map[string]*string
	if err == nil {
		settings, err = native(s, now[setPolicy])
	}
	if p, sets := settings[setPolicy]; err == nil && name == positionTopic && sets && (p == nil || *p != policyKeep) {
		err = driver.Errorf(driver.ErrInvalid, "", "%s has to stay %s: another loses the positions of all owners", setPolicy, policyKeep)
	}
	if err == nil {
		err = c.alterConfigs(ctx, kmsg.ConfigResourceTypeTopic, name, settings)
	}
	if err != nil {
		return c.fail(op, name, err)
	}
	settled(ctx, func() bool {
		now, err := c.streamConfigs(ctx, name)
		for k, v := range settings {
			if v != nil && now[k] != *v {
				return false
			}
		}
		return err == nil
	})
	return nil
}

// streamConfigs are all settings of a topic by name.
func (c *client) streamConfigs(ctx context.Context, name string) (map[string]string, error) {
	err := checkName(name)
	if err == nil {
		err = c.reach(ctx)
	}
	if err != nil {
		return nil, err
	}
	var found map[string]string
	var failed error
	err = c.configs(ctx, kmsg.ConfigResourceTypeTopic, []string{name}, nil, func(_ string, entries []driver.ConfigEntry, err error) {
		found, failed = map[string]string{}, err
		for _, e := range entries {
			found[e.Name] = e.Value
		}
	})
	return found, cmpErr(err, failed)
}

// AddShards makes a topic have that many partitions. Messages stay where they
// are, so that the same key may go to another shard from then on.
func (c *client) AddShards(ctx context.Context, name string, total int) error {
	op := "add shards to stream " + name
	err := c.reach(ctx)
	if err == nil && isInternal(name) {
		err = driver.Errorf(driver.ErrInvalid, "", "what groups and transactions are at is found there by the number of shards, which has to stay")
	}
	var ts map[string]topic
	if err == nil {
		ts, err = topics(ctx, c, c.cl, false, name)
	}
	if err != nil {
		return c.fail(op, name, err)
	}
	switch has := len(ts[name].partitions); {
	case total < has:
		return driver.Errorf(driver.ErrInvalid, op, "it has %d already, and Kafka cannot take any away", has)
	case total == has:
		return nil
	}
	req := kmsg.NewPtrCreatePartitionsRequest()
	t := kmsg.NewCreatePartitionsRequestTopic()
	t.Topic, t.Count = name, int32(min(total, 1<<31-1)) //nolint:gosec // bounded
	req.Topics = append(req.Topics, t)
	resp, err := request[*kmsg.CreatePartitionsResponse](ctx, c, c.cl, req)
	for i := 0; err == nil && i < len(resp.Topics); i++ {
		err = answer(resp.Topics[i].ErrorCode, resp.Topics[i].ErrorMessage)
	}
	if err != nil {
		return c.fail(op, name, err)
	}
	settled(ctx, func() bool {
		ts, err := topics(ctx, c, c.cl, false, name)
		return err == nil && len(ts[name].partitions) == total &&
			!slices.ContainsFunc(ts[name].partitions, func(p partition) bool { return p.leader < 0 })
	})
	return nil
}

// Trim removes exactly what lies below each position: a position above the end
// removes all that is committed by all replicas. A topic that is only compacted
// is ErrUnsupported.
func (c *client) Trim(ctx context.Context, before []driver.Position) ([]driver.Position, error) {
	const op = "trim"
	if err := c.reach(ctx); err != nil {
		return nil, c.fail(op, "", err)
	}
	shards := make([]driver.Shard, 0, len(before))
	for _, p := range before {
		if isInternal(p.Stream) {
			return nil, driver.Errorf(driver.ErrInvalid, op+" "+p.Shard.String(), "what groups and transactions are at is kept there")
		}
		shards = append(shards, p.Shard)
	}
	bs, err := bounds(ctx, c, c.cl, driver.Uncommitted, shards)
	if err != nil {
		return nil, c.fail(op, "", err)
	}
	req := kmsg.NewPtrDeleteRecordsRequest()
	to := map[driver.Shard]int64{} // the highest where a shard is named twice
	for _, p := range before {
		to[p.Shard] = max(to[p.Shard], min(offset(p.Next), bs[p.Shard].end))
	}
	streams := map[string][]kmsg.DeleteRecordsRequestTopicPartition{}
	for s, o := range to {
		if o <= bs[s].first {
			continue // nothing is below
		}
		p := kmsg.NewDeleteRecordsRequestTopicPartition()
		p.Partition, p.Offset = s.Index, o
		streams[s.Stream] = append(streams[s.Stream], p)
	}
	for name, ps := range streams {
		t := kmsg.NewDeleteRecordsRequestTopic()
		t.Topic, t.Partitions = name, ps
		req.Topics = append(req.Topics, t)
	}
	first, failed := map[driver.Shard]int64{}, map[driver.Shard]error{}
	if len(req.Topics) > 0 {
		if first, failed, err = c.deleteRecords(ctx, req); err != nil {
			return nil, c.fail(op, "", err)
		}
	}
	if err := driver.Partial(errsOf(shards, failed)); err != nil {
		return nil, err
	}
	after := make([]driver.Position, len(before))
	for i, p := range before {
		f, ok := first[p.Shard]
		if !ok {
			f = bs[p.Shard].first
		}
		after[i] = driver.Position{Shard: p.Shard, Next: seq(f)}
	}
	return after, nil
}

// deleteRecords returns the first offsets that are left, and the errors of those
// shards of which nothing was removed, or nobody knows.
func (c *client) deleteRecords(ctx context.Context, req *kmsg.DeleteRecordsRequest) (first map[driver.Shard]int64, failed map[driver.Shard]error, err error) {
	answers, err := c.sharded(ctx, req)
	if err != nil {
		return nil, nil, err
	}
	first, failed = map[driver.Shard]int64{}, map[driver.Shard]error{}
	for _, a := range answers {
		if a.Err != nil {
			for _, t := range a.Req.(*kmsg.DeleteRecordsRequest).Topics {
				for _, p := range t.Partitions {
					s := driver.Shard{Stream: t.Topic, Index: p.Partition}
					failed[s] = c.failShard(s, a.Err)
				}
			}
			continue
		}
		for _, t := range a.Resp.(*kmsg.DeleteRecordsResponse).Topics {
			for _, p := range t.Partitions {
				s := driver.Shard{Stream: t.Topic, Index: p.Partition}
				err := kerr.ErrorForCode(p.ErrorCode)
				if errors.Is(err, kerr.PolicyViolation) {
					err = &driver.Error{Op: "trim", Shard: s, Kind: errors.ErrUnsupported, Err: &answered{"Kafka does not trim what is only compacted: set " + setPolicy + "=" + policyMixed + " first", err}}
				} else if err != nil {
					err = c.failShard(s, err)
				}
				first[s], failed[s] = p.LowWatermark, err
			}
		}
	}
	return first, failed, nil
}

// Resolve asks for the positions of all shards at once.
func (c *client) Resolve(ctx context.Context, stream string, start driver.Start) ([]driver.Position, error) {
	op := "resolve " + start.String() + " of stream " + stream
	if err := c.reach(ctx); err != nil {
		return nil, c.fail(op, stream, err)
	}
	ts, err := topics(ctx, c, c.cl, false, stream)
	if err != nil {
		return nil, c.fail(op, stream, err)
	}
	shards := shardsOf(ts)
	at, err := c.resolve(ctx, c.cl, driver.Committed, start, shards)
	if err != nil {
		return nil, c.fail(op, stream, err)
	}
	to := make([]driver.Position, len(shards))
	for i, s := range shards {
		to[i] = driver.Position{Shard: s, Next: seq(at[s])}
	}
	return to, nil
}

// Count is the number of offsets in a range, see [driver.Count]. It asks
// nobody.
func (c *client) Count(_ context.Context, r []driver.Range) ([]driver.Count, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	n := make([]driver.Count, len(r))
	for i, r := range r {
		n[i].N = max(0, offset(r.To)-offset(r.From))
	}
	return n, nil
}
