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
// how far it is; and where several owners share the group, the broker refuses
// offsets, and with them the unit, of a generation that is over. What a member
// had pending when the generation ended, since it died between its offsets and
// the end of its transaction, franz-go waits for: its consumer asks for stable
// offsets of the shards that it gets, before it says that it has them.
//
// A generation is not enough: a member that joins is one of the new generation
// before it has learned which shards are its own no longer. That is safe as long
// as it is the same member, from which the group takes nothing that it has not
// given up. Under another id it is not, so a unit moves only shards that were
// claimed under the id that commits: see unit.check.
//
// A claim never goes by them. Where a group has no members they expire one by
// one, a week after their last commit, and a shard may be quiet for longer; and
// a name may have had another group since.
type group struct {
	c    *client
	name string

	opened chan struct{} // closed when cl is set
	cl     *kgo.Client   // the member's, where owners share; else nil

	mu      sync.Mutex
	ids     map[string][16]byte // of the streams; zero where the cluster has none
	offsets int                 // shards of offsetsTopic; zero is not known yet
}

func newGroup(c *client, name string) *group {
	return &group{c: c, name: name, opened: make(chan struct{}), ids: map[string][16]byte{}}
}

// A membership says who commits; the zero value of a group without members is
// nobody.
type membership struct {
	id         string
	generation int32
}

var nobody = membership{generation: -1}

// member is what the group knows this process as now.
func (g *group) member() membership {
	if g.cl == nil {
		return nobody
	}
	id, generation := g.cl.GroupMetadata()
	return membership{id, generation}
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

// shard is where the broker keeps the group's offsets, if that is to be known.
func (g *group) shard(ctx context.Context) (driver.Shard, bool) {
	g.mu.Lock()
	n := g.offsets
	g.mu.Unlock()
	if n == 0 {
		ts, err := topics(ctx, g.c, g.c.cl, false, offsetsTopic)
		if err != nil {
			return driver.Shard{}, false
		}
		n = len(ts[offsetsTopic].partitions)
		g.mu.Lock()
		g.offsets = n
		g.mu.Unlock()
	}
	return driver.Shard{Stream: offsetsTopic, Index: hashed(g.name, n)}, true
}

// commit adds positions to the transaction that t has open.
func (g *group) commit(ctx context.Context, t *transactional, who membership, at []driver.Position) error {
	if g.cl != nil && (who.id == "" || who.generation < 0) {
		// It is joining. The broker would take offsets of nobody, also while the
		// group has members.
		return kerr.RebalanceInProgress
	}
	id, epoch, err := t.cl.ProducerID(ctx)
	if err != nil {
		return err
	}
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.TransactionalID, req.Group, req.ProducerID, req.ProducerEpoch = t.id, g.name, id, epoch
	req.MemberID, req.Generation = who.id, who.generation
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
