package kafka

import (
	"context"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/seastreamer/seastreamer/driver"
)

// A described is a stream while it is described.
type described struct {
	info    driver.StreamInfo
	leaders []int32 // by index; -1 where there is none
}

// failed keeps the first error.
func (d *described) failed(err error) {
	if d.info.Err == nil {
		d.info.Err = err
	}
}

// DescribeStreams asks for the metadata of all streams at once, and then for
// each detail once. LastTime is the largest timestamp of the committed messages
// of a shard, which is that of the last one where timestamps go up; it stays
// zero below Kafka 3.0, and FirstTime where messages have none. A shard without a
// leader has no bounds, and its stream an Err.
func (c *client) DescribeStreams(ctx context.Context, names []string, d driver.Detail) ([]driver.StreamInfo, error) {
	const op = "describe streams"
	all, err := c.describeTopics(ctx, names)
	if err == nil && (d.Has(driver.DetailBounds) || d.Has(driver.DetailTimes)) {
		err = c.describeBounds(ctx, all, d)
	}
	if err == nil && d.Has(driver.DetailBytes) {
		err = c.describeBytes(ctx, all)
	}
	if err == nil && d.Has(driver.DetailSettings) {
		err = c.describeSettings(ctx, all)
	}
	if err != nil {
		return nil, c.fail(op, "", err)
	}
	infos := make([]driver.StreamInfo, len(names))
	for i, n := range names {
		info := all[n].info
		if !d.Has(driver.DetailReplicas) {
			info.Shards = slices.Clone(info.Shards)
			for j := range info.Shards {
				s := &info.Shards[j]
				s.Leader, s.Replicas, s.InSync = "", nil, nil
			}
		}
		infos[i] = info
	}
	return infos, nil
}

// describeTopics is the metadata of the streams named, one entry for each.
func (c *client) describeTopics(ctx context.Context, names []string) (map[string]*described, error) {
	all := make(map[string]*described, len(names))
	asked := make([]string, 0, len(names))
	for _, n := range names {
		if all[n] != nil {
			continue
		}
		all[n] = &described{info: driver.StreamInfo{Name: n}}
		if err := checkName(n); err != nil {
			all[n].failed(err)
			continue
		}
		asked = append(asked, n)
	}
	meta, err := c.metadata(ctx, asked)
	if err != nil {
		return nil, err
	}
	for i := range meta.Topics {
		t := &meta.Topics[i]
		if t.Topic == nil || all[*t.Topic] == nil {
			continue
		}
		d := all[*t.Topic]
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
			d.failed(c.fail("", *t.Topic, err))
			continue
		}
		d.fill(t)
	}
	for _, n := range asked {
		if d := all[n]; d.info.Err == nil && len(d.info.Shards) == 0 {
			d.failed(c.fail("", n, kerr.UnknownTopicOrPartition))
		}
	}
	return all, nil
}

// fill takes over what metadata say.
func (d *described) fill(t *kmsg.MetadataResponseTopic) {
	d.info.Internal = t.IsInternal || isInternal(d.info.Name)
	d.info.Shards = make([]driver.ShardInfo, len(t.Partitions))
	d.leaders = make([]int32, len(t.Partitions))
	for i := range d.info.Shards {
		d.info.Shards[i] = driver.ShardInfo{Index: int32(i), Messages: driver.Count{N: -1}, Bytes: -1} //nolint:gosec // a partition's number
		d.leaders[i] = -1
	}
	for i := range t.Partitions {
		p := &t.Partitions[i]
		if p.Partition < 0 || int(p.Partition) >= len(d.leaders) {
			continue
		}
		s := &d.info.Shards[p.Partition]
		d.leaders[p.Partition] = p.Leader
		if p.Leader >= 0 {
			s.Leader = nodeName(p.Leader)
		}
		s.Replicas, s.InSync = nodeNames(p.Replicas), nodeNames(p.ISR)
	}
}

// isInternal reports whether Kafka or this library keeps a topic for itself.
func isInternal(name string) bool { return ownTopics[name] || name == positionTopic }

// shards are those that have a leader; the others are noted as failed.
func (c *client) shards(all map[string]*described) []driver.Shard {
	var shards []driver.Shard
	for n, d := range all {
		for i, leader := range d.leaders {
			s := driver.Shard{Stream: n, Index: int32(i)} //nolint:gosec // a partition's number
			if leader < 0 {
				d.failed(c.failShard(s, kerr.LeaderNotAvailable))
				continue
			}
			shards = append(shards, s)
		}
	}
	return shards
}

// ListOffsets takes these in place of a time, see also atEnd.
const (
	atFirstTime  = 0  // the first message that has a time
	atLastTime   = -3 // the message with the largest time, from version 7 on
	lastTimeFrom = 7
)

func (c *client) describeBounds(ctx context.Context, all map[string]*described, d driver.Detail) error {
	shards := c.shards(all)
	first, err := lookUp(ctx, c, c.cl, driver.Committed, each(shards, atStart))
	if err != nil {
		return err
	}
	end, err := lookUp(ctx, c, c.cl, driver.Committed, each(shards, atEnd)) // second, see bounds
	if err != nil {
		return err
	}
	some := shards[:0] // those with messages
	for _, s := range shards {
		t := all[s.Stream]
		f, e := first[s], end[s]
		if f.err != nil || e.err != nil {
			t.failed(cmpErr(f.err, e.err))
			continue
		}
		e.offset = max(e.offset, f.offset)
		if e.offset > f.offset {
			some = append(some, s)
		}
		if d.Has(driver.DetailBounds) {
			i := &t.info.Shards[s.Index]
			i.Bound = driver.Bound{First: seq(f.offset), Next: seq(e.offset)}
			i.Messages.N = e.offset - f.offset
		}
	}
	if !d.Has(driver.DetailTimes) {
		return nil
	}
	return c.describeTimes(ctx, all, some)
}

func (c *client) describeTimes(ctx context.Context, all map[string]*described, shards []driver.Shard) error {
	first, err := lookUp(ctx, c, c.cl, driver.Committed, each(shards, atFirstTime))
	if err != nil {
		return err
	}
	last, err := lookUp(ctx, c, c.cl, driver.Committed, each(shards, atLastTime))
	if err != nil {
		return err
	}
	for _, s := range shards {
		t := all[s.Stream]
		f, l := first[s], last[s]
		if err := cmpErr(f.err, l.err); err != nil && !unsupported(err) {
			t.failed(err)
			continue
		}
		if f.err == nil {
			t.info.Shards[s.Index].FirstTime = timeOf(f)
		}
		if l.err == nil && l.version >= lastTimeFrom {
			t.info.Shards[s.Index].LastTime = timeOf(l)
		}
	}
	return nil
}

func timeOf(l lookup) time.Time {
	if l.offset < 0 || l.time < 0 {
		return time.Time{}
	}
	return time.UnixMilli(l.time)
}

func cmpErr(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// describeBytes is what the leader's replica of each shard takes on its disk.
func (c *client) describeBytes(ctx context.Context, all map[string]*described) error {
	req := kmsg.NewPtrDescribeLogDirsRequest()
	for n, d := range all {
		if len(d.leaders) == 0 {
			continue
		}
		t := kmsg.NewDescribeLogDirsRequestTopic()
		t.Topic = n
		for i := range d.leaders {
			t.Partitions = append(t.Partitions, int32(i)) //nolint:gosec // a partition's number
		}
		req.Topics = append(req.Topics, t)
	}
	if len(req.Topics) == 0 {
		return nil // none asks for all
	}
	answers, err := c.sharded(ctx, req)
	if err != nil {
		return err
	}
	failed := map[int32]error{} // by broker
	for _, a := range answers {
		if a.Err != nil {
			failed[a.Meta.NodeID] = a.Err
			continue
		}
		resp := a.Resp.(*kmsg.DescribeLogDirsResponse)
		if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
			failed[a.Meta.NodeID] = err
			continue
		}
		for i := range resp.Dirs {
			all := all
			eachReplica(&resp.Dirs[i], func(topic string, p *kmsg.DescribeLogDirsResponseDirTopicPartition) {
				d := all[topic]
				if d == nil || p.Partition < 0 || int(p.Partition) >= len(d.leaders) {
					return
				}
				if leader := d.leaders[p.Partition]; leader < 0 || leader == a.Meta.NodeID {
					s := &d.info.Shards[p.Partition]
					s.Bytes = max(s.Bytes, p.Size)
				}
			})
		}
	}
	for n, d := range all {
		for i, leader := range d.leaders {
			if err := failed[leader]; err != nil && d.info.Shards[i].Bytes < 0 {
				d.failed(c.failShard(driver.Shard{Stream: n, Index: int32(i)}, err)) //nolint:gosec // a partition's number
			}
		}
	}
	return nil
}

// eachReplica calls f for what is in a folder to stay: not for copies that are
// being moved there.
func eachReplica(dir *kmsg.DescribeLogDirsResponseDir, f func(topic string, p *kmsg.DescribeLogDirsResponseDirTopicPartition)) {
	for j := range dir.Topics {
		t := &dir.Topics[j]
		for k := range t.Partitions {
			if p := &t.Partitions[k]; !p.IsFuture {
				f(t.Topic, p)
			}
		}
	}
}
