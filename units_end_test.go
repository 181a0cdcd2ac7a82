package seastreamer_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/backend/memory"
	"github.com/seastreamer/seastreamer/driver/drivertest"
)

// A unit that waits for more messages ends when a shard has to go: it commits,
// and neither its time nor the RevokeTimeout is waited for.
func TestAUnitEndsWhenAShardLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, store := units(t, 2, 0, nil)
		cfg := seastreamer.TransactorConfig{Name: "job", Shared: true, CommitEvery: time.Hour,
			Input: seastreamer.ConsumerConfig{Streams: []string{"s"}, Group: "g", Start: seastreamer.Earliest, RevokeTimeout: time.Hour}}
		a := transactor(t, s, cfg)
		resumed := false
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for tx, err := range a.Units(t.Context()) {
				if err != nil {
					t.Error(err)
					return
				}
				resumed = resumed || tx.Resumed()
				relay(tx)
			}
		}()
		fill(t, s, 0, 1)
		synctest.Wait()
		began := time.Now()
		b := transactor(t, onStore(t, store, 0, nil), cfg)
		go func() {
			for tx := range b.Units(t.Context()) {
				relay(tx)
			}
		}()
		for len(output(t, s)) == 0 && time.Since(began) < 3*time.Hour {
			time.Sleep(time.Second)
		}
		if took := time.Since(began); took > time.Minute {
			t.Errorf("the unit ended %v after another member had come", took)
		}
		for _, tr := range []*seastreamer.Transactor{a, b} {
			if err := tr.Close(t.Context()); err != nil {
				t.Error(err)
			}
		}
		<-ended
		if resumed {
			t.Error("the unit was aborted")
		}
		equal(t, "the output", output(t, s), numbers(0, 1))
	})
}

// A bounded loop whose input is closed under it has not come to its end, and
// says so.
func TestUnitsWhoseInputIsClosed(t *testing.T) {
	to, store := units(t, 1, 10, nil)
	from := onStore(t, store, 0, nil)
	until, err := to.End(t.Context(), "s")
	if err != nil {
		t.Fatal(err)
	}
	tr := transactor(t, to, seastreamer.TransactorConfig{From: from, MaxMessages: 5, Input: seastreamer.ConsumerConfig{Until: until}})
	var last error
	for tx, err := range tr.Units(t.Context()) {
		if last = err; err == nil {
			relay(tx)
			if err := from.Close(t.Context()); err != nil {
				t.Error(err)
			}
		}
	}
	if !errors.Is(last, seastreamer.ErrClosed) {
		t.Errorf("the loop ended with %v, want an error that is ErrClosed", last)
	}
}

// Who is told that an ID is written may send it again at once.
func TestANamedProducersIDIsWrittenWhenItIsTold(t *testing.T) {
	s, _ := units(t, 1, 0, nil)
	p := namedProducer(t, s)
	again := make(chan error, 1)
	err := p.Enqueue(t.Context(), seastreamer.Record{ID: 7}, func(_ seastreamer.Receipt, err error) {
		equal(t, "the last ID", p.LastID(), 7)
		again <- p.Enqueue(t.Context(), seastreamer.Record{ID: 7}, nil)
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := <-again; err != nil {
		t.Errorf("sent again: %v", err)
	}
}

// Flush waits until it was told what became of each record, also of those that
// failed.
func TestFlushingANamedProducerThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tell, taken := make(chan struct{}), make(chan struct{})
		s, _ := units(t, 1, 0, drivertest.Nth(drivertest.OpUnit, 1, drivertest.Fault{Wait: taken, Err: &seastreamer.Error{Kind: seastreamer.ErrTooLarge}}))
		p := namedProducer(t, s)
		if err := p.Enqueue(t.Context(), seastreamer.Record{ID: 1}, func(seastreamer.Receipt, error) { <-tell }); err != nil {
			t.Fatal(err)
		}
		if err := p.Enqueue(t.Context(), seastreamer.Record{ID: 2}, nil); err != nil {
			t.Fatal(err)
		}
		close(taken) // it fails once both have been
		flushed := make(chan error, 1)
		synctest.Wait()
		go func() { flushed <- p.Flush(t.Context()) }()
		synctest.Wait()
		select {
		case err := <-flushed:
			t.Errorf("Flush returned %v before it was told", err)
		default:
		}
		close(tell)
		if err := <-flushed; !errors.Is(err, seastreamer.ErrTooLarge) {
			t.Errorf("Flush: %v, want the failure of the second record", err)
		}
	})
}

// Close does not wait for a loop body for ever. What it leaves behind then ends
// with the loop, also where that is left early.
func TestClosingUnitsWithoutTimeForTheBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to, store := units(t, 1, 1, nil)
		var revoked int
		from := seastreamer.New(store.Driver(memory.Options{}), seastreamer.Options{Observer: seastreamer.Observer{Revoked: func(s []seastreamer.Shard, _ bool) { revoked += len(s) }}})
		tr := transactor(t, to, seastreamer.TransactorConfig{From: from})
		for range tr.Units(t.Context()) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if err := tr.Close(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("Close: %v, want the context's cause", err)
			}
			break
		}
		synctest.Wait()
		equal(t, "shards that were given up when the loop had ended", revoked, 1)
		if err := from.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
