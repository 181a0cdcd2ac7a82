package e2e

import (
	"context"
	"testing"
	"time"

	"github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/backend/kafka"
	"github.com/seastreamer/seastreamer/e2e/apachekafka"
	"github.com/seastreamer/seastreamer/e2e/faultnet"
)

// TestKafkaRepliesLost: an idempotent producer sends again, and the broker
// drops what it has already.
func TestKafkaRepliesLost(t *testing.T) {
	_, seed := seeded(t)
	n := fromEnv(t, "REPLIES_SENDS", 20_000)
	proxy, err := faultnet.Listen("", faultnet.Options{Seed: seed, Requests: faultnet.Kafka, Replies: faultnet.Kafka})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	// The broker names the proxy as its address, so that clients come back to it.
	k, err := apachekafka.Start(t.Context(), apachekafka.Options{Properties: map[string]string{"advertised.listeners": "PLAINTEXT://" + proxy.Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Stop)
	proxy.SetTarget(k.Brokers()[0])
	l := newAccounts(seed, "news", 4)
	admin, stop := kafkaAdmin(t, k)
	t.Cleanup(stop)
	for _, stream := range l.names {
		kafkaCreate(t, admin, stream, 1)
	}
	// Uncompressed: each batch is a message or a few, and with the race detector
	// each costs lz4 a new block of 4 MiB, 10 ms.
	st, err := kafka.Open(t.Context(), "kafka://"+proxy.Addr()+"/?compression=none", kafka.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close(context.Background())
	p, err := st.Producer(t.Context(), seastreamer.ProducerConfig{Stream: l.names[0], Durability: seastreamer.ExactlyOnce})
	if err != nil {
		t.Fatal(err)
	}
	const produce = "0" // Produce's API key
	someReplies(proxy, 0.01, produce)
	begun := time.Now()
	lostReplies(t, p, l, n/4, 4)
	took := time.Since(begun)
	proxy.OnReply(nil)
	if err := p.Close(t.Context()); err != nil {
		t.Errorf("Close: %v", err)
	}
	counts, sum := proxy.Counts(), l.sums()
	t.Logf("seed %d: %d sends in %v, %d connections cut, %d replies to Produce swallowed", seed, sum.sent, took.Round(time.Millisecond), counts.Cuts, counts.Unanswered[produce])
	c := &claims{t: t}
	defer c.end()
	c.check(counts.Cuts > 0, "%d connections were cut", counts.Cuts)
	c.check(sum.acked == sum.sent, "all of %d messages were acknowledged: %d", sum.sent, sum.acked)
	end, err := st.End(t.Context(), l.names...)
	if err != nil {
		t.Fatal(err)
	}
	consumer, err := st.Consumer(t.Context(), seastreamer.ConsumerConfig{Streams: l.names, Start: seastreamer.Earliest, Until: end})
	if err != nil {
		t.Fatal(err)
	}
	cold := l.reading()
	for m, err := range consumer.Messages(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		cold.got(m.Shard().Stream, m.Value())
	}
	witness := kcatReading(t, k, l)
	for who, v := range map[string]verdict{"the consumer": cold.verdict(), "kcat": witness.verdict()} {
		c.check(v.sound() && v.lost == 0, "%s reads %v", who, v)
	}
}

// kcatReading reads all streams of some accounts with kcat.
func kcatReading(t *testing.T, k *apachekafka.Cluster, l *accounts) *reading {
	t.Helper()
	r := l.reading()
	for _, stream := range l.names {
		for _, body := range outputLines(t, "kcat", "-C", "-e", "-q", "-b", k.Brokers()[0], "-t", stream) {
			r.got(stream, []byte(body))
		}
	}
	return r
}
