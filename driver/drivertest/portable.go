package drivertest

import (
	"bytes"
	"context"

	"github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/driver"
)

// Streamer is the portable client that the portable cases use.
func (t *T) Streamer() *seastreamer.Streamer {
	t.Helper()
	if t.streamer == nil {
		t.streamer = t.StreamerOn(t.H.Open(t.TB), seastreamer.Observer{})
	}
	return t.streamer
}

// StreamerOn is a portable client on a driver, which it closes.
func (t *T) StreamerOn(d driver.Driver, o seastreamer.Observer) *seastreamer.Streamer {
	s := seastreamer.New(d, seastreamer.Options{Observer: o})
	t.closeAtEnd("streamer", s.Close)
	return s
}

// From is a configuration that reads streams from their start.
func From(streams ...string) seastreamer.ConsumerConfig {
	return seastreamer.ConsumerConfig{Streams: streams, Start: seastreamer.Earliest}
}

// Member is a configuration that reads streams with a group, from their start
// where it has no progress, and commits only when it is told to, or closed.
func Member(group string, streams ...string) seastreamer.ConsumerConfig {
	return seastreamer.ConsumerConfig{Streams: streams, Group: group, Start: seastreamer.Earliest, CommitEvery: -1}
}

// Consumer opens a portable consumer.
func (t *T) Consumer(c seastreamer.ConsumerConfig) *seastreamer.Consumer {
	t.Helper()
	return t.ConsumerOn(t.Streamer(), c)
}

// ConsumerOn opens a consumer on s. Its streams exist.
func (t *T) ConsumerOn(s *seastreamer.Streamer, c seastreamer.ConsumerConfig) *seastreamer.Consumer {
	t.Helper()
	var n *seastreamer.Consumer
	var err error
	t.Eventually("the streams are found", func() bool {
		n, err = s.Consumer(t.Ctx(), c)
		return !isNotFound(err)
	})
	if err != nil {
		t.Fatalf("Consumer(%+v): %v", c, err)
	}
	return n
}

// Close closes a part of a portable client.
func (t *T) Close(what string, p interface{ Close(context.Context) error }) {
	t.Helper()
	if err := p.Close(t.Ctx()); err != nil {
		t.Errorf("close the %s: %v", what, err)
	}
}

// Loop ranges over the consumer's messages until body returns false, or the
// loop ends, and returns the error that it yields.
func (t *T) Loop(c *seastreamer.Consumer, body func(m seastreamer.Message) bool) error {
	t.Helper()
	for m, err := range c.Messages(t.Ctx()) {
		if err != nil {
			return err
		}
		if !body(m) {
			return nil
		}
	}
	return nil
}

// Take ranges until the n-th message and leaves the loop with it in hand: with
// AckOnAdvance it is not acknowledged.
func (t *T) Take(c *seastreamer.Consumer, n int) []seastreamer.Message {
	t.Helper()
	var got []seastreamer.Message
	err := t.Loop(c, func(m seastreamer.Message) bool {
		got = append(got, m)
		return len(got) < n
	})
	if err != nil || len(got) < n {
		t.Fatalf("the loop ended after %d messages %q of %d: %v", len(got), texts(got), n, err)
	}
	return got
}

// Gets takes as many messages as there are values and compares.
func (t *T) Gets(c *seastreamer.Consumer, want ...string) []seastreamer.Message {
	t.Helper()
	got := t.Take(c, len(want))
	t.Same("messages", texts(got), want)
	return got
}

// Rest ranges until the loop ends by itself.
func (t *T) Rest(c *seastreamer.Consumer) []string {
	t.Helper()
	var got []string
	if err := t.Loop(c, func(m seastreamer.Message) bool {
		got = append(got, string(m.Value()))
		return true
	}); err != nil {
		t.Fatalf("the loop ended after %q: %v", short(got), err)
	}
	return got
}

// Commit commits and returns the checkpoint.
func (t *T) Commit(c *seastreamer.Consumer) seastreamer.Checkpoint {
	t.Helper()
	at, err := c.Commit(t.Ctx())
	if err != nil {
		t.Fatalf("Commit: %v", err)
	}
	return at
}

// Same fails unless the lists are equal.
func (t *T) Same(what string, got, want []string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: got %q, want %q", what, short(got), short(want))
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("%s: got %q, want %q", what, short(got), short(want))
		}
	}
}

func texts(msgs []seastreamer.Message) []string {
	v := make([]string, len(msgs))
	for i, m := range msgs {
		v[i] = string(bytes.Clone(m.Value()))
	}
	return v
}
