//go:build unix

package e2e

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/seastreamer/seastreamer/driver"
)

// A pairedKafka is an atomicKafka whose input is a stream of the same broker.
type pairedKafka struct {
	*atomicKafka
	in driver.Shard
}

func newPairedKafka(t *testing.T) *pairedKafka {
	t.Helper()
	a := newAtomicKafka(t)
	p := &pairedKafka{a, driver.Shard{Stream: a.job + ".in", Index: 1}}
	kafkaCreate(t, a.admin, p.in.Stream, 2)
	return p
}

func (p *pairedKafka) owner(d driver.Driver) driver.PairedOwner {
	p.t.Helper()
	o, err := d.(driver.Paired).Pair(p.within(), p.d, driver.OwnerConfig{Name: p.job})
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = o.Close(context.Background()) })
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

// pend leaves an offset of the group in a transaction that stays open.
func (p *pairedKafka) pend(id string, at int64) {
	p.t.Helper()
	cl := p.raw(id)
	p.must(cl.BeginTransaction())
	p.must(cl.ProduceSync(p.within(), &kgo.Record{Topic: p.out, Value: []byte("999")}).FirstErr())
	pid, epoch, err := cl.ProducerID(p.within())
	p.must(err)
	meta, err := p.admin.ListTopics(p.within(), p.in.Stream)
	p.must(err)
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.TransactionalID, req.Group, req.ProducerID, req.ProducerEpoch, req.Generation = id, p.job, pid, epoch, -1
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
		p.pend(p.job, 20)
		begun := time.Now()
		second := p.owner(p.driver(""))
		if at := p.claim(second, 0); at != 10 {
			t.Errorf("the successor is told %d, want 10", at)
		}
		if took := time.Since(begun); took > 4*time.Second {
			t.Errorf("the claim took %v: it should not wait for the transaction's time-out", took)
		}
		p.must(p.run(second, 10, 20))
		p.holds(20)
	})
	// An offset that is pending is no answer: neither is there no progress, nor
	// is it lost.
	t.Run("while an offset is pending", func(t *testing.T) {
		p := newPairedKafka(t)
		o := p.owner(p.d)
		p.claim(o, 3)
		p.must(o.Close(p.within()))
		p.lose()
		p.pend(p.job+".other", 20) // its time-out of 5 s aborts it, and then nothing is there
		_, err := p.owner(p.driver("")).Claim(p.within(), []driver.Position{{Shard: p.in}})
		p.want(err, driver.ErrLost)
		if p.uncommitted() {
			t.Error("the claim has not waited for the other transaction")
		}
	})
	t.Run("expired offsets", func(t *testing.T) {
		p := newPairedKafka(t)
		o := p.owner(p.d)
		p.claim(o, 0)
		p.must(p.run(o, 0, 10))
		p.must(o.Close(p.within()))
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
