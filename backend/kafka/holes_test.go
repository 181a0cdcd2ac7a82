package kafka

import (
	"encoding/binary"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/seastreamer/seastreamer/driver"
)

// batchBytes is a batch of offsets [first, next) with so many records left,
// whose bytes nobody can decompress.
func batchBytes(first, next int64, records int32) []byte {
	b := kmsg.RecordBatch{FirstOffset: first, Magic: 2, Attributes: 3, LastOffsetDelta: int32(next - first - 1), NumRecords: records}
	if records > 0 {
		b.Records = []byte("not lz4")
	}
	raw := b.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[8:], uint32(len(raw)-batchHead))
	return raw
}

// What is behind a hole is on its way, and so is not decompressed to see where
// the hole ends.
func TestEmptyUpTo(t *testing.T) {
	m := &consumer{conf: driver.ConsumerConfig{Isolation: driver.Committed}}
	hole, more, records := batchBytes(0, 5, 0), batchBytes(5, 7, 0), batchBytes(7, 9, 2)
	for name, c := range map[string]struct {
		from, want int64
		batches    [][]byte
	}{
		"nothing came":                            {3, 20, nil},
		"a hole and records":                      {0, 7, [][]byte{hole, more, records}},
		"from inside a hole":                      {2, 7, [][]byte{hole, more, records}},
		"records at once":                         {7, 7, [][]byte{records}},
		"a hole to the answer's end":              {0, 7, [][]byte{hole, more}},
		"cut off":                                 {0, 5, [][]byte{hole, records[:40]}},
		"cut off in the overhead":                 {0, 5, [][]byte{hole, records[:11]}},
		"nonsense":                                {0, 0, [][]byte{[]byte("0123456789abcdefghij")}},
		"behind what was asked":                   {6, 7, [][]byte{hole, more, records}},
		"from inside what cannot be decompressed": {8, 8, [][]byte{records}},
	} {
		p := kmsg.NewFetchResponseTopicPartition()
		p.HighWatermark, p.LastStableOffset = 30, 20
		for _, b := range c.batches {
			p.RecordBatches = append(p.RecordBatches, b...)
		}
		if got := m.emptyUpTo(shard("s", 0), c.from, &p); got != c.want {
			t.Errorf("%s: empty up to %d, want %d", name, got, c.want)
		}
	}
}

// Shards whose first batch does not fit into what is left of an answer come
// empty, beside one that is not: they are no holes.
func TestProbeBesideALargeBatch(t *testing.T) {
	const shards = 4
	cluster := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(shards, "s"))
	cl, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	at := map[driver.Shard]int64{}
	for i := range int32(shards) {
		at[shard("s", i)] = 0
		if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: "s", Partition: i, Value: make([]byte, 700<<10)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	c := open(t, url(cluster.ListenAddrs(), ""), Options{})
	m := &consumer{c: c, conf: driver.ConsumerConfig{Isolation: driver.Committed}}
	first, open := m.probeOnce(t.Context(), at)
	if len(open) == 0 {
		t.Errorf("the broker has told everything with one answer, %v: this test shows nothing", first)
	}
	moved := m.probe(t.Context(), at)
	if len(moved) != shards {
		t.Errorf("the probe says something about %d shards, want %d", len(moved), shards)
	}
	for s, to := range moved {
		if to != 0 {
			t.Errorf("%v is said to be empty up to %d, and it has a message at 0", s, to)
		}
	}
}
