//go:build unix

package e2e

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/backend/kafka"
	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/e2e/apachekafka"
)

// TestKafkaHangingTransactions has Apache Kafka leave out the end of
// transactions (KAFKA-20734): one of three nodes is killed, and when the
// partitions that only it has are without a leader, transactions that wrote there
// end. Their next owner, or the one that lives, must end them as they were meant,
// before the first record of its own: its transactions have the same producer id,
// and would decide what becomes of what hangs.
func TestKafkaHangingTransactions(t *testing.T) {
	k, err := apachekafka.Start(t.Context(), apachekafka.Options{Nodes: 3})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Stop)
	committed, aborted, lives := wideKafka(t, k, "committed"), wideKafka(t, k, "aborted"), wideKafka(t, k, "lives")
	log := &warnings{}
	owner := lives.owner(lives.driverTo(log, "transaction_timeout=10m"))
	lives.claim(owner, 0)
	ends := []func() error{committed.written(kgo.TryCommit), aborted.written(kgo.TryAbort)}
	last := lives.endedWithoutANode(owner)
	for _, a := range []*atomicKafka{committed, aborted} {
		a.leaderless()
	}
	for _, end := range ends {
		committed.must(end())
	}
	for _, a := range []*atomicKafka{committed, aborted, lives} {
		a.complete() // and so the ends are left out for good
	}
	committed.must(k.Restart(t.Context(), 2))

	// The owner that lives has nothing more to do, and all of its unit appears.
	lives.holds(last)
	if log.n.Load() == 0 {
		t.Error("nothing was ended by hand: Kafka does not leave out ends any more, and what is done about it can go")
	}
	lives.must(lives.everywhere(owner, last).Abort(lives.within()))
	lives.holds(last)
	lives.must(lives.everywhere(owner, last).Commit(lives.within(), moves(last, last+wide)))
	lives.holds(last + wide)

	for _, a := range []*atomicKafka{committed, aborted} {
		if !a.hangs() {
			t.Fatalf("of the job %q nothing hangs", a.job)
		}
	}
	// A unit that is aborted does not take with it what was committed.
	o := committed.owner(committed.d)
	committed.claim(o, wide)
	committed.must(committed.everywhere(o, wide).Abort(committed.within()))
	committed.holds(wide)
	committed.must(committed.everywhere(o, wide).Commit(committed.within(), moves(wide, 2*wide)))
	committed.holds(2 * wide)
	// A unit that is committed does not show what was aborted.
	o = aborted.owner(aborted.d)
	aborted.claim(o, 0)
	aborted.must(aborted.everywhere(o, wide).Commit(aborted.within(), moves(0, 1)))
	if got := aborted.read(); len(got) != wide || got[0] != wide {
		t.Errorf("after a unit of %d messages the output holds %v", wide, got)
	}
}

// endedWithoutANode commits a unit while node 2 is dead, which it has killed, and
// returns where the input stands then. Where a record of the unit is in the log
// of node 2 and the answer went down with it, the unit does not end before the
// node is back; then it is done again.
func (a *atomicKafka) endedWithoutANode(o driver.Owner) uint64 {
	a.t.Helper()
	for from := uint64(0); from < 5*wide; from += wide {
		tx := a.everywhere(o, from)
		a.k.Kill(2)
		a.leaderless()
		ended, ctx := make(chan error, 1), a.within()
		go func() { ended <- tx.Commit(ctx, moves(from, from+wide)) }()
		select {
		case err := <-ended:
			a.must(err)
			return from + wide
		case <-time.After(20 * time.Second):
		}
		a.must(a.k.Restart(a.t.Context(), 2))
		a.must(<-ended)
	}
	a.t.Fatal("each time an answer of the node went down with it")
	return 0
}

// wide is how many shards the outputs have, each on one node: each node has some.
const wide = 12

func wideKafka(t *testing.T, k *apachekafka.Cluster, name string) *atomicKafka {
	t.Helper()
	admin, stop := kafkaAdmin(t, k)
	t.Cleanup(stop)
	a := &atomicKafka{t: t, k: k, admin: admin, job: name, out: name + ".wide"}
	a.d = a.driver("")
	kafkaCreate(t, admin, a.out, wide)
	return a
}

// written is a transaction of a.job, by somebody else, with a record in each
// shard of the output. It returns what ends it.
func (a *atomicKafka) written(end kgo.TransactionEndTry) func() error {
	a.t.Helper()
	cl := a.raw("", kgo.TransactionalID(a.job), kgo.TransactionTimeout(10*time.Minute)) // the broker must not end it
	a.must(cl.BeginTransaction())
	var recs []*kgo.Record
	for i := range wide {
		recs = append(recs, &kgo.Record{Topic: a.out, Partition: int32(i), Value: fmt.Append(nil, i)})
	}
	a.must(cl.ProduceSync(a.within(), recs...).FirstErr())
	return func() error { return cl.EndTransaction(a.within(), end) }
}

// leaderless waits until shards of the output have no leader.
func (a *atomicKafka) leaderless() {
	a.t.Helper()
	waitFor(a.t, "the killed node leads nothing", func() bool {
		m, err := a.admin.Metadata(a.within(), a.out)
		if err != nil {
			return false
		}
		none := 0
		for _, p := range m.Topics[a.out].Partitions {
			if p.Leader == 2 {
				return false
			}
			if p.Leader < 0 {
				none++
			}
		}
		return none > 0
	})
}

// complete waits until the job's transaction is over for its coordinator, if
// there was one.
func (a *atomicKafka) complete() {
	a.t.Helper()
	waitFor(a.t, "the transaction is complete", func() bool {
		d, err := a.admin.DescribeTransactions(a.within(), a.job)
		return err == nil && d[a.job].Err == nil && (strings.HasPrefix(d[a.job].State, "Complete") || d[a.job].State == "Empty")
	})
}

// hangs reports whether the output has a transaction open, when each shard has
// said so.
func (a *atomicKafka) hangs() (open bool) {
	a.t.Helper()
	shards := kadm.TopicsSet{}
	for i := range int32(wide) {
		shards.Add(a.out, i)
	}
	waitFor(a.t, "the brokers say what is open", func() bool {
		ps, err := a.admin.DescribeProducers(a.within(), shards)
		said := 0
		for _, p := range ps.SortedPartitions() {
			if p.Err == nil {
				said++
			}
		}
		for _, p := range ps.SortedProducers() {
			open = open || p.CurrentTxnStartOffset >= 0
		}
		return err == nil && said == wide
	})
	return open
}

// everywhere is a unit with a record in each shard of the output, where all of
// them, or at least most, have come when it returns.
func (a *atomicKafka) everywhere(o driver.Owner, from uint64) driver.Tx {
	a.t.Helper()
	size := func() (n int64) {
		a.ends(a.admin.ListEndOffsets).Each(func(o kadm.ListedOffset) { n += o.Offset })
		return n
	}
	a.complete() // or the end of the one before, which comes later, would be taken for the records
	before := size()
	tx, err := o.Begin(a.within())
	a.must(err)
	for i := range uint64(wide) {
		a.must(tx.Produce(a.within(), driver.Record{Stream: a.out, Shard: driver.On(int32(i)), Value: fmt.Append(nil, from+i)}))
	}
	waitFor(a.t, "the records have come", func() bool { return size() >= before+wide })
	return tx
}

// warnings counts those about transactions that were healed.
type warnings struct{ n atomic.Int64 }

func (w *warnings) Enabled(context.Context, slog.Level) bool { return true }
func (w *warnings) WithAttrs([]slog.Attr) slog.Handler       { return w }
func (w *warnings) WithGroup(string) slog.Handler            { return w }
func (w *warnings) Handle(_ context.Context, r slog.Record) error {
	if strings.Contains(r.Message, "KAFKA-20734") {
		w.n.Add(1)
	}
	return nil
}

func (a *atomicKafka) driverTo(log slog.Handler, query string) driver.Driver {
	a.t.Helper()
	d := kafkaDriver(a.t, a.k.Brokers(), "?"+query, kafka.Options{Options: seastreamer.Options{Logger: slog.New(log)}})
	a.t.Cleanup(func() { _ = d.Close(context.Background()) })
	return d
}
