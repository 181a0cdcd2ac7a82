package kafka

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/seastreamer/seastreamer/driver"
)

// Kafka says the offset of a time and not the time of an offset, so that Times
// reads. It asks each broker for a few kilobytes of many shards at once. A broker
// gives nothing of a shard whose next batch does not fit, except of the first
// one; and what came may be control records and aborted messages only. Such
// shards are then asked for one by one, in steps that grow.
const (
	peeksAtOnce = 1024    // shards in a request: 8 MiB at most
	peekBytes   = 8 << 10 // of each shard at first
	peekMost    = 1 << 20 // of a shard that is asked for alone, besides the batch it begins with
	peekers     = 8       // shards that are asked for one by one at a time
)

// A peek looks for the time of the first message at or after an offset.
type peek struct {
	shard driver.Shard
	at    int64
	done  bool
	time  time.Time // when done; zero where there is no message
}

// Times reads from the leaders, committed messages only.
func (c *client) Times(ctx context.Context, at []driver.Position) ([]time.Time, error) {
	const op = "times"
	if len(at) == 0 {
		return nil, c.check()
	}
	if err := c.reach(ctx); err != nil {
		return nil, c.fail(op, "", err)
	}
	peeks := make([]peek, len(at))
	seen := map[driver.Shard]int{} // how often
	var waves [][]*peek            // each has a shard once, as a request may
	for i, p := range at {
		peeks[i] = peek{shard: p.Shard, at: offset(p.Next)}
		n := seen[p.Shard]
		seen[p.Shard]++
		if n == len(waves) {
			waves = append(waves, nil)
		}
		waves[n] = append(waves[n], &peeks[i])
	}
	k := &peeker{c: c, decompressor: kgo.DefaultDecompressor()}
	for s := range seen {
		k.learn(s.Stream)
	}
	if err := k.refresh(ctx); err != nil {
		return nil, c.fail(op, "", err)
	}
	for _, w := range waves {
		if err := k.many(ctx, w); err != nil {
			return nil, c.fail(op, "", err)
		}
	}
	if err := k.singly(ctx, peeks); err != nil {
		return nil, c.fail(op, "", err)
	}
	times := make([]time.Time, len(peeks))
	for i := range peeks {
		times[i] = peeks[i].time
	}
	return times, nil
}

// A peeker knows who leads the shards.
type peeker struct {
	c            *client
	streams      []string
	decompressor kgo.Decompressor

	mu     sync.Mutex
	topics map[string]topic
}

func (k *peeker) learn(stream string) {
	for _, s := range k.streams {
		if s == stream {
			return
		}
	}
	k.streams = append(k.streams, stream)
}

func (k *peeker) refresh(ctx context.Context) error {
	ts, err := topics(ctx, k.c, k.c.cl, false, k.streams...)
	if err != nil {
		return err
	}
	k.mu.Lock()
	k.topics = ts
	k.mu.Unlock()
	return nil
}

// leader is who leads a shard, and the id of its topic.
func (k *peeker) leader(s driver.Shard) (int32, [16]byte, error) {
	k.mu.Lock()
	t := k.topics[s.Stream]
	k.mu.Unlock()
	if s.Index < 0 || int(s.Index) >= len(t.partitions) {
		return 0, t.id, driver.Errorf(driver.ErrNotFound, "", "%s has no %v", k.c.nodes(), s)
	}
	l := t.partitions[s.Index].leader
	if l < 0 {
		return 0, t.id, k.c.failShard(s, kerr.LeaderNotAvailable)
	}
	return l, t.id, nil
}

// many asks each leader for all of its shards. What fails is left for later.
func (k *peeker) many(ctx context.Context, peeks []*peek) error {
	by := map[int32][]*peek{}
	for _, p := range peeks {
		l, _, err := k.leader(p.shard)
		if errors.Is(err, driver.ErrNotFound) {
			return err
		}
		if err == nil {
			by[l] = append(by[l], p)
		}
	}
	var wg sync.WaitGroup
	for l, ps := range by {
		wg.Go(func() {
			for len(ps) > 0 && ctx.Err() == nil {
				n := min(len(ps), peeksAtOnce)
				_ = k.ask(ctx, l, ps[:n], peekBytes)
				ps = ps[n:]
			}
		})
	}
	wg.Wait()
	return ctx.Err()
}

// singly asks for each shard that is left until its time is found.
func (k *peeker) singly(ctx context.Context, peeks []peek) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	free := make(chan struct{}, peekers)
	var wg sync.WaitGroup
	for i := range peeks {
		p := &peeks[i]
		if p.done {
			continue
		}
		select {
		case free <- struct{}{}:
		case <-ctx.Done():
			wg.Wait()
			return context.Cause(ctx)
		}
		wg.Go(func() {
			defer func() { <-free }()
			if err := k.alone(ctx, p); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

func (k *peeker) alone(ctx context.Context, p *peek) error {
	size := int32(peekBytes)
	for tries := 0; !p.done; {
		at := p.at
		l, _, err := k.leader(p.shard)
		if err == nil {
			err = k.ask(ctx, l, []*peek{p}, size)
		}
		switch {
		case err == nil && p.at > at:
			tries, size = 0, min(2*size, peekMost)
		case err == nil && tries < 5, errors.Is(err, driver.ErrUnavailable) && tries < 5: // perhaps the leader has moved
			if tries++; !pausing(ctx, retryBackoff(tries)) {
				return ctx.Err()
			}
			if err := k.refresh(ctx); err != nil {
				return err
			}
		case err != nil:
			return err
		default:
			return driver.Errorf(driver.ErrUnavailable, "", "%s sent nothing of %v", k.c.nodes(), p.shard)
		}
	}
	return nil
}

// ask sends one Fetch request and looks at the answer. The error is of the whole
// request or of one that is alone in it.
func (k *peeker) ask(ctx context.Context, leader int32, peeks []*peek, size int32) error {
	req := kmsg.NewPtrFetchRequest()
	req.ReplicaID, req.MinBytes, req.MaxBytes, req.MaxWaitMillis, req.SessionEpoch, req.IsolationLevel = -1, 0, maxFetch, 0, -1, 1
	index := map[string]int{}
	byID := map[[16]byte]string{}
	asked := make(map[driver.Shard]*peek, len(peeks))
	for _, p := range peeks {
		_, id, err := k.leader(p.shard)
		if err != nil {
			return err
		}
		i, ok := index[p.shard.Stream]
		if !ok {
			i = len(req.Topics)
			index[p.shard.Stream] = i
			t := kmsg.NewFetchRequestTopic()
			t.Topic, t.TopicID = p.shard.Stream, id
			byID[id] = t.Topic
			req.Topics = append(req.Topics, t)
		}
		rp := kmsg.NewFetchRequestTopicPartition()
		rp.Partition, rp.FetchOffset, rp.PartitionMaxBytes = p.shard.Index, p.at, size
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, rp)
		asked[p.shard] = p
	}
	resp, err := request[*kmsg.FetchResponse](ctx, k.c, retriable{k.c.cl.Broker(int(leader))}, req)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err != nil {
		return k.c.fail("", peeks[0].shard.Stream, err)
	}
	for i := range resp.Topics {
		t := &resp.Topics[i]
		name := t.Topic
		if name == "" {
			name = byID[t.TopicID]
		}
		for j := range t.Partitions {
			s := driver.Shard{Stream: name, Index: t.Partitions[j].Partition}
			if p := asked[s]; p != nil {
				if err := k.look(ctx, p, &t.Partitions[j], len(peeks) == 1 && resp.ThrottleMillis == 0); err != nil && len(peeks) == 1 {
					return err
				}
			}
		}
	}
	return nil
}

// retriable makes a Requestor of a broker's retried requests.
type retriable struct{ b *kgo.Broker }

func (r retriable) Request(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	return r.b.RetriableRequest(ctx, req)
}

// look takes the time out of what came. alone says that the broker would have
// sent a batch of any size, if it had one.
func (k *peeker) look(ctx context.Context, p *peek, got *kmsg.FetchResponseTopicPartition, alone bool) error {
	err := kerr.ErrorForCode(got.ErrorCode)
	if errors.Is(err, kerr.OffsetOutOfRange) {
		if !alone {
			return nil
		}
		bs, err := bounds(ctx, k.c, k.c.cl, driver.Committed, []driver.Shard{p.shard})
		if err != nil {
			return err
		}
		if b := bs[p.shard]; p.at < b.first {
			p.at = b.first // what was there is removed
		} else {
			p.done = true
		}
		return nil
	}
	if err != nil {
		return k.c.failShard(p.shard, err)
	}
	fp, next := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
		Offset: p.at, IsolationLevel: kgo.ReadCommitted(), Topic: p.shard.Stream, Partition: p.shard.Index,
	}, got, k.decompressor, nil)
	if len(fp.Records) > 0 {
		p.done = true
		if t := fp.Records[0].Timestamp; t.UnixMilli() >= 0 {
			p.time = t
		}
		return nil
	}
	if fp.Err != nil {
		return k.c.failShard(p.shard, fp.Err)
	}
	p.at = max(p.at, next)
	if p.at >= got.LastStableOffset || alone && len(got.RecordBatches) == 0 {
		p.done = true // compaction has left nothing, or there was nothing
	}
	return nil
}
