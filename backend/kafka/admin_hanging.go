package kafka

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/seastreamer/seastreamer/driver"
)

// longTransaction is the longest that a broker allows by default
// (transaction.max.timeout.ms).
const longTransaction = 15 * time.Minute

// An openTransaction is one that a shard has open.
type openTransaction struct {
	shard driver.Shard
	start int64 // its first offset
	by    int64 // its producer
	last  time.Time
}

// hanging finds transactions that nobody will end, behind which no reader of
// committed messages gets (KIP-664): a shard has it open and was last written to
// long ago, and the coordinator of transactions does not know that the shard is
// part of one. The time alone is not enough, since it is the producer's own and
// may be that of old messages which it copies. Only shards are asked whose
// stable end is behind their end.
func (c *client) hanging(ctx context.Context, meta *kmsg.MetadataResponse) ([]driver.Problem, error) {
	opens, err := c.openTransactions(ctx, meta)
	if err != nil || len(opens) == 0 {
		return nil, err
	}
	opens = slices.DeleteFunc(opens, func(o openTransaction) bool { return time.Since(o.last) < longTransaction })
	known, err := c.knownTransactions(ctx, opens)
	if err != nil {
		return nil, err
	}
	var ps []driver.Problem
	for _, o := range opens {
		if known[o.by][o.shard] {
			continue
		}
		ps = append(ps, driver.Problem{
			What: "transaction-hanging", Item: o.shard.String(),
			Detail: fmt.Sprintf("producer %d has had a transaction open since sequence %d and last wrote at %s, and its coordinator knows nothing of it: readers of committed messages wait there", o.by, o.start, o.last.UTC().Format(time.RFC3339)),
		})
	}
	slices.SortFunc(ps, func(a, b driver.Problem) int { return strings.Compare(a.Item, b.Item) })
	return ps, nil
}

// openTransactions are those that shards have open, young ones too.
func (c *client) openTransactions(ctx context.Context, meta *kmsg.MetadataResponse) ([]openTransaction, error) {
	all := make(map[string]*described, len(meta.Topics))
	for i := range meta.Topics {
		if t := &meta.Topics[i]; t.Topic != nil {
			d := &described{info: driver.StreamInfo{Name: *t.Topic}}
			d.fill(t)
			all[*t.Topic] = d
		}
	}
	shards := c.shards(all)
	stable, err := lookUp(ctx, c, c.cl, driver.Committed, each(shards, atEnd))
	if err != nil {
		return nil, err
	}
	end, err := lookUp(ctx, c, c.cl, driver.Uncommitted, each(shards, atEnd))
	if err != nil {
		return nil, err
	}
	req := kmsg.NewPtrDescribeProducersRequest()
	for _, s := range shards {
		if stable[s].err == nil && end[s].err == nil && stable[s].offset < end[s].offset {
			t := kmsg.NewDescribeProducersRequestTopic()
			t.Topic, t.Partitions = s.Stream, []int32{s.Index}
			req.Topics = append(req.Topics, t)
		}
	}
	if len(req.Topics) == 0 {
		return nil, nil
	}
	answers, err := c.sharded(ctx, req)
	if err != nil {
		return nil, err
	}
	var opens []openTransaction
	for _, a := range answers {
		if a.Err != nil {
			continue // below 2.8, or the broker went away: it is said elsewhere
		}
		for _, t := range a.Resp.(*kmsg.DescribeProducersResponse).Topics {
			for _, p := range t.Partitions {
				for _, w := range p.ActiveProducers {
					if w.CurrentTxnStartOffset >= 0 {
						opens = append(opens, openTransaction{driver.Shard{Stream: t.Topic, Index: p.Partition}, w.CurrentTxnStartOffset, w.ProducerID, time.UnixMilli(w.LastTimestamp)})
					}
				}
			}
		}
	}
	return opens, nil
}

// knownTransactions are the shards of those that the coordinators know, by
// producer.
func (c *client) knownTransactions(ctx context.Context, opens []openTransaction) (map[int64]map[driver.Shard]bool, error) {
	known := map[int64]map[driver.Shard]bool{}
	if len(opens) == 0 {
		return known, nil
	}
	var producers []int64
	for _, o := range opens {
		producers = append(producers, o.by)
	}
	slices.Sort(producers)
	listed, err := asked(ctx, c, func() (kadm.ListedTransactions, error) {
		return kadm.NewClient(c.cl).ListTransactions(ctx, slices.Compact(producers), nil)
	})
	if err != nil || len(listed) == 0 {
		return known, err
	}
	described, err := asked(ctx, c, func() (kadm.DescribedTransactions, error) {
		return kadm.NewClient(c.cl).DescribeTransactions(ctx, listed.TransactionalIDs()...)
	})
	if err != nil {
		return nil, err
	}
	for _, d := range described {
		of := map[driver.Shard]bool{}
		for stream, ps := range d.Topics {
			for p := range ps {
				of[driver.Shard{Stream: stream, Index: p}] = true
			}
		}
		known[d.ProducerID] = of
	}
	return known, nil
}
