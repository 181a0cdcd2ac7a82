package kafka

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/seastreamer/seastreamer/driver"
)

// Where a Transactor stands is kept as records of one compacted topic, written
// in the transaction of the outputs. All records of a name are in one
// partition, so that a unit adds one partition to its transaction and a claim
// reads one. The format is described in the package's documentation.

const (
	positionTopic  = "__sea_position"
	positionShards = 16 // never another number: a name would look for its records elsewhere
)

// positionConfig is what the topic is created with. Small segments and a low
// ratio keep what a claim reads near one record for each key.
var positionConfig = map[string]string{
	"cleanup.policy":            "compact",
	"segment.bytes":             "1048576",
	"min.cleanable.dirty.ratio": "0.01",
	"max.compaction.lag.ms":     "3600000",
	"compression.type":          "producer",
}

// positionShard is where the records of a name are.
func positionShard(name string) driver.Shard {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name))
	return driver.Shard{Stream: positionTopic, Index: int32(h.Sum32() % positionShards)} //nolint:gosec // below 16
}

// The keys of a name, which has no slash.
func ownerKey(name string) string { return name + "/owner" }
func atKey(name string, s driver.Shard) string {
	return fmt.Sprintf("%s/at/%s/%d", name, s.Stream, s.Index)
}
func hasKey(name string, s driver.Shard) string {
	return fmt.Sprintf("%s/has/%s/%d", name, s.Stream, s.Index)
}

// A positionValue is the value of all three kinds of records.
type positionValue struct {
	V     int        `json:"v"`              // of the format
	Owner string     `json:"owner"`          // who wrote it: random, of one opening
	Run   string     `json:"run,omitempty"`  // of openings that replaced each other, in the owner's record
	Who   string     `json:"who,omitempty"`  // host and process, in the owner's record
	Unit  uint64     `json:"unit,omitempty"` // counted by the owner, in a position
	Next  driver.Seq `json:"next"`           // in a position, and where a listed shard began
}

const positionVersion = 1

func (v positionValue) encode() []byte {
	v.V = positionVersion
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // it has strings and numbers only
	}
	return b
}

func decodePosition(b []byte) (positionValue, error) {
	var v positionValue
	err := json.Unmarshal(b, &v)
	if err == nil && v.V != positionVersion {
		err = fmt.Errorf("its version is %d, and this program knows %d", v.V, positionVersion)
	}
	return v, err
}

// A standing is all that a name has written and not overwritten.
type standing struct {
	owner  positionValue
	marked uint64                   // one above the offset of owner
	at     map[string]positionValue // by key
	has    map[string]positionValue
	units  map[uint64]bool // of one owner, see readStanding
}

// readStanding reads the records of a name up to the end that its partition
// has now: see scan. units are those of the owner named whose records are still there.
func (c *client) readStanding(ctx context.Context, name, owner string, iso driver.Isolation) (*standing, error) {
	st := &standing{at: map[string]positionValue{}, has: map[string]positionValue{}, units: map[uint64]bool{}}
	var failed error
	err := c.scan(ctx, positionShard(name), iso, func(r *kgo.Record) {
		key, mine := strings.CutPrefix(string(r.Key), name+"/")
		if !mine || failed != nil {
			return
		}
		if r.Value == nil { // somebody has deleted it
			delete(st.at, key)
			delete(st.has, key)
			return
		}
		v, err := decodePosition(r.Value)
		if err != nil {
			failed = driver.Errorf(driver.ErrInvalid, "", "record %d of %v, with the key %q: %w", r.Offset, positionShard(name), r.Key, err)
			return
		}
		switch kind, _, _ := strings.Cut(key, "/"); kind {
		case "owner":
			st.owner, st.marked = v, uint64(r.Offset)+1 //nolint:gosec // not negative
		case "at":
			st.at[key] = v
			if v.Owner == owner {
				st.units[v.Unit] = true
			}
		case "has":
			st.has[key] = v
		}
	})
	if err == nil {
		err = failed
	}
	return st, err
}

func (st *standing) position(s driver.Shard) (positionValue, bool) {
	v, ok := st.at[atKey("", s)[1:]]
	return v, ok
}

func (st *standing) listed(s driver.Shard) (positionValue, bool) {
	v, ok := st.has[hasKey("", s)[1:]]
	return v, ok
}

// scan calls f for all committed records of a shard, up to the end that it has
// now. For a position the end is that of uncommitted records, the high
// watermark, never the stable end: while another job's transaction is open that
// is below what this one has committed. So scan waits for the transactions that
// are open, at most their time-out, and heals those that hang. Up to the stable
// end it waits for nobody, and may miss the last.
func (c *client) scan(ctx context.Context, s driver.Shard, iso driver.Isolation, f func(*kgo.Record)) error {
	ends, err := retried(ctx, func() (map[driver.Shard]int64, error) {
		return listOffsets(ctx, c, c.cl, iso, each([]driver.Shard{s}, atEnd))
	})
	if err != nil {
		return err
	}
	first, err := retried(ctx, func() (map[driver.Shard]int64, error) {
		return listOffsets(ctx, c, c.cl, driver.Uncommitted, each([]driver.Shard{s}, atStart))
	})
	if err != nil {
		return err
	}
	end := ends[s]
	moved := time.Now()
	for at := first[s]; at < end; {
		was := at
		at, err = retried(ctx, func() (int64, error) { return c.scanOnce(ctx, s, at, f) })
		if err == nil && at == was && time.Since(moved) > pinned {
			err = c.unpin(ctx, s)
			moved = time.Now()
		}
		if err != nil {
			return err
		}
		if at != was {
			moved = time.Now()
		}
	}
	return nil
}

// pinned is how long a scan waits at one place before it looks whether a
// transaction hangs there. Those that are under way are left alone.
const pinned = 500 * time.Millisecond

// retried calls f again while it fails for a while.
func retried[T any](ctx context.Context, f func() (T, error)) (T, error) {
	for tries := 0; ; tries++ {
		v, err := f()
		if err == nil || !errors.Is(err, driver.ErrUnavailable) || tries == 5 {
			return v, err
		}
		if !pausing(ctx, retryBackoff(tries)) {
			return v, err
		}
	}
}

// scanOnce asks once for what there is from an offset on, and returns where to
// go on: at the same place when the stable end is there.
func (c *client) scanOnce(ctx context.Context, s driver.Shard, at int64, f func(*kgo.Record)) (int64, error) {
	ts, err := topics(ctx, c, c.cl, false, s.Stream)
	if err != nil {
		return at, err
	}
	t := ts[s.Stream]
	req := kmsg.NewPtrFetchRequest()
	req.ReplicaID, req.MinBytes, req.MaxBytes, req.MaxWaitMillis, req.SessionEpoch, req.IsolationLevel = -1, 1, maxFetch, 250, -1, 1
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes = s.Index, at, maxFetch
	rt := kmsg.NewFetchRequestTopic()
	rt.Topic, rt.TopicID, rt.Partitions = s.Stream, t.id, []kmsg.FetchRequestTopicPartition{p}
	req.Topics = append(req.Topics, rt)
	if int(s.Index) >= len(t.partitions) {
		return at, driver.Errorf(driver.ErrNotFound, "", "%s has no %v", c.nodes(), s)
	}
	var answer kmsg.Response
	if gone := c.ask(ctx, func() { answer, err = c.cl.Broker(int(t.partitions[s.Index].leader)).RetriableRequest(ctx, req) }); gone != nil {
		return at, c.fail("", s.Stream, gone)
	}
	if err != nil {
		return at, c.fail("", s.Stream, err)
	}
	resp := answer.(*kmsg.FetchResponse)
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return at, c.fail("", s.Stream, err)
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return at, driver.Errorf(driver.ErrUnavailable, "", "%s sent nothing of %v", c.nodes(), s)
	}
	got := &resp.Topics[0].Partitions[0]
	if err := kerr.ErrorForCode(got.ErrorCode); err != nil {
		return at, c.fail("", s.Stream, err)
	}
	fp, next := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
		Offset: at, IsolationLevel: kgo.ReadCommitted(), Topic: s.Stream, Partition: s.Index,
	}, got, kgo.DefaultDecompressor(), nil)
	if fp.Err != nil {
		return at, c.fail("", s.Stream, fp.Err)
	}
	for _, r := range fp.Records {
		f(r)
	}
	if len(got.RecordBatches) == 0 {
		next = max(next, got.LastStableOffset) // compaction has left nothing up to there
	}
	return max(next, at), nil
}

// needPositions finds the topic, or creates it.
func (c *client) needPositions(ctx context.Context) error {
	ts, err := topics(ctx, c, c.cl, false, positionTopic)
	if errors.Is(err, driver.ErrNotFound) {
		if c.o.NoAutocreate {
			return driver.Errorf(driver.ErrNotFound, "", "%s has no stream %q, which keeps positions, and no_autocreate is set: create it with %d partitions and cleanup.policy=compact", c.nodes(), positionTopic, positionShards)
		}
		ts, err = retried(ctx, func() (map[string]topic, error) {
			if err := c.createPositions(ctx); err != nil {
				return nil, err
			}
			ts, err := topics(ctx, c, c.cl, false, positionTopic)
			if errors.Is(err, driver.ErrNotFound) { // this broker has not heard of it yet
				err = &driver.Error{Kind: driver.ErrUnavailable, Err: err}
			}
			return ts, err
		})
	}
	if err != nil {
		return err
	}
	if n := len(ts[positionTopic].partitions); n != positionShards {
		return driver.Errorf(driver.ErrInvalid, "", "stream %q of %s has %d shards, and %d are wanted: positions are found by their number", positionTopic, c.nodes(), n, positionShards)
	}
	configs, err := c.topicConfigs(ctx, positionTopic, "cleanup.policy")
	if err != nil {
		return nil //nolint:nilerr // it is not allowed to ask, or too old
	}
	if p, ok := configs["cleanup.policy"]; ok && p != "compact" {
		return driver.Errorf(driver.ErrInvalid, "", "stream %q of %s has cleanup.policy=%s, by which positions would be lost: set it to compact", positionTopic, c.nodes(), p)
	}
	return nil
}

func (c *client) createPositions(ctx context.Context) error {
	req := kmsg.NewPtrCreateTopicsRequest()
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = positionTopic, positionShards, -1 // as the broker's default
	for k, v := range positionConfig {
		config := kmsg.NewCreateTopicsRequestTopicConfig()
		config.Name, config.Value = k, kmsg.StringPtr(v)
		t.Configs = append(t.Configs, config)
	}
	req.Topics = append(req.Topics, t)
	var resp *kmsg.CreateTopicsResponse
	var err error
	if gone := c.ask(ctx, func() { resp, err = req.RequestWith(ctx, c.cl) }); gone != nil {
		return c.fail("", positionTopic, gone)
	}
	for i := 0; err == nil && i < len(resp.Topics); i++ {
		if err = kerr.ErrorForCode(resp.Topics[i].ErrorCode); errors.Is(err, kerr.TopicAlreadyExists) {
			err = nil
		}
	}
	return c.fail("create "+positionTopic, positionTopic, err)
}
