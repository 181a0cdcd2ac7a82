//go:build unix

package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/seastreamer/seastreamer/e2e/apachekafka"
	"github.com/seastreamer/seastreamer/e2e/ledger"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

// TestSharedRebalances is a storm over three jobs that read one topic, each by
// a group of its own, and write to Kafka, Redis and the file log. The jobs keep
// state: each message becomes one to three outputs that carry the total of its
// key. Members are killed, and paused for longer than their sessions and
// transactions last; Kafka and Redis are killed too, each so many times. The full
// run is
//
//	SHARED_MESSAGES=5000000 SHARED_MEMBERS=12 SHARED_SHARDS=24 SHARED_KILLS=500 SHARED_PAUSES=200 SHARED_BROKER_KILLS=50 SHARED_RATE=5000 go test -timeout 0 -run SharedRebalances -v .
func TestSharedRebalances(t *testing.T) {
	messages := int64(fromEnv(t, "SHARED_MESSAGES", 60_000))
	members, shards := fromEnv(t, "SHARED_MEMBERS", 6), fromEnv(t, "SHARED_SHARDS", 6)
	kills, pauses, brokerKills := fromEnv(t, "SHARED_KILLS", 9), fromEnv(t, "SHARED_PAUSES", 3), fromEnv(t, "SHARED_BROKER_KILLS", 2)
	rate := fromEnv(t, "SHARED_RATE", 3_500)
	r := newFaultRun(t, ledger.Plan{Writers: 1, Messages: 4*messages + outlasts(rate), Shards: shards, Keys: 50 * int64(shards)})
	k, err := apachekafka.Start(t.Context(), apachekafka.Options{Properties: map[string]string{"group.min.session.timeout.ms": "1000", "group.initial.rebalance.delay.ms": "0",
		// How often the broker looks for transactions that are over time; the default is 10 s.
		"transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000"}})
	r.must(err)
	t.Cleanup(k.Stop)
	admin, stop := kafkaAdmin(t, k)
	for _, topic := range []string{"in", "out", "state"} {
		kafkaCreate(t, admin, topic, shards)
	}
	stop()
	s := redistest.ForTest(t, redistest.Options{AppendOnly: true, Fsync: "always"})
	// A sharded stream is found by its first shard, which need not be the first
	// that is written.
	for i := range shards {
		for _, stream := range []string{"out", "state"} {
			key := fmt.Sprintf("%s:%d", stream, i)
			s.Call(t, 1, "XGROUP", "CREATE", key, "g", "$", "MKSTREAM")
			s.Call(t, 1, "XGROUP", "DESTROY", key, "g")
		}
	}
	query := fmt.Sprintf("?shards=%d", shards)
	kafka := "kafka://" + k.Brokers()[0] + "?session_timeout=3s&transaction_timeout=3s"
	const pause = 5 * time.Second // longer than either
	sinks := []string{"kafka", "redis", "file"}
	to := map[string]string{"kafka": kafka, "redis": s.URL() + query, "file": "file://" + r.dir + "/log" + query}

	begun := time.Now()
	writers := r.write(kafka, "in", rate)
	jobs := map[string][]*ledger.Place{}
	var all []*ledger.Place
	for _, sink := range sinks {
		for range members / len(sinks) {
			p := r.add(ledger.Task{Do: "process", From: kafka, In: "in", To: to[sink], Out: "out", State: "state", Name: "job-" + sink, Group: "job-" + sink})
			jobs[sink] = append(jobs[sink], p)
			all = append(all, p)
		}
	}
	r.startWatch()
	kb, rb := kafkaBroker(k), redisBroker(s)
	var faults []func() error
	for i, sink := range sinks {
		share := func(n int) int { return (n + len(sinks) - 1 - i) / len(sinks) }
		rnd, kills, pauses := r.chance(), share(kills), share(pauses)
		faults = append(faults, func() error { return r.storm(rnd, kills, pauses, pause, jobs[sink]) })
	}
	c1, c2 := r.chance(), r.chance()
	faults = append(faults,
		func() error { return r.crew.KillBroker(t.Context(), c1, kb, brokerKills, 10*time.Second) },
		func() error { return r.crew.KillBroker(t.Context(), c2, rb, brokerKills, 10*time.Second) })
	r.during(faults...)
	r.crew.Healthy.Store(true)
	storm := time.Since(begun)
	var wg sync.WaitGroup
	calm := make([]time.Duration, len(sinks))
	errs := make([]error, len(sinks))
	for i, sink := range sinks {
		wg.Go(func() { calm[i], errs[i] = r.crew.Moving(shards, time.Minute, jobs[sink]...) })
	}
	wg.Wait()
	r.loaded(writers, messages)
	for _, sink := range sinks {
		r.drained(kafka, "in", jobs[sink]...)
	}
	stall := r.endWatch()
	// A member that was killed may have left a transaction open, behind which
	// nothing is committed until the broker ends it, or, where the broker left its
	// end out, the members do, who look for that every few seconds.
	r.stable(k, "out")
	r.crew.Stop()
	r.stable(k, "out")

	books := r.books()
	in := books.Check()
	r.must(ledger.Fresh(t.Context(), r.program, kafka, "in", in.Saw))
	v := in.Verdict()
	r.claims.check(v.Exactly() && books.Begun() >= messages, "the input, of %d messages sent: %v", books.Begun(), v)
	other := map[string]func(context.Context, ledger.Saw) error{
		"kafka": func(ctx context.Context, saw ledger.Saw) error { return ledger.Kcat(ctx, k.Brokers()[0], "out", saw) },
		"redis": func(ctx context.Context, saw ledger.Saw) error {
			return ledger.RedisCLI(ctx, s.Addr(1), "out", shards, saw)
		},
	}
	units, again := int64(0), int64(0)
	for i, sink := range sinks {
		fold := in.Fold()
		r.must(ledger.Fresh(t.Context(), r.program, to[sink], "out", fold.Saw))
		v := fold.Verdict()
		r.claims.check(v.Exactly() && v.Messages > 0, "the outputs in %s: %v", sink, v)
		if read := other[sink]; read != nil {
			fold := in.Fold()
			r.must(read(t.Context(), fold.Saw))
			w := fold.Verdict()
			r.claims.check(w == v, "the same by an independent client: %v", w)
		}
		r.claims.check(errs[i] == nil && calm[i] < 40*time.Second, "into %s every shard went on %v after the last fault", sink, calm[i].Round(time.Millisecond))
		for _, p := range jobs[sink] {
			units, again = units+p.Page().Units(), again+p.Page().Aborts()
		}
	}
	n, hit, paused := ledger.Faults(all...)
	r.effective("members", n, hit, 66)
	r.claims.check(len(r.crew.Exits()) == 0, "no member ended by itself: %q", r.crew.Exits())
	t.Logf("seed %d: %d messages at %d/s to %d members of 3 groups over %d shards; storm of %v: %d kills of members (%d effective), %d pauses of %v, %d kills of Kafka and %d of Redis; %d units, %d times tried again; most memory %.0f MiB; longest without any progress %v; ends of transactions that Kafka left out, written by the members: %d",
		r.seed, books.Begun(), rate, members, shards, storm.Round(time.Second), n, hit, paused, pause, kb.Kills, rb.Kills, units, again, r.crew.Peak(), stall.Round(time.Millisecond), r.healed())
	r.claims.end()
}

// stable waits until no transaction is open on a topic.
func (r *faultRun) stable(k *apachekafka.Cluster, topic string) {
	r.t.Helper()
	admin, stop := kafkaAdmin(r.t, k)
	defer stop()
	r.must(stable(r.t.Context(), admin, topic, time.Minute))
}

// stable waits until the stable end of every shard is its end.
func stable(ctx context.Context, admin *kadm.Client, topic string, limit time.Duration) error {
	for deadline := time.Now().Add(limit); ; time.Sleep(20 * time.Millisecond) {
		ends, err := admin.ListEndOffsets(ctx, topic)
		if err == nil {
			err = ends.Error()
		}
		if err != nil {
			return err
		}
		stable, err := admin.ListCommittedOffsets(ctx, topic)
		if err != nil {
			return err
		}
		open := ""
		ends.Each(func(o kadm.ListedOffset) {
			if s, _ := stable.Lookup(topic, o.Partition); s.Offset != o.Offset {
				open += fmt.Sprintf(" %d: %d of %d", o.Partition, s.Offset, o.Offset)
			}
		})
		if open == "" {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("a transaction stays open in %s for %v: stable up to%s", topic, limit, open)
		}
	}
}

// storm kills and pauses the members of one group, in random order.
func (r *faultRun) storm(rnd *rand.Rand, kills, pauses int, length time.Duration, members []*ledger.Place) error {
	for kills+pauses > 0 {
		p := members[rnd.IntN(len(members))]
		if rnd.IntN(kills+pauses) < pauses {
			pauses--
			if err := r.crew.PauseWorker(p, length); err != nil {
				return err
			}
			continue
		}
		kills--
		if err := r.crew.KillWorkers(rnd, 1, 300*time.Millisecond, p); err != nil {
			return err
		}
	}
	return nil
}
