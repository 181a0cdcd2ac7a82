package kafka

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/seastreamer/seastreamer/driver"
)

// A topic is what metadata says of one.
type topic struct {
	id         [16]byte // zero where the broker has no ids
	partitions []partition
}

type partition struct {
	leader   int32
	replicas int
}

// topics asks for the metadata of streams. It never creates one, and a missing
// one is ErrNotFound. Without streams it only finds out whether a broker
// answers.
func topics(ctx context.Context, c *client, cl *kgo.Client, create bool, streams ...string) (map[string]topic, error) {
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{} // none, where nil is all
	req.AllowAutoTopicCreation = create
	for _, s := range streams {
		if err := checkName(s); err != nil {
			return nil, err
		}
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(s)
		req.Topics = append(req.Topics, t)
	}
	var resp *kmsg.MetadataResponse
	var err error
	if gone := c.ask(ctx, func() { resp, err = req.RequestWith(ctx, cl) }); gone != nil {
		return nil, c.fail("", "", gone)
	}
	if err != nil {
		return nil, c.fail("", "", err)
	}
	m := make(map[string]topic, len(resp.Topics))
	for _, t := range resp.Topics {
		name := ""
		if t.Topic != nil {
			name = *t.Topic
		}
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
			return nil, c.fail("", name, err)
		}
		ps := make([]partition, len(t.Partitions))
		for _, p := range t.Partitions {
			if int(p.Partition) < len(ps) && p.Partition >= 0 {
				ps[p.Partition] = partition{p.Leader, len(p.Replicas)}
			}
		}
		m[name] = topic{t.TopicID, ps}
	}
	for _, s := range streams {
		if len(m[s].partitions) == 0 {
			return nil, c.fail("", s, kerr.UnknownTopicOrPartition)
		}
	}
	return m, nil
}

// checkName says why Kafka would not take a topic's name.
func checkName(name string) error {
	err := driver.CheckStream(name)
	for i := 0; i < len(name) && err == nil; i++ {
		switch b := name[i]; {
		case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', '0' <= b && b <= '9', b == '.', b == '_', b == '-':
		default:
			err = errors.New("only letters, digits, dots, underscores and hyphens are taken by Kafka")
		}
	}
	if err != nil {
		return driver.Errorf(driver.ErrInvalid, "", "stream %q: %w", name, err)
	}
	return nil
}

// What ListOffsets takes in place of a time in milliseconds.
const (
	atEnd   = -1 // the stable end, or the high watermark for uncommitted readers
	atStart = -2 // the first offset
)

// listOffsets asks the leaders where shards begin, end, or have the first
// message at or after a time; then -1 means that there is none.
func listOffsets(ctx context.Context, c *client, cl *kgo.Client, iso driver.Isolation, at map[driver.Shard]int64) (map[driver.Shard]int64, error) {
	all, err := lookUp(ctx, c, cl, iso, at)
	if err != nil {
		return nil, err
	}
	found := make(map[driver.Shard]int64, len(all))
	for s, l := range all {
		if l.err != nil {
			return nil, l.err
		}
		found[s] = l.offset
	}
	return found, nil
}

// A lookup is what ListOffsets says of one shard.
type lookup struct {
	offset, time int64 // -1 where there is none
	version      int16 // of the answer
	err          error // a *driver.Error
}

// lookUp is listOffsets with the times that go with the offsets, and an error
// for each shard. It returns one for each of at.
func lookUp(ctx context.Context, c *client, cl *kgo.Client, iso driver.Isolation, at map[driver.Shard]int64) (map[driver.Shard]lookup, error) {
	if len(at) == 0 {
		return nil, nil
	}
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	if iso == driver.Committed {
		req.IsolationLevel = 1
	}
	index := map[string]int{}
	for s, when := range at {
		i, ok := index[s.Stream]
		if !ok {
			i = len(req.Topics)
			index[s.Stream] = i
			t := kmsg.NewListOffsetsRequestTopic()
			t.Topic = s.Stream
			req.Topics = append(req.Topics, t)
		}
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Partition, p.Timestamp = s.Index, when
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, p)
	}
	var answers []kgo.ResponseShard
	if gone := c.ask(ctx, func() { answers = cl.RequestSharded(ctx, req) }); gone != nil {
		return nil, c.fail("", oneOf(req), gone)
	}
	found := make(map[driver.Shard]lookup, len(at))
	for _, r := range answers {
		if r.Err != nil {
			if ctx.Err() != nil {
				return nil, c.fail("", oneOf(r.Req), r.Err)
			}
			c.lookedInVain(r, found)
			continue
		}
		answer := r.Resp.(*kmsg.ListOffsetsResponse)
		for _, t := range answer.Topics {
			for _, p := range t.Partitions {
				s := driver.Shard{Stream: t.Topic, Index: p.Partition}
				found[s] = lookup{p.Offset, p.Timestamp, answer.Version, c.failShard(s, kerr.ErrorForCode(p.ErrorCode))}
			}
		}
	}
	for s := range at {
		if _, ok := found[s]; !ok {
			found[s] = lookup{offset: -1, time: -1, err: &driver.Error{Shard: s, Kind: driver.ErrUnavailable, Err: fmt.Errorf("%s did not say where it begins and ends", c.nodes())}}
		}
	}
	return found, nil
}

// lookedInVain adds the error of a part of a request to its shards.
func (c *client) lookedInVain(r kgo.ResponseShard, found map[driver.Shard]lookup) {
	req, ok := r.Req.(*kmsg.ListOffsetsRequest)
	if !ok {
		return
	}
	for _, t := range req.Topics {
		err := c.fail("", t.Topic, r.Err)
		for _, p := range t.Partitions {
			found[driver.Shard{Stream: t.Topic, Index: p.Partition}] = lookup{offset: -1, time: -1, err: err}
		}
	}
}

// failShard is fail for what is about one shard.
func (c *client) failShard(s driver.Shard, err error) error {
	if err == nil {
		return nil
	}
	kind, text := c.describe(err, s.Stream)
	return &driver.Error{Shard: s, Kind: kind, Err: text}
}

// oneOf is the first stream of a ListOffsets request, for its error.
func oneOf(r kmsg.Request) string {
	if l, ok := r.(*kmsg.ListOffsetsRequest); ok && len(l.Topics) > 0 {
		return l.Topics[0].Topic
	}
	return ""
}

// bounds asks for the first offset and the end of shards.
func bounds(ctx context.Context, c *client, cl *kgo.Client, iso driver.Isolation, shards []driver.Shard) (map[driver.Shard]bound, error) {
	first, err := listOffsets(ctx, c, cl, iso, each(shards, atStart))
	if err != nil {
		return nil, err
	}
	// The end comes second: it is never below the start then.
	end, err := listOffsets(ctx, c, cl, iso, each(shards, atEnd))
	if err != nil {
		return nil, err
	}
	m := make(map[driver.Shard]bound, len(shards))
	for _, s := range shards {
		m[s] = bound{first[s], max(end[s], first[s])}
	}
	return m, nil
}

type bound struct{ first, end int64 }

func each(shards []driver.Shard, when int64) map[driver.Shard]int64 {
	m := make(map[driver.Shard]int64, len(shards))
	for _, s := range shards {
		m[s] = when
	}
	return m
}

// shardsOf lists the shards of topics.
func shardsOf(ts map[string]topic) []driver.Shard {
	var s []driver.Shard
	for name, t := range ts {
		for i := range t.partitions {
			s = append(s, driver.Shard{Stream: name, Index: int32(i)}) //nolint:gosec // a partition's number
		}
	}
	return s
}

// Bounds is the first offset and the last stable offset of every shard. It
// needs a broker to answer within the connect time-out, also where no stream
// is named.
func (c *client) Bounds(ctx context.Context, streams []string) (map[driver.Shard]driver.Bound, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	ctx, cancel := c.within(ctx)
	defer cancel()
	ts, err := topics(ctx, c, c.cl, false, streams...)
	if err != nil {
		return nil, err
	}
	bs, err := bounds(ctx, c, c.cl, driver.Committed, shardsOf(ts))
	if err != nil {
		return nil, err
	}
	m := make(map[driver.Shard]driver.Bound, len(bs))
	for s, b := range bs {
		m[s] = driver.Bound{First: seq(b.first), Next: seq(b.end)}
	}
	return m, nil
}

func seq(offset int64) driver.Seq { return driver.SeqOf(uint64(max(offset, 0))) } //nolint:gosec // not negative

// offset is a sequence number as Kafka counts, which ends at 63 bits.
func offset(s driver.Seq) int64 {
	if s.Hi != 0 || s.Lo > 1<<62 {
		return 1 << 62
	}
	return int64(s.Lo) //nolint:gosec // bounded above
}
