//go:build unix

package e2e

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/seastreamer/seastreamer/backend/kafka"
	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/e2e/apachekafka"
	"github.com/seastreamer/seastreamer/e2e/faultnet"
)

// An atomicKafka is a broker and what the tests of units look at it with.
type atomicKafka struct {
	t     *testing.T
	k     *apachekafka.Cluster
	admin *kadm.Client
	d     driver.Driver
	job   string // a name of its own for each test
	out   string // a stream
}

func newAtomicKafka(t *testing.T) *atomicKafka {
	t.Helper()
	return atomicKafkaOn(t, apachekafka.ForTest(t))
}

func atomicKafkaOn(t *testing.T, k *apachekafka.Cluster) *atomicKafka {
	t.Helper()
	admin, stop := kafkaAdmin(t, k)
	t.Cleanup(stop)
	job := strings.ReplaceAll(t.Name(), "/", ".")
	a := &atomicKafka{t: t, k: k, admin: admin, job: job, out: job + ".out"}
	a.d = a.driver("")
	kafkaCreate(t, admin, a.out, 2)
	return a
}

func (a *atomicKafka) driver(query string) driver.Driver {
	a.t.Helper()
	d := kafkaDriver(a.t, a.k.Brokers(), query, kafka.Options{})
	a.t.Cleanup(func() { _ = d.Close(context.Background()) })
	return d
}

// within bounds what takes a moment, so that a busy machine does not.
func (a *atomicKafka) within() context.Context {
	ctx, cancel := context.WithTimeout(a.t.Context(), 2*time.Minute)
	a.t.Cleanup(cancel)
	return ctx
}

// owner opens one; it is closed at the end.
func (a *atomicKafka) owner(d driver.Driver) driver.Owner {
	a.t.Helper()
	o, err := d.(driver.Atomic).Owner(a.within(), driver.OwnerConfig{Name: a.job})
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { _ = o.Close(context.Background()) })
	return o
}

var input = driver.Shard{Stream: "in/of.another:kind", Index: 3}

// claim claims the input and returns where it stands.
func (a *atomicKafka) claim(o driver.Owner, start uint64) uint64 {
	a.t.Helper()
	at, err := o.Claim(a.within(), []driver.Position{{Shard: input, Next: driver.SeqOf(start)}})
	if err != nil {
		a.t.Fatal(err)
	}
	if len(at) != 1 || at[0].Shard != input {
		a.t.Fatalf("claimed %v, want a position of %v", at, input)
	}
	return at[0].Next.Lo
}

func moves(from, to uint64) []driver.Move {
	return []driver.Move{{Shard: input, From: driver.SeqOf(from), To: driver.SeqOf(to)}}
}

// unit produces records and does not end.
func (a *atomicKafka) unit(o driver.Owner, from, to uint64) driver.Tx {
	a.t.Helper()
	tx, err := o.Begin(a.within())
	if err != nil {
		a.t.Fatal(err)
	}
	for i := from; i < to; i++ {
		if err := tx.Produce(a.within(), driver.Record{Stream: a.out, Shard: driver.On(int32(i % 2)), Value: fmt.Append(nil, i)}); err != nil {
			a.t.Fatal(err)
		}
	}
	return tx
}

// run is a whole unit.
func (a *atomicKafka) run(o driver.Owner, from, to uint64) error {
	a.t.Helper()
	return a.unit(o, from, to).Commit(a.within(), moves(from, to))
}

func (a *atomicKafka) must(err error) {
	a.t.Helper()
	if err != nil {
		a.t.Fatal(err)
	}
}

func (a *atomicKafka) want(err, kind error) {
	a.t.Helper()
	if !errors.Is(err, kind) {
		a.t.Fatalf("error %v, want %v", err, kind)
	}
	a.t.Log("says:", err)
}

// read is what a reader of committed messages has of the output, in order,
// read to the uncommitted end.
func (a *atomicKafka) read() []uint64 {
	a.t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(a.k.Brokers()...), kgo.ConsumeTopics(a.out), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())
	a.must(err)
	defer cl.Close()
	ends := a.ends(a.admin.ListEndOffsets)
	left := map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			left[o.Partition] = o.Offset
		}
	})
	var got []uint64
	for ctx := a.within(); len(left) > 0; {
		fs := cl.PollFetches(ctx)
		a.must(fs.Err())
		fs.EachRecord(func(r *kgo.Record) {
			if !r.Attrs.IsControl() {
				var n uint64
				_, err := fmt.Sscan(string(r.Value), &n)
				a.must(err)
				got = append(got, n)
			}
			if end, ok := left[r.Partition]; ok && r.Offset+1 >= end {
				delete(left, r.Partition)
			}
		})
	}
	slices.Sort(got)
	return got
}

func (a *atomicKafka) holds(to uint64) {
	a.t.Helper()
	var want []uint64
	for i := range to {
		want = append(want, i)
	}
	if got := a.read(); !slices.Equal(got, want) {
		a.t.Errorf("the output holds %d messages, want %d, each once: %.200v", len(got), to, fmt.Sprint(got))
	}
}

// raw is a transactional client of somebody else.
func (a *atomicKafka) raw(id string, opts ...kgo.Opt) *kgo.Client {
	a.t.Helper()
	opts = append([]kgo.Opt{kgo.SeedBrokers(a.k.Brokers()...), kgo.RecordPartitioner(kgo.ManualPartitioner())}, opts...)
	if id != "" {
		opts = append(opts, kgo.TransactionalID(id), kgo.TransactionTimeout(5*time.Second))
	}
	cl, err := kgo.NewClient(opts...)
	a.must(err)
	a.t.Cleanup(cl.Close)
	return cl
}

// positionPartition is where the package's documentation says that a name's
// records are.
func positionPartition(job string) int32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(job))
	return int32(h.Sum32() % 16)
}

func (a *atomicKafka) put(key string, value []byte) {
	a.t.Helper()
	r := &kgo.Record{Topic: "__sea_position", Partition: positionPartition(a.job), Key: []byte(key), Value: value}
	a.must(a.raw("").ProduceSync(a.within(), r).FirstErr())
}

func TestKafkaUnits(t *testing.T) {
	t.Run("together", func(t *testing.T) {
		a := newAtomicKafka(t)
		o := a.owner(a.d)
		if at := a.claim(o, 0); at != 0 {
			t.Fatalf("a new name stands at %d, want its start", at)
		}
		for from := uint64(0); from < 100; from += 10 {
			a.must(a.run(o, from, from+10))
		}
		a.must(a.unit(o, 100, 200).Abort(a.within()))
		a.holds(100)
		if at := a.claim(o, 0); at != 100 {
			t.Errorf("claimed again it stands at %d, want 100", at)
		}
		a.must(o.Close(a.within()))
		if at := a.claim(a.owner(a.driver("")), 7); at != 100 {
			t.Errorf("a new owner is told %d, want 100", at)
		}
	})
	t.Run("start", func(t *testing.T) {
		a := newAtomicKafka(t)
		if at := a.claim(a.owner(a.d), 5); at != 5 {
			t.Errorf("it stands at %d, want 5", at)
		}
		if at := a.claim(a.owner(a.driver("")), 9); at != 5 {
			t.Errorf("a second owner with another start is told %d, want the first, 5", at)
		}
	})
	t.Run("no outputs", func(t *testing.T) {
		a := newAtomicKafka(t)
		o := a.owner(a.d)
		a.claim(o, 0)
		for i := range uint64(20) {
			a.must(a.unit(o, 0, 0).Commit(a.within(), moves(i, i+1)))
		}
		if at := a.claim(a.owner(a.driver("")), 0); at != 20 {
			t.Errorf("a new owner is told %d, want 20", at)
		}
	})
	t.Run("large", func(t *testing.T) {
		a := newAtomicKafka(t)
		o := a.owner(a.driver("?transaction_timeout=2m"))
		a.claim(o, 0)
		begun := time.Now()
		a.must(a.run(o, 0, 50_000))
		t.Logf("50,000 records in %v", time.Since(begun))
		a.holds(50_000)
	})
	t.Run("a shard comes while a unit is open", func(t *testing.T) {
		a := newAtomicKafka(t)
		o := a.owner(a.d)
		a.claim(o, 0)
		tx := a.unit(o, 0, 10)
		other := driver.Shard{Stream: "in", Index: 9}
		at, err := o.Claim(a.within(), []driver.Position{{Shard: other, Next: driver.SeqOf(4)}})
		a.must(err)
		if at[0].Next != driver.SeqOf(4) {
			t.Errorf("it stands at %v, want 4", at[0].Next)
		}
		a.must(tx.Commit(a.within(), append(moves(0, 10), driver.Move{Shard: other, From: driver.SeqOf(4), To: driver.SeqOf(6)})))
		a.holds(10)
		at, err = a.owner(a.driver("")).Claim(a.within(), []driver.Position{{Shard: other}, {Shard: input}})
		a.must(err)
		if at[0].Next != driver.SeqOf(6) || at[1].Next != driver.SeqOf(10) {
			t.Errorf("a new owner is told %v, want 6 and 10", at)
		}
	})
	t.Run("claims are kept although the unit is not", func(t *testing.T) {
		a := newAtomicKafka(t)
		o := a.owner(a.d)
		a.claim(o, 0)
		tx := a.unit(o, 0, 10)
		other := driver.Shard{Stream: "in", Index: 9}
		_, err := o.Claim(a.within(), []driver.Position{{Shard: other, Next: driver.SeqOf(4)}})
		a.must(err)
		a.must(tx.Abort(a.within()))
		at, err := a.owner(a.driver("")).Claim(a.within(), []driver.Position{{Shard: other, Next: driver.SeqOf(77)}})
		a.must(err)
		if at[0].Next != driver.SeqOf(4) {
			t.Errorf("a new owner is told %v, want 4", at)
		}
	})
	t.Run("a record that cannot be written", func(t *testing.T) {
		a := newAtomicKafka(t)
		o := a.owner(a.d)
		a.claim(o, 0)
		tx := a.unit(o, 0, 10)
		a.must(tx.Produce(a.within(), driver.Record{Stream: a.out, Shard: driver.On(7), Value: []byte("nowhere")}))
		err := tx.Commit(a.within(), moves(0, 10))
		a.want(err, driver.ErrNotFound)
		if errors.Is(err, driver.ErrAborted) {
			t.Error("it is called temporary")
		}
		a.holds(0)
	})
}

// TestKafkaUnitFenced: an owner that was stopped while another one took over.
func TestKafkaUnitFenced(t *testing.T) {
	t.Run("at its commit", func(t *testing.T) {
		a := newAtomicKafka(t)
		first := a.owner(a.d)
		a.claim(first, 0)
		a.must(a.run(first, 0, 10))
		paused := a.unit(first, 100, 110)
		second := a.owner(a.driver(""))
		if at := a.claim(second, 0); at != 10 {
			t.Fatalf("the second owner is told %d, want 10", at)
		}
		a.must(a.run(second, 10, 20))
		a.want(paused.Commit(a.within(), moves(10, 20)), driver.ErrFenced)
		a.holds(20)
		a.must(a.run(second, 20, 30))
		a.holds(30)
	})
	t.Run("before its unit", func(t *testing.T) {
		a := newAtomicKafka(t)
		first := a.owner(a.d)
		a.claim(first, 0)
		a.must(a.run(first, 0, 10))
		second := a.owner(a.driver(""))
		a.claim(second, 0)
		a.want(a.run(first, 10, 20), driver.ErrFenced)
		a.holds(10)
		a.must(a.run(second, 10, 20))
		a.holds(20)
	})
	t.Run("at a claim", func(t *testing.T) {
		a := newAtomicKafka(t)
		first := a.owner(a.d)
		a.claim(first, 0)
		a.claim(a.owner(a.driver("")), 0)
		_, err := first.Claim(a.within(), []driver.Position{{Shard: driver.Shard{Stream: "in", Index: 9}}})
		a.want(err, driver.ErrFenced)
	})
	t.Run("by its own time-out", func(t *testing.T) {
		a := newAtomicKafka(t)
		o := a.owner(a.driver("?transaction_timeout=3s")) // which the claim keeps on a busy machine
		a.claim(o, 0)
		tx := a.unit(o, 0, 10)
		a.awaitStable()
		a.want(tx.Commit(a.within(), moves(0, 10)), driver.ErrUnknown)
		a.must(o.Close(a.within()))
		again := a.owner(a.driver(""))
		if at := a.claim(again, 0); at != 0 {
			t.Errorf("a new owner is told %d, want 0", at)
		}
		a.must(a.run(again, 0, 10))
		a.holds(10)
	})
}

// awaitStable waits until something was written to the output and the broker
// has ended all its transactions.
func (a *atomicKafka) awaitStable() {
	a.t.Helper()
	waitFor(a.t, "the output is stable", func() (stable bool) {
		a.ends(a.admin.ListEndOffsets).Each(func(o kadm.ListedOffset) { stable = stable || o.Offset > 0 })
		return stable && !a.uncommitted()
	})
}

// TestKafkaClaim: what a claim finds.
func TestKafkaClaim(t *testing.T) {
	// The predecessor was killed with an open transaction, which holds the
	// stable end below the position that it committed before.
	t.Run("after a death", func(t *testing.T) {
		a := newAtomicKafka(t)
		dead := a.driver("?transaction_timeout=10m")
		o := a.owner(dead)
		a.claim(o, 0)
		a.must(a.run(o, 0, 10))
		a.unit(o, 10, 20)
		a.await(func() bool { return a.uncommitted() })
		second := a.owner(a.d)
		if at := a.claim(second, 0); at != 10 { // long before the transaction's time-out
			t.Errorf("the successor is told %d, want 10", at)
		}
		a.must(a.run(second, 10, 20))
		a.holds(20)
	})
	// Another job has a transaction open in the partition that holds this
	// one's position: the stable end stays below it.
	t.Run("behind an open transaction of another", func(t *testing.T) {
		a := newAtomicKafka(t)
		other := a.raw(a.job + ".other")
		a.must(other.BeginTransaction())
		a.must(other.ProduceSync(a.within(), &kgo.Record{Topic: a.out, Value: []byte("0")}).FirstErr())
		a.must(other.EndTransaction(a.within(), kgo.TryAbort))
		o := a.owner(a.d)
		a.claim(o, 0)
		a.must(other.BeginTransaction())
		a.must(other.ProduceSync(a.within(), &kgo.Record{Topic: "__sea_position", Partition: positionPartition(a.job), Key: []byte("x/owner"), Value: []byte("{}")}).FirstErr())
		a.must(a.run(o, 0, 10))
		a.must(a.run(o, 10, 20))
		a.must(o.Close(a.within()))
		// The other transaction ends after 5 s by its time-out.
		if at := a.claim(a.owner(a.driver("")), 0); at != 20 {
			t.Errorf("a new owner is told %d, want 20: it has read to the stable end only", at)
		}
	})
	t.Run("a lost position", func(t *testing.T) {
		a := newAtomicKafka(t)
		o := a.owner(a.d)
		a.claim(o, 3)
		a.must(a.run(o, 3, 10))
		a.must(o.Close(a.within()))
		a.put(fmt.Sprintf("%s/at/%s/%d", a.job, input.Stream, input.Index), nil)
		for range 2 { // it changes nothing
			_, err := a.owner(a.driver("")).Claim(a.within(), []driver.Position{{Shard: input}})
			a.want(err, driver.ErrLost)
		}
		a.put(fmt.Sprintf("%s/has/%s/%d", a.job, input.Stream, input.Index), nil)
		if at := a.claim(a.owner(a.driver("")), 1); at != 1 {
			t.Errorf("after both are gone it stands at %d, want the start, 1", at)
		}
	})
	t.Run("a record of a later version", func(t *testing.T) {
		a := newAtomicKafka(t)
		a.put(a.job+"/at/in/0", []byte(`{"v":2}`))
		_, err := a.owner(a.d).Claim(a.within(), []driver.Position{{Shard: input}})
		a.want(err, driver.ErrInvalid)
	})
}

func (a *atomicKafka) await(f func() bool) {
	a.t.Helper()
	for ctx := a.within(); !f(); {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			a.t.Fatal("it does not come about")
		}
	}
}

// ends is what list says of each shard of the output. A node that was killed and
// is back may not lead its shards yet: that is waited for.
func (a *atomicKafka) ends(list func(context.Context, ...string) (kadm.ListedOffsets, error)) (ends kadm.ListedOffsets) {
	a.t.Helper()
	waitFor(a.t, "each shard says where it ends", func() bool {
		var err error
		ends, err = list(a.within(), a.out)
		return err == nil && ends.Error() == nil
	})
	return ends
}

// uncommitted reports whether a transaction is open on the output.
func (a *atomicKafka) uncommitted() bool {
	ends, stable := a.ends(a.admin.ListEndOffsets), a.ends(a.admin.ListCommittedOffsets)
	open := false
	ends.Each(func(o kadm.ListedOffset) {
		s, _ := stable.Lookup(a.out, o.Partition)
		open = open || s.Offset < o.Offset
	})
	return open
}

// TestKafkaCommitReplyLost: the broker commits and nobody hears of it.
func TestKafkaCommitReplyLost(t *testing.T) {
	proxy, err := faultnet.Listen("", faultnet.Options{Seed: 1, Requests: faultnet.Kafka, Replies: faultnet.Kafka})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	k, err := apachekafka.Start(t.Context(), apachekafka.Options{Properties: map[string]string{"advertised.listeners": "PLAINTEXT://" + proxy.Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Stop)
	proxy.SetTarget(k.Brokers()[0])
	a := atomicKafkaOn(t, k)
	const endTxn = "26" // EndTxn's API key
	lose := func(times int) (lost <-chan struct{}) {
		n, first := 0, make(chan struct{})
		proxy.OnReply(func(kind string, _ int64) faultnet.Fate {
			if kind == endTxn && (times < 0 || n < times) {
				if n++; n == 1 {
					close(first)
				}
				return faultnet.CutBefore
			}
			return faultnet.Pass
		})
		return first
	}
	o := a.owner(a.d)
	a.claim(o, 0)
	a.must(a.run(o, 0, 10))
	// Once: the request is repeated, which this cluster's transactions allow.
	lose(1)
	a.must(a.run(o, 10, 20))
	// Always: only a claim can tell.
	tx := a.unit(o, 20, 30)
	lost := lose(-1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan time.Time, 1)
	go func() { // the broker has the request, and the proxy its reply
		select {
		case <-lost:
			ended <- time.Now()
			cancel()
		case <-ctx.Done():
		}
	}()
	a.want(tx.Commit(ctx, moves(20, 30)), driver.ErrUnknown)
	select {
	case at := <-ended:
		if took := time.Since(at); took > 20*time.Second {
			t.Errorf("Commit returned %v after the end of its context", took)
		}
	default:
		t.Fatal("Commit has not asked the broker for the end of its transaction")
	}
	lose(0)
	a.must(o.Close(a.within()))
	again := a.owner(a.driver(""))
	if at := a.claim(again, 0); at != 30 {
		t.Errorf("a new owner is told %d, want 30: the broker had the request", at)
	}
	a.must(a.run(again, 30, 40))
	a.holds(40)
}

// losePositions sends tombstones for where a name stands, by the format that
// the package documents.
func losePositions(t testing.TB, k *apachekafka.Cluster, name string) {
	t.Helper()
	for _, line := range outputLines(t, "kcat", "-C", "-e", "-q", "-b", k.Brokers()[0], "-t", "__sea_position", "-p", fmt.Sprint(positionPartition(name)),
		// What was committed a moment ago may not be seen as such yet.
		"-X", "isolation.level=read_uncommitted", "-f", "%k\\n") {
		if !strings.HasPrefix(line, name+"/at/") {
			continue
		}
		cl, err := kgo.NewClient(kgo.SeedBrokers(k.Brokers()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
		if err != nil {
			t.Fatal(err)
		}
		err = cl.ProduceSync(t.Context(), &kgo.Record{Topic: "__sea_position", Partition: positionPartition(name), Key: []byte(line)}).FirstErr()
		cl.Close()
		if err != nil {
			t.Fatal(err)
		}
	}
}
