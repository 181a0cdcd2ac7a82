package kafka

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/seastreamer/seastreamer/driver"
)

// A reader is a consumer and what it was told.
type reader struct {
	t       testing.TB
	c       driver.Consumer
	gen     uint64
	begins  map[driver.Shard]driver.Seq
	next    map[driver.Shard]driver.Seq
	values  []string
	gaps    []*driver.GapError
	revoked []driver.Shard
}

func read(t testing.TB, c *client, cc driver.ConsumerConfig) *reader {
	t.Helper()
	r := &reader{t: t, begins: map[driver.Shard]driver.Seq{}, next: map[driver.Shard]driver.Seq{}}
	cc.Assigned = func(_ context.Context, at []driver.Position) (uint64, []driver.Position, error) {
		for _, p := range at {
			r.begins[p.Shard] = p.Next
			r.next[p.Shard] = p.Next
		}
		r.gen++
		return r.gen, nil, nil
	}
	cc.Revoked = func(_ context.Context, s []driver.Shard, _ bool) { r.revoked = append(r.revoked, s...) }
	k, err := c.Consumer(within(t), cc)
	if err != nil {
		t.Fatal(err)
	}
	r.c = k
	t.Cleanup(func() { _ = k.Close(context.Background()) })
	return r
}

// until fetches until ok.
func (r *reader) until(what string, ok func() bool) {
	r.t.Helper()
	ctx := within(r.t)
	for !ok() {
		batches, err := r.c.Fetch(ctx, nil)
		for _, b := range batches {
			if b.Next().Less(r.next[b.Shard()]) {
				r.t.Errorf("%v: Next went back from %v to %v", b.Shard(), r.next[b.Shard()], b.Next())
			}
			r.next[b.Shard()] = b.Next()
			n := 0
			for i := range b.Len() {
				r.values = append(r.values, string(b.Value(i)))
				n += b.Size(i)
			}
			if n != b.Bytes() {
				r.t.Errorf("Bytes is %d and the sizes sum up to %d", b.Bytes(), n)
			}
		}
		var gap *driver.GapError
		switch {
		case errors.As(err, &gap):
			r.gaps = append(r.gaps, gap)
			r.next[gap.Shard] = gap.To
		case err != nil:
			r.t.Fatalf("until %s: %v; read %q, stands at %v", what, err, r.values, r.next)
		}
	}
}

func shard(s string, i int32) driver.Shard { return driver.Shard{Stream: s, Index: i} }

// raw is a plain franz-go client of a cluster.
func raw(t testing.TB, addrs []string, o ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append(o, kgo.SeedBrokers(addrs...), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

func put(t testing.TB, cl *kgo.Client, values ...string) {
	t.Helper()
	for _, v := range values {
		if err := cl.ProduceSync(within(t), &kgo.Record{Topic: "s", Value: []byte(v)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

// Aborted messages and control records are hidden and Next moves over them, up
// to the stable end, where an open transaction holds it.
func TestTransactionsOfOthers(t *testing.T) {
	noLeak(t)
	server := startProcess(t)
	server.create(t, "s", 1)
	c := open(t, url([]string{server.addr()}, ""), Options{})
	tx := raw(t, []string{server.addr()}, kgo.TransactionalID("tx"))
	transact := func(how kgo.TransactionEndTry, values ...string) {
		t.Helper()
		if err := tx.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		put(t, tx, values...)
		if err := tx.EndTransaction(within(t), how); err != nil {
			t.Fatal(err)
		}
	}
	transact(kgo.TryCommit, "a", "b")
	transact(kgo.TryAbort, "x", "y")
	transact(kgo.TryCommit, "c")
	transact(kgo.TryAbort, "z")

	s := shard("s", 0)
	bounds := func() driver.Bound {
		t.Helper()
		b, err := c.Bounds(within(t), []string{"s"})
		if err != nil {
			t.Fatal(err)
		}
		return b[s]
	}
	end := bounds().Next
	r := read(t, c, driver.ConsumerConfig{Streams: []string{"s"}, Start: driver.Earliest})
	r.until("the stable end", func() bool { return r.next[s] == end })
	if want := []string{"a", "b", "c"}; !slices.Equal(r.values, want) {
		t.Errorf("read %q, want %q", r.values, want)
	}
	u := read(t, c, driver.ConsumerConfig{Streams: []string{"s"}, Start: driver.Earliest, Isolation: driver.Uncommitted})
	u.until("the end", func() bool { return u.next[s] == end })
	if want := []string{"a", "b", "x", "y", "c", "z"}; !slices.Equal(u.values, want) {
		t.Errorf("uncommitted: read %q, want %q", u.values, want)
	}

	if err := tx.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	put(t, tx, "open")
	if got := bounds().Next; got != end {
		t.Errorf("with an open transaction the stable end is %v, want %v", got, end)
	}
	u.until("what is not committed", func() bool { return len(u.values) == 7 })
	if err := tx.EndTransaction(within(t), kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	r.until("what was committed", func() bool { return len(r.values) == 4 })
}

// Shards that a stream gets later are read from their beginning, also when the
// consumer began at the end.
func TestShardsThatAppear(t *testing.T) {
	for _, group := range []string{"", "g"} {
		t.Run("group "+group, func(t *testing.T) {
			server := startProcess(t)
			server.create(t, "s", 1)
			c := open(t, url([]string{server.addr()}, "metadata_age=200ms&session_timeout=6s"), Options{})
			cl := raw(t, []string{server.addr()})
			put(t, cl, "old")
			r := read(t, c, driver.ConsumerConfig{Streams: []string{"s"}, Group: group, Start: driver.Latest})
			put(t, cl, "one")
			r.until("a message", func() bool { return len(r.values) == 1 })
			if k, ok := r.c.(driver.Committer); ok {
				if err := k.Commit(within(t), []driver.Position{{Shard: shard("s", 0), Next: r.next[shard("s", 0)]}}); err != nil {
					t.Fatal(err)
				}
			}
			server.grow(t, "s", 3)
			p := producerOf(t, c, driver.ProducerConfig{})
			for i := range int32(2) {
				if _, err := sendOne(t, p, driver.Record{Stream: "s", Shard: driver.On(i + 1), Value: fmt.Append(nil, "new", i+1)}); err != nil {
					t.Fatal(err)
				}
			}
			r.until("the new shards", func() bool { return len(r.values) == 3 })
			slices.Sort(r.values)
			if want := []string{"new1", "new2", "one"}; !slices.Equal(r.values, want) {
				t.Errorf("read %q, want %q", r.values, want)
			}
		})
	}
}

// A stream that was deleted and made anew is a gap with that cause, and is read
// from its beginning.
func TestRecreated(t *testing.T) {
	server := startProcess(t)
	server.create(t, "s", 1)
	c := open(t, url([]string{server.addr()}, "metadata_age=200ms"), Options{})
	put(t, raw(t, []string{server.addr()}), "a", "b", "c")
	r := read(t, c, driver.ConsumerConfig{Streams: []string{"s"}, Start: driver.Earliest})
	r.until("what there is", func() bool { return len(r.values) == 3 })
	server.drop(t, "s")
	server.create(t, "s", 1)
	put(t, raw(t, []string{server.addr()}), "d")
	r.until("what is new", func() bool { return len(r.values) == 4 })
	want := []*driver.GapError{{Shard: shard("s", 0), From: driver.SeqOf(3), To: driver.SeqOf(0), Cause: driver.GapRecreated}}
	if diff := cmp.Diff(want, r.gaps); diff != "" {
		t.Errorf("gaps (-want +got):\n%s", diff)
	}
	if r.values[3] != "d" {
		t.Errorf("read %q, want d in the end", r.values)
	}
}

// Progress beyond the end of the log means that the log has lost its end.
func TestTruncated(t *testing.T) {
	server := startProcess(t)
	server.create(t, "s", 1)
	c := open(t, url([]string{server.addr()}, "session_timeout=6s"), Options{})
	put(t, raw(t, []string{server.addr()}), "a", "b")
	s := shard("s", 0)
	first := read(t, c, driver.ConsumerConfig{Streams: []string{"s"}, Group: "g", Start: driver.Earliest})
	first.until("all", func() bool { return len(first.values) == 2 })
	if err := first.c.(driver.Committer).Commit(within(t), []driver.Position{{Shard: s, Next: driver.SeqOf(100)}}); err != nil {
		t.Fatal(err)
	}
	if err := first.c.Close(within(t)); err != nil {
		t.Fatal(err)
	}
	r := read(t, c, driver.ConsumerConfig{Streams: []string{"s"}, Group: "g", Start: driver.Earliest})
	r.until("a gap", func() bool { return len(r.gaps) > 0 })
	want := []*driver.GapError{{Shard: s, From: driver.SeqOf(100), To: driver.SeqOf(2), Cause: driver.GapTruncated}}
	if diff := cmp.Diff(want, r.gaps); diff != "" {
		t.Errorf("gaps (-want +got):\n%s", diff)
	}
	put(t, raw(t, []string{server.addr()}), "c")
	r.until("what is written then", func() bool { return slices.Equal(r.values, []string{"c"}) })
}

// From beyond the end waits for that message and passes over those before it.
func TestFromBeyondTheEnd(t *testing.T) {
	server := startProcess(t)
	server.create(t, "s", 1)
	c := open(t, url([]string{server.addr()}, ""), Options{})
	cl := raw(t, []string{server.addr()})
	put(t, cl, "0", "1")
	r := read(t, c, driver.ConsumerConfig{Streams: []string{"s"}, Start: driver.From(driver.SeqOf(4))})
	put(t, cl, "2", "3", "4", "5")
	r.until("two messages", func() bool { return len(r.values) == 2 })
	if want := []string{"4", "5"}; !slices.Equal(r.values, want) {
		t.Errorf("read %q, want %q", r.values, want)
	}
}

// A batch that decompresses to more than is allowed is a gap, and reading goes
// on behind it.
func TestBatchTooLarge(t *testing.T) {
	server := startProcess(t)
	server.create(t, "s", 1)
	c := open(t, url([]string{server.addr()}, "max_batch=100KiB"), Options{})
	cl := raw(t, []string{server.addr()}, kgo.ProducerBatchCompression(kgo.GzipCompression()))
	put(t, cl, "before", strings.Repeat("bomb", 50_000), "after")
	r := read(t, c, driver.ConsumerConfig{Streams: []string{"s"}, Start: driver.Earliest})
	r.until("what comes after it", func() bool { return len(r.values) == 2 })
	want := []*driver.GapError{{Shard: shard("s", 0), From: driver.SeqOf(1), To: driver.SeqOf(2), Cause: driver.GapCorrupt}}
	if diff := cmp.Diff(want, r.gaps); diff != "" {
		t.Errorf("gaps (-want +got):\n%s", diff)
	}
}

// The last records of a shard may be gone while its end stays, which a broker
// shows by an answer without records: Next gets there all the same.
func TestHoleAtTheEnd(t *testing.T) {
	cluster := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "s"))
	put(t, raw(t, cluster.ListenAddrs()), "a", "b", "c")
	cluster.ControlKey(int16(kmsg.Fetch), func(r kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		time.Sleep(5 * time.Millisecond) // as a broker that waits for more
		req := r.(*kmsg.FetchRequest)
		resp := req.ResponseKind().(*kmsg.FetchResponse)
		for _, rt := range req.Topics {
			st := kmsg.NewFetchResponseTopic()
			st.Topic, st.TopicID = rt.Topic, rt.TopicID
			for _, rp := range rt.Partitions {
				sp := kmsg.NewFetchResponseTopicPartition()
				sp.Partition, sp.HighWatermark, sp.LastStableOffset = rp.Partition, 3, 3
				st.Partitions = append(st.Partitions, sp)
			}
			resp.Topics = append(resp.Topics, st)
		}
		return resp, nil, true
	})
	s := shard("s", 0)
	c := open(t, url(cluster.ListenAddrs(), ""), Options{})
	r := read(t, c, driver.ConsumerConfig{Streams: []string{"s"}, Start: driver.Earliest})
	r.until("the end", func() bool { return r.next[s] == driver.SeqOf(3) })
	if len(r.values) > 0 || len(r.gaps) > 0 {
		t.Errorf("read %q with gaps %v, want nothing", r.values, r.gaps)
	}
}

// What is asked for becomes about the budget in memory.
func TestAppetite(t *testing.T) {
	a := appetite{budget: 6 << 20, brokers: 1}
	if got := a.fetch(); got != leastFetch {
		t.Errorf("at first %d bytes are asked for, want %d", got, leastFetch)
	}
	for range 100 {
		a.OnFetchBatchRead(kgo.BrokerMetadata{}, "s", 0, kgo.FetchBatchMetrics{NumRecords: 1000, UncompressedBytes: 100_000, CompressedBytes: 10_000})
	}
	// 100,000 + 1,000 × 168 bytes in memory for 10,000 fetched.
	if got, want := a.fetch(), int32((6<<20)*10_000/268_000); got < want*95/100 || got > want*105/100 {
		t.Errorf("of compressed small records %d bytes are asked for, want about %d", got, want)
	}
	a.brokers = 1000
	if got := a.fetch(); got != 64<<10 {
		t.Errorf("of many brokers %d bytes are asked for, want 64 KiB", got)
	}
}

// Nil and empty are kept apart in keys, values and headers.
func TestNilAndEmpty(t *testing.T) {
	server := startProcess(t)
	server.create(t, "s", 1)
	c := open(t, url([]string{server.addr()}, ""), Options{})
	p := producerOf(t, c, driver.ProducerConfig{})
	sent := []driver.Record{{}, {Key: []byte{}, Value: []byte{}}, {Key: []byte("k"), Value: []byte("v")}}
	for _, r := range sent {
		r.Stream = "s"
		if _, err := sendOne(t, p, r); err != nil {
			t.Fatal(err)
		}
	}
	k := read(t, c, driver.ConsumerConfig{Streams: []string{"s"}, Start: driver.Earliest})
	i := 0
	for ctx := within(t); i < len(sent); {
		batches, err := k.c.Fetch(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range batches {
			for j := range b.Len() {
				if got, want := b.Key(j), sent[i].Key; !bytes.Equal(got, want) || (got == nil) != (want == nil) {
					t.Errorf("key %d: got %#v, want %#v", i, got, want)
				}
				if got, want := b.Value(j), sent[i].Value; !bytes.Equal(got, want) || (got == nil) != (want == nil) {
					t.Errorf("value %d: got %#v, want %#v", i, got, want)
				}
				i++
			}
		}
	}
}

// Reading allocates nothing for a message beyond what franz-go does.
func TestFetchAllocations(t *testing.T) {
	recs := make([]*kgo.Record, 1000)
	for i := range recs {
		recs[i] = &kgo.Record{Offset: int64(i), Key: []byte("k"), Value: []byte("v")}
	}
	var sink driver.Batch
	if n := testing.AllocsPerRun(100, func() {
		b := newBatch(shard("s", 0), 1, recs, 0, 1000)
		for i := range b.Len() {
			_, _, _, _, _ = b.Seq(i), b.Key(i), b.Value(i), b.Time(i), b.Headers(i)
		}
		sink = b
	}); n > 1 {
		t.Errorf("%v allocations for a batch of 1,000 messages, want 1", n)
	}
	_ = sink
}
