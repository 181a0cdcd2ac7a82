package kafka

import (
	"context"
	"errors"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/seastreamer/seastreamer/driver"
)

// A group has the positions as the offsets of a consumer group too, committed
// in the same transaction: not by franz-go's session for that, which commits
// what was polled, but by hand, with positions that the unit names. So tools see
// how far it is and can set it. Alone the offsets would not do: where a group
// has no members they expire one by one, a week after their last commit, and a
// shard may be quiet for longer.
type group struct {
	c    *client
	name string

	mu  sync.Mutex
	ids map[string][16]byte // of the streams; zero where the cluster has none
}

// learn finds out the ids of streams, by which newer requests name them.
func (g *group) learn(ctx context.Context, at []driver.Position) error {
	var streams []string
	for s := range byStream(at) {
		streams = append(streams, s)
	}
	ts, err := retried(ctx, func() (map[string]topic, error) { return topics(ctx, g.c, g.c.cl, false, streams...) })
	g.mu.Lock()
	defer g.mu.Unlock()
	for s, t := range ts {
		g.ids[s] = t.id
	}
	return err
}

func (g *group) id(stream string) [16]byte {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.ids[stream]
}

// member is who commits, empty for somebody outside of the group's membership.
func (g *group) member() (id string, generation int32) { return "", -1 }

// fetch asks for the offsets of shards; those without one are left out.
//
// The shards are named, since a request for all leaves out those whose first
// commit is still pending, and the answer of one that is pending has an error
// and the offset -1: that is asked for again, never taken for no progress.
func (g *group) fetch(ctx context.Context, at []driver.Position) (map[driver.Shard]int64, error) {
	if len(at) == 0 {
		return nil, nil
	}
	if err := g.learn(ctx, at); err != nil {
		return nil, err
	}
	for tries := 0; ; tries++ {
		found, err := g.fetchOnce(ctx, at)
		if err == nil {
			return found, nil
		}
		if !errors.Is(err, kerr.UnstableOffsetCommit) && !(isRetriable(err) && tries < 5) {
			return nil, g.c.fail("", "", err)
		}
		if !pausing(ctx, min(retryBackoff(tries), retryBackoff(1))) {
			return nil, &driver.Error{Kind: driver.ErrUnavailable, Err: err}
		}
	}
}

func (g *group) fetchOnce(ctx context.Context, at []driver.Position) (map[driver.Shard]int64, error) {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Group, req.RequireStable = g.name, true
	rg := kmsg.NewOffsetFetchRequestGroup()
	rg.Group = g.name
	for stream, ps := range byStream(at) {
		t := kmsg.NewOffsetFetchRequestTopic()
		t.Topic = stream
		gt := kmsg.NewOffsetFetchRequestGroupTopic()
		gt.Topic, gt.TopicID = stream, g.id(stream)
		for _, p := range ps {
			t.Partitions = append(t.Partitions, p.Index)
			gt.Partitions = append(gt.Partitions, p.Index)
		}
		req.Topics = append(req.Topics, t)
		rg.Topics = append(rg.Topics, gt)
	}
	req.Groups = append(req.Groups, rg)
	var resp *kmsg.OffsetFetchResponse
	var err error
	if gone := g.c.ask(ctx, func() { resp, err = req.RequestWith(ctx, g.c.cl) }); gone != nil {
		return nil, gone
	}
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err != nil {
		return nil, err
	}
	found := map[driver.Shard]int64{}
	take := func(stream string, partition int32, code int16, offset int64) {
		if e := kerr.ErrorForCode(code); e != nil && err == nil {
			err = e
		}
		if offset >= 0 {
			found[driver.Shard{Stream: stream, Index: partition}] = offset
		}
	}
	for _, t := range resp.Topics { // before v8
		for _, p := range t.Partitions {
			take(t.Topic, p.Partition, p.ErrorCode, p.Offset)
		}
	}
	for _, r := range resp.Groups {
		if e := kerr.ErrorForCode(r.ErrorCode); e != nil {
			return nil, e
		}
		for _, t := range r.Topics {
			for _, p := range t.Partitions {
				take(g.stream(t.Topic, t.TopicID), p.Partition, p.ErrorCode, p.Offset)
			}
		}
	}
	if err != nil {
		return nil, err
	}
	return found, nil
}

// stream is a stream's name, which later versions of an answer say as an id.
func (g *group) stream(name string, id [16]byte) string {
	if name != "" {
		return name
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for n, i := range g.ids {
		if i == id {
			return n
		}
	}
	return ""
}

// commit adds positions to the transaction that t has open.
func (g *group) commit(ctx context.Context, t *transactional, at []driver.Position) error {
	id, epoch, err := t.cl.ProducerID(ctx)
	if err != nil {
		return err
	}
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.TransactionalID, req.Group, req.ProducerID, req.ProducerEpoch = t.id, g.name, id, epoch
	req.MemberID, req.Generation = g.member()
	for stream, ps := range byStream(at) {
		rt := kmsg.NewTxnOffsetCommitRequestTopic()
		rt.Topic, rt.TopicID = stream, g.id(stream)
		for _, p := range ps {
			rp := kmsg.NewTxnOffsetCommitRequestTopicPartition()
			rp.Partition, rp.Offset = p.Index, offset(p.Next)
			rt.Partitions = append(rt.Partitions, rp)
		}
		req.Topics = append(req.Topics, rt)
	}
	for tries := 0; ; tries++ {
		if t.version < safeTransactions {
			err = g.add(ctx, t, id, epoch)
		}
		if err == nil {
			err = g.commitOnce(ctx, t.cl, req)
		}
		// The end of the transaction before may not be marked yet.
		if err == nil || !errors.Is(err, kerr.ConcurrentTransactions) && !(isRetriable(err) && tries < 5) {
			return err
		}
		if !pausing(ctx, min(retryBackoff(tries), retryBackoff(0))) {
			return err
		}
		err = nil
	}
}

func (g *group) commitOnce(ctx context.Context, cl *kgo.Client, req *kmsg.TxnOffsetCommitRequest) error {
	var resp *kmsg.TxnOffsetCommitResponse
	var err error
	if gone := g.c.ask(ctx, func() { resp, err = req.RequestWith(ctx, cl) }); gone != nil {
		return gone
	}
	if err != nil {
		return err
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return err
			}
		}
	}
	return nil
}

// add says that the transaction will have offsets of the group, which newer
// clusters see for themselves.
func (g *group) add(ctx context.Context, t *transactional, id int64, epoch int16) error {
	req := kmsg.NewPtrAddOffsetsToTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Group = t.id, id, epoch, g.name
	var resp *kmsg.AddOffsetsToTxnResponse
	var err error
	if gone := g.c.ask(ctx, func() { resp, err = req.RequestWith(ctx, t.cl) }); gone != nil {
		return gone
	}
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	return err
}

func byStream(at []driver.Position) map[string][]driver.Position {
	m := map[string][]driver.Position{}
	for _, p := range at {
		m[p.Stream] = append(m[p.Stream], p)
	}
	return m
}

// isRetriable reports whether the server says that it is not ready.
func isRetriable(err error) bool {
	var k *kerr.Error
	return errors.As(err, &k) && k.Retriable
}
