//go:build unix

package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/backend/kafka"
	"github.com/seastreamer/seastreamer/e2e/apachekafka"
)

// TestKafkaBrokerKilledUnderLoad kills the only broker again and again while a
// producer sends. What was acknowledged must be in the topic, once and in order;
// what has an unknown outcome once or not at all, and nothing else.
func TestKafkaBrokerKilledUnderLoad(t *testing.T) {
	t.Parallel() // it waits most of the time, with servers of its own
	c, err := apachekafka.Start(t.Context(), apachekafka.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	admin, stop := kafkaAdmin(t, c)
	t.Cleanup(stop)
	const shards, kills = 3, 4
	kafkaCreate(t, admin, "load", shards)
	ctx := t.Context()
	s, err := kafka.Open(ctx, "kafka://"+c.Brokers()[0], kafka.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(context.Background())
	p, err := s.Producer(ctx, seastreamer.ProducerConfig{Stream: "load", Durability: seastreamer.ExactlyOnce, MaxBytes: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}

	// Each shard has its own numbers; outcomes are indexed by them. Callbacks
	// of a shard come in order, one at a time, and Close makes them visible.
	const acked, unknown = 1, 2
	var outcome [shards][]byte
	var inFlight, effective atomic.Int64
	killed := make(chan error, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		rnd := rand.New(rand.NewPCG(1, 1))
		for range kills {
			time.Sleep(time.Second + time.Duration(rnd.IntN(1000))*time.Millisecond) // under load, not for anything to happen
			for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Microsecond) {
				if inFlight.Load() > 0 {
					effective.Add(1)
					break
				}
			}
			begun := time.Now()
			c.Kill(1)
			if err := c.Restart(context.Background(), 1); err != nil {
				killed <- err
				return
			}
			t.Logf("killed, and there again after %v", time.Since(begun).Round(time.Millisecond))
		}
		killed <- nil
	}()
	sent := [shards]int{}
	results := make(chan [3]int, 1<<16)
	collected := make(chan struct{})
	go func() {
		defer close(collected)
		for r := range results {
			for len(outcome[r[0]]) <= r[1] {
				outcome[r[0]] = append(outcome[r[0]], 0)
			}
			outcome[r[0]][r[1]] = byte(r[2])
		}
	}()
	var other atomic.Pointer[error]
	running := true
	for running {
		for range 100 {
			sh := rand.IntN(shards)
			n := sent[sh]
			sent[sh]++
			inFlight.Add(1)
			err := p.Enqueue(ctx, seastreamer.Record{Shard: seastreamer.On(int32(sh)), Value: strconv.AppendInt(nil, int64(n), 10)},
				func(r seastreamer.Receipt, err error) {
					inFlight.Add(-1)
					switch {
					case err == nil:
						results <- [3]int{sh, n, acked}
					case errors.Is(err, seastreamer.ErrUnknown):
						results <- [3]int{sh, n, unknown}
					default:
						other.Store(&err)
						results <- [3]int{sh, n, 0}
					}
				})
			if err != nil {
				t.Fatal(err)
			}
		}
		select {
		case <-done:
			running = false
		case <-time.After(2 * time.Millisecond): // about 50,000 a second
		}
	}
	if err := <-killed; err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	if err := p.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begun); took > 30*time.Second {
		t.Errorf("the last records were acknowledged %v after the broker was there again, want at most 30 s", took)
	}
	close(results)
	<-collected
	if e := other.Load(); e != nil {
		t.Errorf("a record was not written: %v", *e)
	}

	end, err := s.End(ctx, "load")
	if err != nil {
		t.Fatal(err)
	}
	k, err := s.Consumer(ctx, seastreamer.ConsumerConfig{Streams: []string{"load"}, Start: seastreamer.Earliest, Until: end})
	if err != nil {
		t.Fatal(err)
	}
	var seen [shards][]byte
	for i := range seen {
		seen[i] = make([]byte, sent[i])
	}
	last := [shards]int{-1, -1, -1}
	disorder := 0
	for m, err := range k.Messages(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		sh := m.Shard().Index
		n, err := strconv.Atoi(string(m.Value()))
		if err != nil || n < 0 || n >= sent[sh] {
			t.Fatalf("%v: %q was never sent", m.Shard(), m.Value())
		}
		seen[sh][n]++
		if n <= last[sh] {
			disorder++
		}
		last[sh] = n
	}
	total, lost, twice, unknowns := 0, 0, 0, 0
	for sh := range seen {
		for n, o := range outcome[sh] {
			total++
			switch {
			case o == acked && seen[sh][n] == 0:
				lost++
			case o == unknown:
				unknowns++
			}
			if seen[sh][n] > 1 {
				twice++
			}
		}
	}
	t.Logf("%d records, %d kills of which %d with records in flight: %d lost, %d twice, %d out of order, %d of unknown outcome",
		total, kills, effective.Load(), lost, twice, disorder, unknowns)
	if lost > 0 || twice > 0 || disorder > 0 || total != sent[0]+sent[1]+sent[2] || effective.Load() == 0 {
		t.Errorf("lost, twice and out of order have to be 0, every outcome known (%d of %d), and kills effective", total, sent[0]+sent[1]+sent[2])
	}
}

// TestKafkaMemberKilledUnderLoad kills members of a group, in processes of
// their own, while they read. Every message must be read by somebody.
func TestKafkaMemberKilledUnderLoad(t *testing.T) {
	if broker := os.Getenv("KAFKA_MEMBER_OF"); broker != "" {
		memberOfGroup(t, broker, os.Getenv("KAFKA_MEMBER_LEDGER"))
		return
	}
	t.Parallel() // it waits most of the time
	c := apachekafka.ForTest(t)
	admin, stop := kafkaAdmin(t, c)
	defer stop()
	topic := fmt.Sprintf("members-%d", time.Now().UnixNano())
	kafkaCreate(t, admin, topic, 6)
	ctx := t.Context()
	s, err := kafka.Open(ctx, "kafka://"+c.Brokers()[0], kafka.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(context.Background())
	p, err := s.Producer(ctx, seastreamer.ProducerConfig{Stream: topic})
	if err != nil {
		t.Fatal(err)
	}

	dir := t.TempDir()
	started := 0
	start := func() *exec.Cmd {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKafkaMemberKilledUnderLoad$")
		cmd.Env = append(os.Environ(), "KAFKA_MEMBER_OF="+c.Brokers()[0]+"/"+topic, "KAFKA_MEMBER_LEDGER="+filepath.Join(dir, strconv.Itoa(started)))
		cmd.Stderr = os.Stderr
		started++
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	members := []*exec.Cmd{start(), start(), start()}
	defer func() {
		for _, m := range members {
			_ = m.Process.Kill()
			_ = m.Wait()
		}
	}()

	const n = 150_000
	const kills = 4
	next := n / (kills + 1)
	rnd := rand.New(rand.NewPCG(2, 2))
	effective := 0
	for i := range n {
		if err := p.Enqueue(ctx, seastreamer.Record{Key: strconv.AppendInt(nil, int64(i), 10), Value: strconv.AppendInt(nil, int64(i), 10)}, nil); err != nil {
			t.Fatal(err)
		}
		if i%50 == 0 {
			time.Sleep(5 * time.Millisecond) // about 8,000 a second, so that kills come while they read
		}
		if i == next && effective < kills {
			next += n / (kills + 1)
			v := rnd.IntN(len(members))
			_ = members[v].Process.Kill()
			_ = members[v].Wait()
			members[v] = start()
			effective++
		}
	}
	if err := p.Close(ctx); err != nil {
		t.Fatal(err)
	}

	seen := make([]int, n)
	read := func() (missing, again int) {
		clear(seen)
		for i := range started {
			f, err := os.Open(filepath.Join(dir, strconv.Itoa(i)))
			if err != nil {
				continue // it was killed before it had read anything
			}
			for l := bufio.NewScanner(f); l.Scan(); {
				if id, err := strconv.Atoi(l.Text()); err == nil && id < n {
					seen[id]++
				}
			}
			f.Close()
		}
		for _, s := range seen {
			if s == 0 {
				missing++
			} else {
				again += s - 1
			}
		}
		return missing, again
	}
	deadline := time.Now().Add(3 * time.Minute)
	missing, again := read()
	for missing > 0 && time.Now().Before(deadline) {
		time.Sleep(200 * time.Millisecond)
		missing, again = read()
	}
	t.Logf("%d messages, %d kills of a member that reads: %d missing, %d (%.2f %%) read again", n, effective, missing, again, 100*float64(again)/n)
	if missing > 0 {
		t.Errorf("%d messages were read by nobody", missing)
	}
	if again > n/4 {
		t.Errorf("%d messages were read again", again)
	}
}

// memberOfGroup reads until it is killed and writes down what it has read; the
// page cache keeps that.
func memberOfGroup(t *testing.T, broker, ledger string) {
	broker, topic, _ := strings.Cut(broker, "/")
	ctx := t.Context()
	s, err := kafka.Open(ctx, "kafka://"+broker+"?session_timeout=6s", kafka.Options{})
	if err != nil {
		t.Fatal(err)
	}
	k, err := s.Consumer(ctx, seastreamer.ConsumerConfig{Streams: []string{topic}, Group: topic, Start: seastreamer.Earliest, CommitEvery: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(ledger, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	for m, err := range k.Messages(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(append(append([]byte(nil), m.Value()...), '\n')); err != nil {
			t.Fatal(err)
		}
	}
}
