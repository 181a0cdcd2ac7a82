package kafka

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/seastreamer/seastreamer/driver"
)

// A shard may end in a hole: compaction has removed its last records, or only
// their batch is left, empty. franz-go passes over that without a word, and a
// reader that waits for the end of the shard would wait for ever. So when
// nothing has come for a while, Fetch compares its cursors with the ends, and
// where one is behind it asks the broker what there is.

// quiet says when to look for holes: a while after the last message, then less
// and less often while a shard is behind its end, and not at all when none is.
type quiet struct {
	at   time.Time // zero is never
	wait time.Duration
}

const (
	quietFirst = 250 * time.Millisecond
	quietMost  = 5 * time.Second
)

// stir says that something has come.
func (q *quiet) stir() {
	if q.wait != quietFirst || q.at.IsZero() || time.Until(q.at) < quietFirst/2 {
		q.at, q.wait = time.Now().Add(quietFirst), quietFirst
	}
}

func (q *quiet) again() {
	q.wait = min(2*q.wait, quietMost)
	q.at = time.Now().Add(q.wait)
}

func (q *quiet) settle() { q.at = time.Time{} }

// skipHoles returns batches without messages for the shards that have a hole
// at their end.
func (m *consumer) skipHoles(ctx context.Context, into []driver.Batch) []driver.Batch {
	if m.cl.BufferedFetchRecords() > 0 {
		m.quiet.stir() // it came this moment
		return into
	}
	m.mu.Lock()
	next := map[driver.Shard]int64{}
	for s, cur := range m.at {
		if cur.ready {
			next[s] = cur.next
		}
	}
	m.mu.Unlock()
	ends, err := listOffsets(ctx, m.c, m.c.cl, m.conf.Isolation, each(keys(next), atEnd))
	if err != nil {
		m.quiet.again()
		return into
	}
	behind := map[driver.Shard]int64{}
	for s, n := range next {
		if n < ends[s] {
			behind[s] = n
		}
	}
	if len(behind) == 0 {
		m.quiet.settle()
		return into
	}
	m.quiet.again()
	moved := m.probe(ctx, behind)
	m.mu.Lock()
	defer m.mu.Unlock()
	for s, to := range moved {
		// A rebalance may have taken the shard, or given it anew, meanwhile.
		if cur := m.at[s]; cur != nil && cur.ready && cur.next == behind[s] && to > cur.next {
			into = append(into, &batch{shard: s, gen: cur.gen, next: to})
			cur.next = to
		}
	}
	return into
}

func keys(m map[driver.Shard]int64) []driver.Shard {
	s := make([]driver.Shard, 0, len(m))
	for k := range m {
		s = append(s, k)
	}
	return s
}

// probe fetches a little at each offset and says up to where there is nothing.
//
// A broker gives at least one batch, whatever its size, to the first shard of a
// request that has any, and to the others none that does not fit into what was
// asked for: theirs may come empty though there is a lot. So nothing is
// concluded from an empty answer beside one that is not, and those shards are
// asked again by themselves.
func (m *consumer) probe(ctx context.Context, at map[driver.Shard]int64) map[driver.Shard]int64 {
	moved := map[driver.Shard]int64{}
	for len(at) > 0 {
		to, open := m.probeOnce(ctx, at)
		for s, next := range to {
			moved[s] = next
		}
		if len(open) == len(at) {
			break // no broker has told anything: later
		}
		at = open
	}
	return moved
}

// probeOnce is probe with one request to each broker. It also returns the
// shards that are to be asked again.
func (m *consumer) probeOnce(ctx context.Context, at map[driver.Shard]int64) (moved, open map[driver.Shard]int64) {
	var streams []string
	for s := range at {
		streams = append(streams, s.Stream)
	}
	ts, err := topics(ctx, m.c, m.c.cl, false, dedup(streams)...)
	if err != nil {
		return nil, at
	}
	requests := map[int32]*kmsg.FetchRequest{}
	names := map[[16]byte]string{}
	for s, from := range at {
		t := ts[s.Stream]
		if int(s.Index) >= len(t.partitions) {
			continue
		}
		names[t.id] = s.Stream
		leader := t.partitions[s.Index].leader
		req := requests[leader]
		if req == nil {
			req = kmsg.NewPtrFetchRequest()
			req.ReplicaID, req.MinBytes, req.MaxBytes, req.SessionEpoch = -1, 0, 1<<20, -1
			if m.conf.Isolation == driver.Committed {
				req.IsolationLevel = 1
			}
			requests[leader] = req
		}
		p := kmsg.NewFetchRequestTopicPartition()
		p.Partition, p.FetchOffset, p.PartitionMaxBytes = s.Index, from, 64<<10
		rt := kmsg.NewFetchRequestTopic()
		rt.Topic, rt.TopicID, rt.Partitions = s.Stream, t.id, []kmsg.FetchRequestTopicPartition{p}
		req.Topics = append(req.Topics, rt)
	}
	moved, open = map[driver.Shard]int64{}, map[driver.Shard]int64{}
	failed, some := map[driver.Shard]bool{}, false
	for leader, req := range requests {
		var answer kmsg.Response
		var err error
		if m.c.ask(ctx, func() { answer, err = m.c.cl.Broker(int(leader)).RetriableRequest(ctx, req) }) != nil || err != nil {
			continue
		}
		resp := answer.(*kmsg.FetchResponse)
		full := false // a shard has got something
		for i := range resp.Topics {
			for j := range resp.Topics[i].Partitions {
				full = full || len(resp.Topics[i].Partitions[j].RecordBatches) > 0
			}
		}
		some = some || full
		for i := range resp.Topics {
			t := &resp.Topics[i]
			name := t.Topic
			if name == "" {
				name = names[t.TopicID]
			}
			for j := range t.Partitions {
				p := &t.Partitions[j]
				s := driver.Shard{Stream: name, Index: p.Partition}
				from, ok := at[s]
				switch {
				case !ok || full && len(p.RecordBatches) == 0:
				case kerr.ErrorForCode(p.ErrorCode) != nil:
					failed[s] = true
				default:
					moved[s] = m.emptyUpTo(s, from, p)
				}
			}
		}
	}
	for s, from := range at {
		if _, told := moved[s]; some && !told && !failed[s] {
			open[s] = from
		}
	}
	return moved, open
}

// emptyUpTo is the offset below which, from from on, a fetch has shown that
// there is no record. It goes by the headers of the batches, for what there is
// is on its way through franz-go, and to decompress it here too would keep
// Fetch from taking it. Only a batch that from points into is looked into:
// compaction may have left nothing behind from.
func (m *consumer) emptyUpTo(s driver.Shard, from int64, p *kmsg.FetchResponseTopicPartition) int64 {
	end := p.HighWatermark
	iso := kgo.ReadUncommitted()
	if m.conf.Isolation == driver.Committed {
		end, iso = p.LastStableOffset, kgo.ReadCommitted()
	}
	if len(p.RecordBatches) == 0 {
		return end // and from there the broker had to wait
	}
	for rest := p.RecordBatches; len(rest) >= batchHead; {
		size := batchHead + int(int32(binary.BigEndian.Uint32(rest[8:])))
		var h kmsg.RecordBatch
		if size < batchHead || size > len(rest) || h.UnsafeReadFrom(rest[:size]) != nil || h.Magic != 2 {
			break // cut off at the end of the answer, or older than Kafka 0.11
		}
		next := h.FirstOffset + int64(h.LastOffsetDelta) + 1
		switch {
		case next <= from:
		case h.NumRecords == 0:
			from = next
		case h.FirstOffset >= from:
			return h.FirstOffset
		default:
			one := *p
			one.RecordBatches = rest[:size]
			f, to := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
				KeepControlRecords: true, Offset: from, IsolationLevel: iso, Topic: s.Stream, Partition: s.Index,
			}, &one, kgo.DefaultDecompressor(), nil)
			if f.Err != nil || len(f.Records) > 0 {
				return from
			}
			from = to
		}
		rest = rest[size:]
	}
	return from
}

// batchHead is what precedes a record batch and is not counted in its
// length: the first offset and the length (Kafka protocol, record batch v2).
const batchHead = 12

func dedup(s []string) []string {
	seen := map[string]bool{}
	kept := s[:0]
	for _, n := range s {
		if !seen[n] {
			seen[n] = true
			kept = append(kept, n)
		}
	}
	return kept
}
