package kafka

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/driver"
)

// What a broker does only now and then is scripted here. The rest is in the
// conformance suite, and in e2e on Apache Kafka.

var somewhere = driver.Shard{Stream: "in", Index: 0}

func claimed(t *testing.T, c *client, name string) (*owner, uint64) {
	t.Helper()
	o, err := c.Owner(within(t), driver.OwnerConfig{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.Close(context.Background()) })
	at, err := o.Claim(within(t), []driver.Position{{Shard: somewhere}})
	if err != nil {
		t.Fatal(err)
	}
	return o.(*owner), at[0].Next.Lo
}

// unitOf runs a unit of one record.
func unitOf(t *testing.T, o driver.Owner, from uint64) error {
	t.Helper()
	tx, err := o.Begin(within(t))
	if err != nil {
		return err
	}
	if err := tx.Produce(within(t), driver.Record{Stream: "out", Value: fmt.Append(nil, from)}); err != nil {
		return errors.Join(err, tx.Abort(within(t)))
	}
	return tx.Commit(within(t), []driver.Move{{Shard: somewhere, From: driver.SeqOf(from), To: driver.SeqOf(from + 1)}})
}

// committed is what a reader of committed messages has of "out".
func committed(t *testing.T, c *client) string {
	t.Helper()
	var got []string
	if err := c.scan(within(t), driver.Shard{Stream: "out"}, driver.Uncommitted, func(r *kgo.Record) { got = append(got, string(r.Value)) }); err != nil {
		t.Fatal(err)
	}
	return strings.Join(got, " ")
}

// onceEndTxn answers the next request to commit in the broker's place.
func onceEndTxn(k *kfake.Cluster, e *kerr.Error) {
	k.ControlKey(int16(kmsg.EndTxn), func(req kmsg.Request) (kmsg.Response, error, bool) {
		if !req.(*kmsg.EndTxnRequest).Commit {
			k.KeepControl()
			return nil, nil, false
		}
		resp := req.ResponseKind().(*kmsg.EndTxnResponse)
		resp.ErrorCode = e.Code
		return resp, nil, true
	})
}

// onceProduce answers the next request with a record for a stream.
func onceProduce(k *kfake.Cluster, e *kerr.Error) {
	k.ControlKey(int16(kmsg.Produce), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		req := kreq.(*kmsg.ProduceRequest)
		resp := req.ResponseKind().(*kmsg.ProduceResponse)
		for _, t := range req.Topics {
			rt := kmsg.NewProduceResponseTopic()
			rt.Topic, rt.TopicID = t.Topic, t.TopicID
			for _, p := range t.Partitions {
				rp := kmsg.NewProduceResponseTopicPartition()
				rp.Partition, rp.ErrorCode = p.Partition, e.Code
				rt.Partitions = append(rt.Partitions, rp)
			}
			resp.Topics = append(resp.Topics, rt)
		}
		return resp, nil, true
	})
}

func TestCommitThatFails(t *testing.T) {
	for _, test := range []struct {
		name  string
		spoil func(*kfake.Cluster)
		want  error
	}{
		{"a record is refused for now", func(k *kfake.Cluster) { onceProduce(k, kerr.TransactionAbortable) }, driver.ErrAborted},
		{"a record is refused for good", func(k *kfake.Cluster) { onceProduce(k, kerr.MessageTooLarge) }, driver.ErrTooLarge},
		{"the end is refused for now", func(k *kfake.Cluster) { onceEndTxn(k, kerr.TransactionAbortable) }, driver.ErrAborted},
		{"the broker does not know what it did", func(k *kfake.Cluster) { onceEndTxn(k, kerr.UnknownServerError) }, driver.ErrUnknown},
		{"the transaction took too long", func(k *kfake.Cluster) { onceEndTxn(k, kerr.InvalidProducerEpoch) }, driver.ErrUnknown},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel() // two of them wait for the time-out
			k := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "out"))
			c := open(t, url(k.ListenAddrs(), "transaction_timeout=3s"), Options{})
			o, _ := claimed(t, c, "job")
			if err := unitOf(t, o, 0); err != nil {
				t.Fatal(err)
			}
			test.spoil(k)
			err := unitOf(t, o, 1)
			if !errors.Is(err, test.want) {
				t.Fatalf("Commit: %v, want %v", err, test.want)
			}
			t.Log("says:", err)
			if got, want := committed(t, c), "0"; got != want {
				t.Errorf("after it the stream holds %q, want %q", got, want)
			}
			if test.want != driver.ErrUnknown { // the owner goes on
				if err := unitOf(t, o, 1); err != nil {
					t.Fatalf("the same unit again: %v", err)
				}
				if got, want := committed(t, c), "0 1"; got != want {
					t.Errorf("then the stream holds %q, want %q", got, want)
				}
				return
			}
			if _, err := o.Begin(within(t)); !errors.Is(err, driver.ErrClosed) {
				t.Errorf("Begin of an owner that does not know: %v, want ErrClosed", err)
			}
			if _, at := claimed(t, c, "job"); at != 1 {
				t.Errorf("the next owner is told %d, want 1", at)
			}
		})
	}
}

// TestCommitSeenByTheNext: the request to commit was repeated, and refused
// since another owner had claimed; but the first one had done it.
func TestCommitSeenByTheNext(t *testing.T) {
	k := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "out"))
	c := open(t, url(k.ListenAddrs(), ""), Options{})
	first, _ := claimed(t, c, "job")
	tx, err := first.Begin(within(t))
	if err != nil {
		t.Fatal(err)
	}
	u := tx.(*unit)
	u.fill(within(t), []driver.Move{{Shard: somewhere, To: driver.SeqOf(1)}})
	if err := first.units.Flush(within(t)); err != nil {
		t.Fatal(err)
	}
	if err := first.units.end(within(t), kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	second, at := claimed(t, c, "job")
	if at != 1 {
		t.Fatalf("the second owner is told %d, want 1", at)
	}
	if err := u.uncommitted(within(t), kerr.ProducerFenced); err != nil {
		t.Errorf("the unit was committed, and Commit says: %v", err)
	}
	if err := unitOf(t, second, 1); err != nil {
		t.Fatal(err)
	}
	u.n = 99 // a unit that was not
	if err := u.uncommitted(within(t), kerr.ProducerFenced); !errors.Is(err, driver.ErrFenced) {
		t.Errorf("Commit of another unit: %v, want ErrFenced", err)
	}
}

// TestOldTransactions runs on a cluster whose transactions do not have an epoch
// each.
func TestOldTransactions(t *testing.T) {
	k := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "in", "out"))
	var log bytes.Buffer
	c := open(t, url(k.ListenAddrs(), "transaction_timeout=3s"), Options{Options: seastreamer.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}})
	req := kmsg.NewPtrUpdateFeaturesRequest()
	f := kmsg.NewUpdateFeaturesRequestFeatureUpdate()
	f.Feature, f.MaxVersionLevel, f.UpgradeType, f.AllowDowngrade = "transaction.version", 0, 3, true
	req.FeatureUpdates, req.TimeoutMillis = append(req.FeatureUpdates, f), 5000
	resp, err := req.RequestWith(within(t), c.cl)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err != nil {
		t.Fatal(err)
	}
	if v, err := c.transactionVersion(within(t)); v != 0 || err != nil {
		t.Fatalf("transaction.version is %d (%v), want 0", v, err)
	}
	p, err := c.Pair(within(t), c, driver.OwnerConfig{Name: "job"})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "transaction.version") {
		t.Errorf("the log says %q, want a warning about transaction.version", log.String())
	}
	cons, err := p.Consumer(within(t), driver.ConsumerConfig{Streams: []string{"in"}, Start: driver.Earliest, Events: driver.Events{
		Assigned: func(ctx context.Context, at []driver.Position) (uint64, []driver.Position, error) {
			got, err := p.Claim(ctx, at)
			return 1, got, err
		},
		Revoked: func(context.Context, []driver.Shard, bool) {},
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer cons.Close(context.Background())
	defer p.Close(context.Background())
	for i := range uint64(5) {
		if err := unitOf(t, p, i); err != nil {
			t.Fatal(err)
		}
	}
	// The end of a transaction is asked for once, whatever the answer.
	var asked atomic.Int32
	k.ControlKey(int16(kmsg.EndTxn), func(kmsg.Request) (kmsg.Response, error, bool) {
		k.KeepControl()
		asked.Add(1)
		return nil, errors.New("the connection breaks"), true
	})
	if err := unitOf(t, p, 5); !errors.Is(err, driver.ErrUnknown) {
		t.Errorf("Commit: %v, want ErrUnknown", err)
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("the broker was asked %d times to end the transaction, want once", n)
	}
	if got, want := committed(t, c), "0 1 2 3 4"; got != want {
		t.Errorf("the stream holds %q, want %q", got, want)
	}
}

func TestPositionTopic(t *testing.T) {
	owner := func(k *kfake.Cluster, query string) error {
		c := open(t, url(k.ListenAddrs(), query), Options{})
		o, err := c.Owner(within(t), driver.OwnerConfig{Name: "job"})
		if err == nil {
			_ = o.Close(context.Background())
		}
		return err
	}
	k := fake(t, kfake.NumBrokers(1))
	if err := owner(k, "no_autocreate"); !errors.Is(err, driver.ErrNotFound) {
		t.Errorf("with no_autocreate: %v, want ErrNotFound", err)
	}
	if err := owner(k, ""); err != nil {
		t.Errorf("without: %v", err)
	}
	if err := owner(fake(t, kfake.NumBrokers(1), kfake.SeedTopics(3, positionTopic)), ""); !errors.Is(err, driver.ErrInvalid) {
		t.Errorf("with 3 partitions: %v, want ErrInvalid", err)
	}
	if err := owner(fake(t, kfake.NumBrokers(1), kfake.SeedTopics(positionShards, positionTopic)), ""); !errors.Is(err, driver.ErrInvalid) {
		t.Errorf("with cleanup.policy=delete: %v, want ErrInvalid", err)
	}
}

func TestPause(t *testing.T) {
	p := newPause()
	for range 200 {
		p.learn(2 * time.Millisecond)
	}
	if p.wait > time.Millisecond/10 {
		t.Errorf("after 200 quick units it waits %v, want hardly anything", p.wait)
	}
	for range 6 {
		p.learn(23 * time.Millisecond)
	}
	if p.wait != pauseMost {
		t.Errorf("after 6 stalls it waits %v, want %v", p.wait, pauseMost)
	}
	// On a slow way nothing is a stall.
	p = newPause()
	for range 200 {
		p.learn(80 * time.Millisecond)
	}
	if p.wait > time.Millisecond/10 {
		t.Errorf("80 ms from the broker it waits %v, want hardly anything", p.wait)
	}
}

func TestPositionValue(t *testing.T) {
	want := positionValue{V: 1, Owner: "me", Unit: 7, Next: driver.Seq{Hi: 1700000000000, Lo: 3}}
	b := want.encode()
	if got, err := decodePosition(b); got != want || err != nil {
		t.Errorf("%s is %+v (%v), want %+v", b, got, err, want)
	}
	for _, bad := range []string{"", "{}", `{"v":2}`, `{"v":1,"next":"x"}`} {
		if _, err := decodePosition([]byte(bad)); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

func FuzzPositionValue(f *testing.F) {
	f.Add(positionValue{Owner: "me", Unit: 7, Next: driver.SeqOf(3)}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := decodePosition(b)
		if err != nil {
			return
		}
		if again, err := decodePosition(v.encode()); again != v || err != nil {
			t.Errorf("%+v reads back as %+v (%v)", v, again, err)
		}
	})
}

// TestNobodyDoesNotCommit: a member that is joining anew is told so, and does
// not ask the broker, which takes offsets of nobody also of a group with
// members (seen with Apache Kafka 4.3.1).
func TestNobodyDoesNotCommit(t *testing.T) {
	k := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "in"))
	c := open(t, url(k.ListenAddrs(), ""), Options{})
	g := newGroup(c, "group")
	g.cl = c.cl // of no group, as is a member that has lost its place
	o, _ := claimed(t, c, "job")
	at := []driver.Position{{Shard: somewhere, Next: driver.SeqOf(1)}}
	if err := g.commit(within(t), o.units, g.member(), at); !errors.Is(err, kerr.RebalanceInProgress) {
		t.Errorf("commit: %v, want REBALANCE_IN_PROGRESS", err)
	}
}

// TestClaimAfterATransactionThatTookTooLong: the broker does not know the
// session any more in which an earlier Claim had begun. That is no reason to end
// the job.
func TestClaimAfterATransactionThatTookTooLong(t *testing.T) {
	k := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "out"))
	c := open(t, url(k.ListenAddrs(), ""), Options{})
	k.ControlKey(int16(kmsg.InitProducerID), func(r kmsg.Request) (kmsg.Response, error, bool) {
		resp := r.ResponseKind().(*kmsg.InitProducerIDResponse)
		resp.ErrorCode = kerr.InvalidProducerEpoch.Code
		return resp, nil, true
	})
	o, err := c.Owner(within(t), driver.OwnerConfig{Name: "job"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = o.Claim(within(t), []driver.Position{{Shard: somewhere}})
	if !errors.Is(err, driver.ErrUnavailable) {
		t.Errorf("Claim: %v, want ErrUnavailable", err)
	}
	_ = o.Close(within(t))
	if _, at := claimed(t, c, "job"); at != 0 {
		t.Errorf("the next one begins at %d, want 0", at)
	}
}

// TestClaimBrokenOff: a claim whose context ends while its transaction is open,
// as when the next rebalance begins, does not spoil the next one of this owner,
// and Close leaves nothing open that others would have to wait for.
func TestClaimBrokenOff(t *testing.T) {
	for _, test := range []struct {
		at    int32 // which request to write it is that is not answered
		again bool
	}{{1, true}, {2, true}, {1, false}, {2, false}} {
		t.Run(fmt.Sprintf("%+v", test), func(t *testing.T) {
			k := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "out"))
			c := open(t, url(k.ListenAddrs(), "transaction_timeout=5m"), Options{})
			claimed(t, c, "other") // the topic for positions is there
			o, err := c.Owner(within(t), driver.OwnerConfig{Name: "job"})
			if err != nil {
				t.Fatal(err)
			}
			defer o.Close(context.Background())
			asked, release := make(chan struct{}), make(chan struct{})
			var n atomic.Int32
			k.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
				k.KeepControl()
				if n.Add(1) == test.at {
					close(asked)
					k.SleepControl(func() { <-release })
				}
				return nil, nil, false
			})
			ctx, cancel := context.WithCancel(within(t))
			go func() {
				<-asked
				cancel()
			}()
			at := []driver.Position{{Shard: somewhere}}
			if _, err := o.Claim(ctx, at); !errors.Is(err, driver.ErrUnavailable) {
				t.Fatalf("Claim that is broken off: %v, want ErrUnavailable", err)
			}
			close(release)
			if test.again {
				if _, err := o.Claim(within(t), at); err != nil {
					t.Fatalf("the next Claim: %v", err)
				}
				if err := unitOf(t, o, 0); err != nil {
					t.Fatal(err)
				}
			}
			if err := o.Close(within(t)); err != nil {
				t.Fatal(err)
			}
			open, err := c.openIn(within(t), []driver.Shard{o.(*owner).log})
			if len(open) > 0 || err != nil {
				t.Errorf("after Close %v is open (%v), want nothing", open, err)
			}
		})
	}
}
