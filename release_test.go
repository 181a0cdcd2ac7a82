package seastreamer_test

import (
	"bytes"
	"context"
	"testing"

	"github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/backend/file"
	"github.com/seastreamer/seastreamer/driver/drivertest"
)

// onFile opens a streamer on files, whose batches are used again once they are
// released, with the values given in stream s.
func onFile(t *testing.T, values ...string) *seastreamer.Streamer {
	t.Helper()
	s, err := file.Open(t.Context(), "file://"+t.TempDir(), file.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	p, err := s.Producer(t.Context(), seastreamer.ProducerConfig{Stream: "s"})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range values {
		if _, err := p.Send(t.Context(), seastreamer.Record{Value: []byte(v)}); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// A message that comes again is a batch of its own, and is there until that is
// released, also when the batch that it was first in has been, and nothing of
// it is open any more.
func TestAMessageThatCameAgainIsThereUntilItIsReleased(t *testing.T) {
	for name, settle := range map[string]func(*seastreamer.Consumer, seastreamer.Message) error{
		"done": func(_ *seastreamer.Consumer, m seastreamer.Message) error { m.Ack(); return nil },
		"sought": func(c *seastreamer.Consumer, _ seastreamer.Message) error {
			return c.Seek(t.Context(), seastreamer.Latest)
		},
		"closed": func(c *seastreamer.Consumer, _ seastreamer.Message) error { return c.Close(t.Context()) },
	} {
		t.Run(name, func(t *testing.T) {
			s := onFile(t, "a")
			c := consumer(t, s, seastreamer.ConsumerConfig{Ack: seastreamer.AckExplicit})
			for b, err := range c.Batches(t.Context()) {
				if err != nil {
					t.Fatal(err)
				}
				m := b.At(0)
				if m.Attempt() == 1 {
					m.Nack(0)
					b.Release()
					continue
				}
				if err := settle(c, m); err != nil {
					t.Fatal(err)
				}
				equal(t, "the value", string(m.Value()), "a")
				b.Release()
				break
			}
		})
	}
}

// Where a unit is aborted its messages come again, also those of a batch that
// the body has released.
func TestWhatWasReleasedInAUnitComesAgain(t *testing.T) {
	from := onFile(t, "a", "b", "c")
	to, _ := units(t, 1, 0, drivertest.Nth(drivertest.OpUnit, 1, drivertest.Fault{Err: &seastreamer.Error{Kind: seastreamer.ErrAborted}}))
	until, err := from.End(t.Context(), "s")
	if err != nil {
		t.Fatal(err)
	}
	for tx, err := range transactor(t, to, seastreamer.TransactorConfig{From: from, Input: seastreamer.ConsumerConfig{Until: until}}).Units(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		for b := range tx.Batches() {
			for m := range b.Messages() {
				if err := tx.Send(seastreamer.Record{Stream: "out", Value: bytes.Clone(m.Value())}); err != nil {
					t.Fatal(err)
				}
			}
			b.Release()
		}
	}
	equal(t, "the output", output(t, to), []string{"a", "b", "c"})
}
