package seastreamer_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/driver/drivertest"
)

func namedProducer(t *testing.T, s *seastreamer.Streamer) *seastreamer.Producer {
	t.Helper()
	p, err := s.Producer(t.Context(), seastreamer.ProducerConfig{Stream: "out", Name: "sender", Durability: seastreamer.ExactlyOnce})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// number sends numbers [from, to), each with itself plus one as its ID.
func number(t *testing.T, p *seastreamer.Producer, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		err := p.Enqueue(t.Context(), seastreamer.Record{ID: uint64(i + 1), Value: fmt.Append(nil, i)}, nil)
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// What was written before is not written again, also by the next producer.
func TestANamedProducerWritesEachIDOnce(t *testing.T) {
	s, _ := units(t, 1, 0, nil)
	p := namedProducer(t, s)
	number(t, p, 0, 100)
	number(t, p, 50, 150)
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	p = namedProducer(t, s)
	equal(t, "the last ID", p.LastID(), 150)
	number(t, p, 0, 200)
	equal(t, "the output", output(t, s), numbers(0, 200))
}

// No outcome is unknown to a named producer, and none is doubled.
func TestANamedProducerUnderFaults(t *testing.T) {
	unknown := &seastreamer.Error{Kind: seastreamer.ErrUnknown}
	down := &seastreamer.Error{Kind: seastreamer.ErrUnavailable}
	for name, plan := range map[string]drivertest.Plan{
		"aborted":            drivertest.Nth(drivertest.OpUnit, 2, drivertest.Fault{Err: &seastreamer.Error{Kind: seastreamer.ErrAborted}}),
		"unknown, not there": drivertest.First(drivertest.OpUnit, 3, drivertest.Fault{Err: unknown}),
		"unknown, there":     drivertest.First(drivertest.OpUnit, 3, drivertest.Fault{Err: unknown, Late: true}),
		"claim":              both(drivertest.Nth(drivertest.OpUnit, 2, drivertest.Fault{Err: unknown, Late: true}), drivertest.Nth(drivertest.OpClaim, 2, drivertest.Fault{Err: down})),
		"send":               drivertest.Nth(drivertest.OpSend, 3, drivertest.Fault{Err: down}),
		"begin":              drivertest.Nth(drivertest.OpBegin, 2, drivertest.Fault{Err: down}),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, _ := units(t, 1, 0, plan)
				p := namedProducer(t, s)
				for i := range 10 {
					number(t, p, 10*i, 10*i+10)
				}
				equal(t, "the last ID", p.LastID(), 100)
				equal(t, "the output", output(t, s), numbers(0, 100))
			})
		})
	}
}

func TestTheNewestNamedProducerHasTheName(t *testing.T) {
	s, store := units(t, 1, 0, nil)
	p := namedProducer(t, s)
	number(t, p, 0, 10)
	other := namedProducer(t, onStore(t, store, 0, nil))
	number(t, other, 0, 20)
	for i := range 2 { // the first time the backend says it, then the producer
		if _, err := p.Send(t.Context(), seastreamer.Record{ID: 99, Value: []byte("from the old")}); !errors.Is(err, seastreamer.ErrFenced) {
			t.Errorf("send %d of the old producer: %v, want one that is ErrFenced", i, err)
		}
	}
	equal(t, "the output", output(t, s), numbers(0, 20))
}

// One that opens anew does not take the name back either, and does not say
// that what it was sending is not there.
func TestANamedProducerThatWasTakenOverDoesNotComeBack(t *testing.T) {
	for name, late := range map[string]bool{"not there": false, "there": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				taken := make(chan struct{})
				s, store := units(t, 1, 0, both(
					drivertest.Nth(drivertest.OpUnit, 1, drivertest.Fault{Err: &seastreamer.Error{Kind: seastreamer.ErrUnknown}, Late: late}),
					drivertest.Nth(drivertest.OpClaim, 2, drivertest.Fault{Wait: taken})))
				p := namedProducer(t, s)
				sent := make(chan error)
				go func() {
					_, err := p.Send(t.Context(), seastreamer.Record{ID: 1, Value: []byte("0")})
					sent <- err
				}()
				synctest.Wait()
				other := namedProducer(t, onStore(t, store, 0, nil))
				close(taken)
				if err := <-sent; !errors.Is(err, seastreamer.ErrUnknown) {
					t.Errorf("what was under way: %v, want ErrUnknown", err)
				}
				if _, err := p.Send(t.Context(), seastreamer.Record{ID: 2, Value: []byte("1")}); !errors.Is(err, seastreamer.ErrFenced) || errors.Is(err, seastreamer.ErrUnknown) {
					t.Errorf("what comes after it: %v, want ErrFenced", err)
				}
				number(t, other, 0, 5)
				equal(t, "the output", output(t, s), numbers(0, 5))
			})
		})
	}
}

func TestNamedProducersThatAreRefused(t *testing.T) {
	s, _ := units(t, 1, 0, nil)
	for _, c := range []seastreamer.ProducerConfig{{Name: "a"}, {Name: "a/b", Durability: seastreamer.ExactlyOnce}} {
		if _, err := s.Producer(t.Context(), c); !errors.Is(err, seastreamer.ErrInvalid) {
			t.Errorf("%+v: %v, want one that is ErrInvalid", c, err)
		}
	}
	plain, err := s.Producer(t.Context(), seastreamer.ProducerConfig{Stream: "out"})
	if err != nil {
		t.Fatal(err)
	}
	p := namedProducer(t, s)
	for what, err := range map[string]error{
		"an ID without a name": send(t, plain, seastreamer.Record{ID: 1}),
		"a name without an ID": send(t, p, seastreamer.Record{}),
	} {
		if !errors.Is(err, seastreamer.ErrInvalid) {
			t.Errorf("%s: %v, want one that is ErrInvalid", what, err)
		}
	}
	if err := send(t, p, seastreamer.Record{ID: 1, Value: make([]byte, 2<<20)}); !errors.Is(err, seastreamer.ErrTooLarge) {
		t.Errorf("a record that is too large: %v", err)
	}
	if err := send(t, p, seastreamer.Record{ID: 2}); err == nil {
		t.Error("the producer went on behind a record that it could not write")
	}
	equal(t, "the output", len(output(t, s)), 0)
}

func send(t *testing.T, p *seastreamer.Producer, r seastreamer.Record) error {
	_, err := p.Send(t.Context(), r)
	return err
}

// A producer that is closed while a unit is stuck does not know its outcome;
// the next one of its name does.
func TestClosingANamedProducer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := make(chan struct{})
		s, store := units(t, 1, 0, drivertest.Nth(drivertest.OpUnit, 1, drivertest.Fault{Wait: stuck}))
		p := namedProducer(t, s)
		outcome := make(chan error, 2)
		for id := range uint64(2) {
			if err := p.Enqueue(t.Context(), seastreamer.Record{ID: id + 1}, func(_ seastreamer.Receipt, err error) { outcome <- err }); err != nil {
				t.Fatal(err)
			}
			synctest.Wait() // the first is under way
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := p.Close(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Close: %v", err)
		}
		if err := <-outcome; !errors.Is(err, seastreamer.ErrUnknown) {
			t.Errorf("the record under way: %v, want one that is ErrUnknown", err)
		}
		if err := <-outcome; !errors.Is(err, seastreamer.ErrClosed) {
			t.Errorf("the record behind it: %v, want one that is ErrClosed", err)
		}
		equal(t, "the last ID", namedProducer(t, onStore(t, store, 0, nil)).LastID(), 0)
	})
}
