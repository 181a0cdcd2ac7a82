//go:build unix

package e2e

import (
	"testing"
	"time"

	"github.com/seastreamer/seastreamer/e2e/apachekafka"
	"github.com/seastreamer/seastreamer/e2e/ledger"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

// TestExactlyFileKafkaRedis copies a paced load from a file log to Kafka and
// from there to Redis, exactly once, while the two relays and both brokers are
// killed with SIGKILL at random instants. The full run is
//
//	EXACTLY_MESSAGES=10000000 EXACTLY_KILLS=1000 EXACTLY_BROKER_KILLS=60 EXACTLY_KAFKA_KILLS=60 EXACTLY_RATE=10000 go test -timeout 0 -run ExactlyFileKafkaRedis -v .
//
// After some of its kills Apache Kafka leaves out the end of a transaction, which
// the relays then write: see docs/decisions/0010-hanging-transactions.md.
func TestExactlyFileKafkaRedis(t *testing.T) {
	messages := int64(fromEnv(t, "EXACTLY_MESSAGES", 200_000))
	kills := fromEnv(t, "EXACTLY_KILLS", 40)
	brokerKills, kafkaKills := fromEnv(t, "EXACTLY_BROKER_KILLS", 4), fromEnv(t, "EXACTLY_KAFKA_KILLS", 4)
	rate := fromEnv(t, "EXACTLY_RATE", 7_000)
	const shards = 4
	r := newFaultRun(t, ledger.Plan{Writers: 2, Messages: 2*messages + outlasts(rate), Shards: shards, Keys: 400})
	k, err := apachekafka.Start(t.Context(), apachekafka.Options{})
	r.must(err)
	t.Cleanup(k.Stop)
	admin, stop := kafkaAdmin(t, k)
	kafkaCreate(t, admin, "middle", shards)
	stop()
	s := redistest.ForTest(t, redistest.Options{AppendOnly: true, Fsync: "always"})
	file, kafka, redis := "file://"+r.dir+"/log?shards=4", "kafka://"+k.Brokers()[0], s.URL()+"?shards=4"

	begun := time.Now()
	writers := r.write(file, "in", rate)
	first := r.add(ledger.Task{Do: "relay", From: file, In: "in", To: kafka, Out: "middle", Name: "first"})
	second := r.add(ledger.Task{Do: "relay", From: kafka, In: "middle", To: redis, Out: "out", Name: "second"})
	r.startWatch()

	// The kills of relays are spread over the load, those of brokers too.
	span := time.Duration(messages) * time.Second / time.Duration(rate)
	spread := max(span/time.Duration(kills)*2-300*time.Millisecond, 150*time.Millisecond)
	kb, rb := kafkaBroker(k), redisBroker(s)
	half := kills / 2
	c1, c2, c3, c4 := r.chance(), r.chance(), r.chance(), r.chance()
	r.during(
		func() error { return r.crew.KillWorkers(c1, half, spread, first) },
		func() error { return r.crew.KillWorkers(c2, kills-half, spread, second) },
		func() error {
			return r.crew.KillBroker(t.Context(), c3, kb, kafkaKills, max(2*span/time.Duration(kafkaKills+1)-8*time.Second, time.Second))
		},
		func() error {
			return r.crew.KillBroker(t.Context(), c4, rb, brokerKills, max(2*span/time.Duration(brokerKills+1)-time.Second, time.Second))
		},
	)
	r.crew.Healthy.Store(true)
	faults := time.Since(begun)
	r.loaded(writers, messages)
	r.drained(file, "in", first)
	r.drained(kafka, "middle", second)
	stall := r.endWatch()
	r.crew.Stop()
	r.stable(k, "middle")
	loaded := time.Since(begun)

	books := r.books()
	inFile, inKafka, kcat, inRedis, cli := books.Check(), books.Check(), books.Check(), books.Check(), books.Check()
	r.during(
		func() error { return ledger.Fresh(t.Context(), r.program, file, "in", inFile.Saw) },
		func() error { return ledger.Fresh(t.Context(), r.program, kafka, "middle", inKafka.Saw) },
		func() error { return ledger.Kcat(t.Context(), k.Brokers()[0], "middle", kcat.Saw) },
		func() error { return ledger.Fresh(t.Context(), r.program, redis, "out", inRedis.Saw) },
		func() error { return ledger.RedisCLI(t.Context(), s.Addr(1), "out", shards, cli.Saw) },
	)
	for _, reading := range []struct {
		what string
		of   *ledger.Check
	}{{"the file log", inFile}, {"Kafka", inKafka}, {"Kafka, by kcat", kcat}, {"Redis", inRedis}, {"Redis, by redis-cli", cli}} {
		v := reading.of.Verdict()
		r.claims.check(v.Exactly() && v.Messages > 0, "%s: %v", reading.what, v)
	}
	n, hit, _ := ledger.Faults(first, second)
	r.claims.check(books.Begun() >= messages && books.Acked() == books.Begun(), "%d messages sent, at least %d are wanted, %d acknowledged", books.Begun(), messages, books.Acked())
	r.effective("relays", n, hit, 80)
	r.effective("Kafka", kb.Kills, kb.Effective, 80)
	r.effective("Redis", rb.Kills, rb.Effective, 80)
	r.claims.check(len(r.crew.Exits()) == 0, "no relay ended by itself: %q", r.crew.Exits())
	r.claims.check(r.crew.Peak() > 0 && r.crew.Peak() <= 128, "a relay or writer had %.0f MiB at most, 128 are allowed", r.crew.Peak())
	t.Logf("seed %d: %d messages at %d/s in %v (faults for %v), kills: %d relays (%d effective), %d Kafka (%d), %d Redis (%d); longest stall %v; units %d and %d, not committed %d and %d; ends of transactions that Kafka left out, written by the relays: %d",
		r.seed, books.Begun(), rate, loaded.Round(time.Second), faults.Round(time.Second), n, hit, kb.Kills, kb.Effective, rb.Kills, rb.Effective,
		stall.Round(time.Millisecond), first.Page().Units(), second.Page().Units(), first.Page().Aborts(), second.Page().Aborts(), r.healed())
	r.claims.end()
}
