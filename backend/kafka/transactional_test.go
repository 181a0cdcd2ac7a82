package kafka

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/seastreamer/seastreamer/driver"
)

// TestEndWaitsForMetadata: a transaction does not end while franz-go is busy
// with what the broker says of topics. See settleTopics: 400 first commits on a
// machine that was busy had one or two that were aborts.
func TestEndWaitsForMetadata(t *testing.T) {
	cluster := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "s"))
	var hold atomic.Bool
	held, release, ended := make(chan struct{}), make(chan struct{}), make(chan bool, 1)
	cluster.ControlKey(int16(kmsg.Metadata), func(kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		if hold.CompareAndSwap(true, false) {
			close(held)
			cluster.SleepControl(func() { <-release })
		}
		return nil, nil, false
	})
	cluster.ControlKey(int16(kmsg.EndTxn), func(r kmsg.Request) (kmsg.Response, error, bool) {
		ended <- r.(*kmsg.EndTxnRequest).Commit
		return nil, nil, false
	})
	c := open(t, url(cluster.ListenAddrs(), ""), Options{})
	x, err := c.transactional("id", safeTransactions)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close(t.Context())
	if err := x.begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	produce := func() error {
		return x.cl.ProduceSync(t.Context(), &kgo.Record{Topic: "s", Partition: explicit(0)}).FirstErr()
	}
	if err := produce(); err != nil {
		t.Fatal(err)
	}
	hold.Store(true)
	x.cl.ForceMetadataRefresh()
	<-held
	done := make(chan error, 1)
	go func() { done <- x.end(t.Context(), kgo.TryCommit) }()
	// Once it ends nothing more is taken.
	for until := time.Now().Add(100 * time.Millisecond); time.Now().Before(until); {
		if err := produce(); err != nil {
			t.Errorf("it ends before metadata has come: %v", err)
			break
		}
	}
	close(release)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if commit := <-ended; !commit {
		t.Error("what was to be committed was aborted")
	}
}

// TestClaimGivenUp: the question that a claim has asked ends while the claim
// says why it gave it up.
func TestClaimGivenUp(t *testing.T) {
	c := open(t, url([]string{silent(t)}, ""), Options{})
	x, err := c.transactional("id", safeTransactions)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close(t.Context())
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for range 100 {
		if err := x.claim(over); !errors.Is(err, driver.ErrUnavailable) && !errors.Is(err, context.Canceled) {
			t.Fatalf("claim: %v, want that it was given up", err)
		}
	}
}

type buffered func(*kgo.Record)

func (f buffered) OnProduceRecordBuffered(r *kgo.Record) { f(r) }

// TestRunGivenUp: a run is not given up before franz-go has all its records. One
// that came later would belong to the transaction after it.
func TestRunGivenUp(t *testing.T) {
	cluster := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "s"))
	c := open(t, url(cluster.ListenAddrs(), ""), Options{})
	ctx, cancel := context.WithCancel(within(t))
	ended, second := make(chan struct{}), make(chan struct{})
	n := 0
	p, err := c.newProducer(driver.ProducerConfig{Durability: driver.ExactlyOnce}, kgo.TransactionalID("id"), kgo.WithHooks(buffered(func(*kgo.Record) {
		if n++; n == 1 {
			return
		}
		defer close(second)
		cancel()
		select {
		case <-ended:
			t.Error("the run was given up, and a record of it was still to come")
		case <-time.After(100 * time.Millisecond): // it waits for this to return
		}
	})))
	if err != nil {
		t.Fatal(err)
	}
	x := &transactional{producer: p, id: "id", version: safeTransactions}
	defer x.Close(t.Context())
	_ = x.run(ctx, nil, []*kgo.Record{{Topic: "s"}, {Topic: "s"}}, nil)
	close(ended)
	<-second
	if err := x.clear(within(t)); err != nil {
		t.Error(err)
	}
}

// A stander stands still, the first time, where franz-go begins to drop the
// records of a transaction.
type stander struct {
	stood atomic.Bool
	stand func()
}

func (*stander) Level() kgo.LogLevel { return kgo.LogLevelInfo }
func (s *stander) Log(_ kgo.LogLevel, said string, _ ...any) {
	if strings.Contains(said, "set to aborting") && !s.stood.Swap(true) {
		s.stand()
	}
}

// TestAbortGivenUp: an abort that was given up goes on, and what comes after it
// waits for that. It would drop the records of the transaction after its own.
func TestAbortGivenUp(t *testing.T) {
	cluster := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "s"))
	c := open(t, url(cluster.ListenAddrs(), ""), Options{})
	ctx, cancel := context.WithCancel(within(t))
	begun, release := make(chan struct{}), make(chan struct{})
	p, err := c.newProducer(driver.ProducerConfig{Durability: driver.ExactlyOnce}, kgo.TransactionalID("id"), kgo.WithLogger(&stander{stand: func() {
		close(begun)
		cancel()
		<-release
	}}))
	if err != nil {
		t.Fatal(err)
	}
	x := &transactional{producer: p, id: "id", version: safeTransactions}
	defer x.Close(t.Context())
	recs := []*kgo.Record{{Topic: "s"}}
	failed := errors.New("it failed")
	_ = x.run(ctx, nil, recs, func(context.Context) error { return failed })
	<-begun
	again := make(chan error, 1)
	go func() {
		err := x.clear(within(t))
		if err == nil {
			err = x.run(within(t), nil, recs, nil)
		}
		again <- err
	}()
	select {
	case err := <-again:
		t.Errorf("the next run has ended, and the abort before it has not: %v", err)
		again <- err
	case <-time.After(100 * time.Millisecond): // it waits
	}
	close(release)
	if err := <-again; err != nil {
		t.Errorf("the next run: %v", err)
	}
}
