//go:build unix

package e2e

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/e2e/apachekafka"
)

// A pairedKafka is an atomicKafka whose input is a stream of the same broker.
type pairedKafka struct {
	*atomicKafka
	in driver.Shard
}

func newPairedKafka(t *testing.T) *pairedKafka {
	t.Helper()
	return pairedKafkaOn(t, apachekafka.ForTest(t))
}

func pairedKafkaOn(t *testing.T, k *apachekafka.Cluster) *pairedKafka {
	t.Helper()
	a := atomicKafkaOn(t, k)
	p := &pairedKafka{a, driver.Shard{Stream: a.job + ".in", Index: 1}}
	kafkaCreate(t, a.admin, p.in.Stream, 2)
	// Positions lie within what there is.
	var recs []*kgo.Record
	for range 300 {
		recs = append(recs, &kgo.Record{Topic: p.in.Stream, Partition: p.in.Index, Value: []byte("in")})
	}
	p.must(p.raw("").ProduceSync(p.within(), recs...).FirstErr())
	return p
}

func (p *pairedKafka) owner(d driver.Driver) driver.PairedOwner {
	p.t.Helper()
	o, err := d.(driver.Paired).Pair(p.within(), p.d, driver.OwnerConfig{Name: p.job})
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = o.Close(context.Background()) })
	// What a Transactor reads there does not matter here, only that it does.
	c, err := o.Consumer(p.within(), driver.ConsumerConfig{Streams: []string{p.in.Stream}, Events: driver.Events{
		Assigned: func(context.Context, []driver.Position) (uint64, []driver.Position, error) { return 1, nil, nil },
		Revoked:  func(context.Context, []driver.Shard, bool) {},
	}})
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = c.Close(context.Background()) })
	return o
}

func (p *pairedKafka) claim(o driver.Owner, start uint64) uint64 {
	p.t.Helper()
	at, err := o.Claim(p.within(), []driver.Position{{Shard: p.in, Next: driver.SeqOf(start)}})
	p.must(err)
	return at[0].Next.Lo
}

func (p *pairedKafka) moves(from, to uint64) []driver.Move {
	return []driver.Move{{Shard: p.in, From: driver.SeqOf(from), To: driver.SeqOf(to)}}
}

func (p *pairedKafka) run(o driver.Owner, from, to uint64) error {
	return p.unit(o, from, to).Commit(p.within(), p.moves(from, to))
}

// seen waits until tools see the group there: the end of a transaction is
// marked a moment after its commit.
func (p *pairedKafka) seen(at int64) {
	p.t.Helper()
	p.await(func() bool {
		got, err := p.admin.FetchOffsets(p.within(), p.job)
		p.must(err)
		o, ok := got.Lookup(p.in.Stream, p.in.Index)
		return ok && o.At == at
	})
}

// pend leaves an offset of the group in a transaction that stays open until it
// times out.
func (p *pairedKafka) pend(id, group string, at int64, timeout time.Duration) {
	p.t.Helper()
	cl := p.raw("", kgo.TransactionalID(id), kgo.TransactionTimeout(timeout))
	p.must(cl.BeginTransaction())
	p.must(cl.ProduceSync(p.within(), &kgo.Record{Topic: p.out, Value: []byte("999")}).FirstErr())
	pid, epoch, err := cl.ProducerID(p.within())
	p.must(err)
	meta, err := p.admin.ListTopics(p.within(), p.in.Stream)
	p.must(err)
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.TransactionalID, req.Group, req.ProducerID, req.ProducerEpoch, req.Generation = id, group, pid, epoch, -1
	rt := kmsg.NewTxnOffsetCommitRequestTopic()
	rt.Topic, rt.TopicID = p.in.Stream, meta[p.in.Stream].ID
	rp := kmsg.NewTxnOffsetCommitRequestTopicPartition()
	rp.Partition, rp.Offset = p.in.Index, at
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	resp, err := req.RequestWith(p.within(), cl)
	p.must(err)
	p.must(kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode))
}

func TestKafkaPair(t *testing.T) {
	t.Run("together", func(t *testing.T) {
		p := newPairedKafka(t)
		o := p.owner(p.d)
		if at := p.claim(o, 5); at != 5 {
			t.Fatalf("a new name stands at %d, want its start, 5", at)
		}
		p.seen(5)
		if at := p.claim(p.owner(p.driver("")), 7); at != 5 {
			t.Errorf("another start gives %d, want the first, 5", at)
		}
		o = p.owner(p.driver(""))
		p.claim(o, 0)
		p.must(p.unit(o, 0, 10).Commit(p.within(), p.moves(5, 10)))
		for from := uint64(10); from < 100; from += 10 {
			p.must(p.run(o, from, from+10))
		}
		p.must(p.unit(o, 100, 200).Abort(p.within()))
		p.holds(100)
		p.must(p.unit(o, 0, 0).Commit(p.within(), p.moves(100, 200)))
		if at := p.claim(p.owner(p.driver("")), 0); at != 200 {
			t.Errorf("after a unit without outputs a new owner is told %d, want 200", at)
		}
		p.seen(200)
		p.holds(100)
	})
	t.Run("fenced", func(t *testing.T) {
		p := newPairedKafka(t)
		first := p.owner(p.d)
		p.claim(first, 0)
		p.must(p.run(first, 0, 10))
		paused := p.unit(first, 100, 110)
		second := p.owner(p.driver(""))
		if at := p.claim(second, 0); at != 10 {
			t.Fatalf("the second owner is told %d, want 10", at)
		}
		p.must(p.run(second, 10, 20))
		p.want(paused.Commit(p.within(), p.moves(10, 20)), driver.ErrFenced)
		p.holds(20)
		p.seen(20)
	})
	t.Run("after a death in its commit", func(t *testing.T) {
		p := newPairedKafka(t)
		o := p.owner(p.d)
		p.claim(o, 0)
		p.must(p.run(o, 0, 10))
		p.must(o.Close(p.within()))
		p.pend(p.job, p.job, 20, 10*time.Minute)
		second := p.owner(p.driver(""))
		if at := p.claim(second, 0); at != 10 { // long before the transaction's time-out
			t.Errorf("the successor is told %d, want 10", at)
		}
		p.must(p.run(second, 10, 20))
		p.holds(20)
	})
	t.Run("expired offsets", func(t *testing.T) {
		p := newPairedKafka(t)
		o := p.owner(p.d)
		p.claim(o, 0)
		p.must(p.run(o, 0, 10))
		p.must(o.Close(p.within()))
		p.seen(10) // else the group would come again with the mark of the unit's end
		p.must(p.deleteGroup())
		o = p.owner(p.driver(""))
		if at := p.claim(o, 0); at != 10 {
			t.Errorf("without the group's offsets it stands at %d, want 10", at)
		}
		p.must(p.run(o, 10, 20))
		p.seen(20)
	})
	t.Run("lost positions", func(t *testing.T) {
		p := newPairedKafka(t)
		o := p.owner(p.d)
		p.claim(o, 0)
		p.must(p.run(o, 0, 10))
		p.must(o.Close(p.within()))
		p.seen(10)
		p.lose()
		for range 2 { // it changes nothing
			_, err := p.owner(p.driver("")).Claim(p.within(), []driver.Position{{Shard: p.in}})
			p.want(err, driver.ErrLost)
		}
		p.put(fmt.Sprintf("%s/has/%s/%d", p.job, p.in.Stream, p.in.Index), nil)
		if at := p.claim(p.owner(p.driver("")), 1); at != 1 {
			t.Errorf("after both are gone it stands at %d, want the start, 1", at)
		}
	})
	// The name had the group before, then something else, and comes back: the
	// group's offsets are old.
	t.Run("old offsets", func(t *testing.T) {
		p := newPairedKafka(t)
		o := p.owner(p.d)
		p.claim(o, 0)
		p.must(p.run(o, 0, 10))
		p.must(o.Close(p.within()))
		alone, err := p.driver("").(driver.Atomic).Owner(p.within(), driver.OwnerConfig{Name: p.job})
		p.must(err)
		p.claim(alone, 0)
		p.must(p.run(alone, 10, 20))
		p.must(alone.Close(p.within()))
		if at := p.claim(p.owner(p.driver("")), 0); at != 20 {
			t.Errorf("it stands at %d, want 20", at)
		}
	})
	t.Run("another cluster", func(t *testing.T) {
		p := newPairedKafka(t)
		if _, err := p.d.(driver.Paired).Pair(p.within(), nil, driver.OwnerConfig{Name: p.job}); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("error %v, want ErrUnsupported", err)
		}
	})
}

// lose removes the position, and leaves the shard listed.
func (p *pairedKafka) lose() {
	p.t.Helper()
	p.must(p.deleteGroup())
	p.put(fmt.Sprintf("%s/at/%s/%d", p.job, p.in.Stream, p.in.Index), nil)
}

func (p *pairedKafka) deleteGroup() error {
	got, err := p.admin.DeleteGroups(p.within(), p.job)
	if err == nil {
		err = got.Error()
	}
	return err
}

// A sharer is one of several owners.
type sharer struct {
	p      *pairedKafka
	o      driver.PairedOwner
	c      driver.Consumer
	mu     sync.Mutex
	at     map[driver.Shard]driver.Seq
	keeps  chan struct{} // Revoked waits until it is closed, where it is not nil
	failed error
}

func (p *pairedKafka) sharer(keeps chan struct{}) *sharer {
	p.t.Helper()
	d := p.driver("?session_timeout=6s")
	o, err := d.(driver.Paired).Pair(p.within(), d, driver.OwnerConfig{Name: p.job, Shared: true})
	p.must(err)
	s := &sharer{p: p, o: o, at: map[driver.Shard]driver.Seq{}, keeps: keeps}
	s.c, err = o.Consumer(p.within(), driver.ConsumerConfig{Streams: []string{p.in.Stream}, Group: p.job + ".group", Start: driver.Earliest, Events: driver.Events{
		Assigned: func(ctx context.Context, at []driver.Position) (uint64, []driver.Position, error) {
			got, err := o.Claim(ctx, at)
			s.mu.Lock()
			defer s.mu.Unlock()
			for _, g := range got {
				s.at[g.Shard] = g.Next
			}
			s.failed = err
			return 1, got, err
		},
		Revoked: func(ctx context.Context, shards []driver.Shard, _ bool) {
			if keeps != nil {
				<-keeps
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			for _, sh := range shards {
				delete(s.at, sh)
			}
			_ = o.Release(ctx, shards)
		},
	}})
	p.must(err)
	p.t.Cleanup(func() { _ = s.c.Close(context.Background()); _ = o.Close(context.Background()) })
	return s
}

// has reports whether it has claimed so many shards, and keeps the group going.
func (s *sharer) has(n int) func() bool {
	return func() bool {
		within, cancel := context.WithTimeout(s.p.t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err := s.c.Fetch(within, nil)
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			s.p.t.Fatal(err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.p.must(s.failed)
		return len(s.at) == n
	}
}

func (s *sharer) position() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at[s.p.in].Lo
}

func TestKafkaShared(t *testing.T) {
	t.Run("one and then two", func(t *testing.T) {
		p := newPairedKafka(t)
		a := p.sharer(nil)
		p.await(a.has(2))
		p.must(p.run(a.o, 0, 10))
		b := p.sharer(nil)
		p.await(func() bool { return a.has(1)() && b.has(1)() })
		first, second := a, b
		if _, ok := a.at[p.in]; !ok {
			first, second = b, a
		}
		if at := first.position(); first == b && at != 10 {
			t.Errorf("the second owner is told %d, want 10", at)
		}
		p.must(p.run(first.o, 10, 20))
		p.want(p.run(second.o, 20, 30), driver.ErrFenced) // it has not claimed it
		p.must(first.c.Close(p.within()))
		p.must(first.o.Close(p.within()))
		p.await(second.has(2))
		if at := second.position(); at != 20 {
			t.Errorf("the one that is left is told %d, want 20", at)
		}
		p.must(p.run(second.o, 20, 30))
		p.holds(30)
	})
	// The group has given the shard to another, and the one that had it does
	// not know.
	t.Run("a generation that is over", func(t *testing.T) {
		p := newPairedKafka(t)
		keeps := make(chan struct{})
		a := p.sharer(keeps)
		t.Cleanup(func() { close(keeps) }) // before a is closed
		p.await(a.has(2))
		p.must(p.run(a.o, 0, 10))
		tx := p.unit(a.o, 100, 110)
		group, err := p.admin.DescribeGroups(p.within(), p.job+".group")
		p.must(err)
		req := kmsg.NewPtrLeaveGroupRequest()
		req.Group = p.job + ".group"
		for _, m := range group[req.Group].Members {
			lm := kmsg.NewLeaveGroupRequestMember()
			lm.MemberID = m.MemberID
			req.Members = append(req.Members, lm)
		}
		resp, err := req.RequestWith(p.within(), p.raw(""))
		p.must(err)
		p.must(kerr.ErrorForCode(resp.ErrorCode))
		b := p.sharer(nil)
		p.await(b.has(2))
		if at := b.position(); at != 10 {
			t.Errorf("the second owner is told %d, want 10", at)
		}
		p.must(p.run(b.o, 10, 20))
		err = tx.Commit(p.within(), p.moves(10, 20))
		if !errors.Is(err, driver.ErrAborted) && !errors.Is(err, driver.ErrFenced) {
			t.Errorf("the first owner's commit: %v, want ErrAborted or ErrFenced", err)
		}
		t.Log("says:", err)
		p.holds(20)
	})
	// A member died between its offsets and the end of its transaction: nobody
	// knows its id, and it ends with its time-out.
	t.Run("after a death in its commit", func(t *testing.T) {
		p := newPairedKafka(t)
		a := p.sharer(nil)
		p.await(a.has(2))
		p.must(p.run(a.o, 0, 10))
		p.must(a.c.Close(p.within()))
		p.must(a.o.Close(p.within()))
		p.pend(p.job+".other", p.job+".group", 20, 5*time.Second)
		b := p.sharer(nil)
		p.await(b.has(2))
		if d, err := p.admin.DescribeTransactions(p.within(), p.job+".other"); err != nil || d[p.job+".other"].Err != nil || d[p.job+".other"].State == "Ongoing" {
			t.Errorf("the claim has not waited for the other transaction: %+v, %v", d, err)
		}
		if at := b.position(); at != 10 {
			t.Errorf("the second owner is told %d, want 10", at)
		}
	})
	t.Run("an owner that was alone", func(t *testing.T) {
		p := newPairedKafka(t)
		alone := p.owner(p.d)
		p.claim(alone, 0)
		p.must(p.run(alone, 0, 10))
		a := p.sharer(nil)
		p.await(a.has(2))
		if at := a.position(); at != 10 {
			t.Errorf("the shared owner is told %d, want 10", at)
		}
		p.want(p.run(alone, 10, 20), driver.ErrFenced)
		p.holds(10)
	})
}

// TestKafkaOldTransactions runs units on an Apache Kafka whose transactions do
// not have an epoch each, as before Kafka 4.0.
func TestKafkaOldTransactions(t *testing.T) {
	k, err := apachekafka.Start(t.Context(), apachekafka.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Stop)
	for _, version := range []int16{1, 0} {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			p := pairedKafkaOn(t, k)
			req := kmsg.NewPtrUpdateFeaturesRequest()
			f := kmsg.NewUpdateFeaturesRequestFeatureUpdate()
			f.Feature, f.MaxVersionLevel, f.UpgradeType, f.AllowDowngrade = "transaction.version", version, 2, true
			req.FeatureUpdates, req.TimeoutMillis = append(req.FeatureUpdates, f), 5000
			resp, err := req.RequestWith(p.within(), p.raw(""))
			p.must(err)
			p.must(kerr.ErrorForCode(resp.ErrorCode))
			p.await(func() bool {
				a := kmsg.NewPtrApiVersionsRequest()
				a.ClientSoftwareName, a.ClientSoftwareVersion = "test", "1"
				got, err := a.RequestWith(p.within(), p.raw(""))
				p.must(err)
				for _, f := range got.FinalizedFeatures {
					if f.Name == "transaction.version" {
						return f.MaxVersionLevel == version
					}
				}
				return version == 0
			})
			first := p.owner(p.driver("")) // not p.d, which has looked before
			p.claim(first, 0)
			for from := uint64(0); from < 50; from += 10 {
				p.must(p.run(first, from, from+10))
			}
			p.must(p.unit(first, 50, 60).Abort(p.within()))
			p.must(p.unit(first, 0, 0).Commit(p.within(), p.moves(50, 60)))
			p.seen(60)
			paused := p.unit(first, 100, 110)
			second := p.owner(p.driver(""))
			if at := p.claim(second, 0); at != 60 {
				t.Errorf("the second owner is told %d, want 60", at)
			}
			p.must(p.unit(second, 50, 60).Commit(p.within(), p.moves(60, 70)))
			p.want(paused.Commit(p.within(), p.moves(60, 70)), driver.ErrFenced)
			p.holds(60)
			p.seen(70)
		})
	}
}
