package seastreamer_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/backend/memory"
	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/driver/drivertest"
)

// open opens a streamer on a store of its own and fills stream s with values
// 0 … n-1.
func open(t testing.TB, n int) *seastreamer.Streamer {
	t.Helper()
	u, err := driver.ParseBroker("memory://")
	if err != nil {
		t.Fatal(err)
	}
	d, err := memory.Opener{}.Open(t.Context(), u)
	if err != nil {
		t.Fatal(err)
	}
	s := seastreamer.New(d, seastreamer.Options{})
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	fill(t, s, 0, n)
	return s
}

func fill(t testing.TB, s *seastreamer.Streamer, from, to int) {
	t.Helper()
	p, err := s.Producer(t.Context(), seastreamer.ProducerConfig{Stream: "s"})
	if err != nil {
		t.Fatal(err)
	}
	for i := from; i < to; i++ {
		if err := p.Enqueue(t.Context(), seastreamer.Record{Value: fmt.Append(nil, i)}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func consumer(t testing.TB, s *seastreamer.Streamer, c seastreamer.ConsumerConfig) *seastreamer.Consumer {
	t.Helper()
	c.Streams = []string{"s"}
	if c.Start == seastreamer.Latest {
		c.Start = seastreamer.Earliest
	}
	n, err := s.Consumer(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// read ranges over c until it has n messages, and returns their values.
func read(t testing.TB, c *seastreamer.Consumer, n int) []string {
	t.Helper()
	var got []string
	for m, err := range c.Messages(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, string(m.Value())); len(got) == n {
			break
		}
	}
	return got
}

func TestUntilEndsTheLoop(t *testing.T) {
	s := open(t, 2500)
	end, err := s.End(t.Context(), "s")
	if err != nil {
		t.Fatal(err)
	}
	fill(t, s, 2500, 2600)
	c := consumer(t, s, seastreamer.ConsumerConfig{Until: end})
	for range 2 { // the second range is over at once
		want := 0
		for m, err := range c.Messages(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if got := string(m.Value()); got != strconv.Itoa(want) {
				t.Fatalf("message %d is %s", want, got)
			}
			want++
		}
		if want != 2500 && want != 0 {
			t.Fatalf("%d messages before the end, want 2500", want)
		}
	}
}

func TestLeavingTheLoopDoesNotAck(t *testing.T) {
	s := open(t, 10)
	c := consumer(t, s, seastreamer.ConsumerConfig{Group: "g", CommitEvery: -1})
	if got := read(t, c, 3); got[2] != "2" {
		t.Fatalf("got %v", got)
	}
	cp, err := c.Commit(t.Context())
	if want := seastreamer.SeqOf(2); err != nil || cp[seastreamer.Shard{Stream: "s"}] != want {
		t.Errorf("after a break at the third message Commit = %v, %v, want %v", cp, err, want)
	}
	if got := read(t, c, 1); got[0] != "2" {
		t.Errorf("the next range begins with %v, want 2", got)
	}
	for b, err := range c.Batches(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if b.Len() != 8 || string(b.At(0).Value()) != "2" {
			t.Errorf("the batch after it has %d messages from %s, want 8 from 2", b.Len(), b.At(0).Value())
		}
		break
	}
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := read(t, consumer(t, s, seastreamer.ConsumerConfig{Group: "g"}), 1); got[0] != "2" {
		t.Errorf("the next member begins with %v, want 2", got)
	}
}

func TestAckBeforeBreakKeepsIt(t *testing.T) {
	s := open(t, 5)
	c := consumer(t, s, seastreamer.ConsumerConfig{Group: "g"})
	for m, err := range c.Messages(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		m.Ack()
		break
	}
	cp, err := c.Commit(t.Context())
	if err != nil || cp[seastreamer.Shard{Stream: "s"}] != seastreamer.SeqOf(1) {
		t.Errorf("Commit = %v, %v", cp, err)
	}
}

func TestExplicitAcksInAnyOrder(t *testing.T) {
	s := open(t, 2500)
	c := consumer(t, s, seastreamer.ConsumerConfig{Ack: seastreamer.AckExplicit})
	var ms []seastreamer.Message
	for m, err := range c.Messages(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if ms = append(ms, m); len(ms) == 2500 {
			break
		}
	}
	at := func() uint64 {
		cp, err := c.Commit(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return cp[seastreamer.Shard{Stream: "s"}].Lo
	}
	for i := 2499; i > 0; i-- {
		ms[i].Ack()
		ms[i].Ack()
	}
	if got := at(); got != 0 {
		t.Errorf("with the first message open the position is %d, want 0", got)
	}
	ms[0].Ack()
	if got := at(); got != 2500 {
		t.Errorf("with everything done the position is %d, want 2500", got)
	}
}

func TestNackComesBack(t *testing.T) {
	for _, mode := range []seastreamer.AckMode{seastreamer.AckOnAdvance, seastreamer.AckExplicit} {
		synctest.Test(t, func(t *testing.T) {
			s := open(t, 5)
			end, err := s.End(t.Context(), "s")
			if err != nil {
				t.Fatal(err)
			}
			c := consumer(t, s, seastreamer.ConsumerConfig{Ack: mode, Until: end})
			began := time.Now()
			var got []string
			for m, err := range c.Messages(t.Context()) {
				if err != nil {
					t.Fatal(err)
				}
				v := string(m.Value())
				got = append(got, fmt.Sprintf("%s/%d", v, m.Attempt()))
				switch {
				case v == "1" && m.Attempt() < 3:
					m.Nack(time.Minute)
				default:
					if mode == seastreamer.AckExplicit {
						m.Ack()
						m.Nack(time.Second) // after done it does nothing
					}
				}
				if v == "4" {
					cp, _ := c.Commit(t.Context())
					if cp[m.Shard()] != seastreamer.SeqOf(1) {
						t.Errorf("a nacked message does not hold the position: %v", cp)
					}
				}
			}
			if want := "[0/1 1/1 2/1 3/1 4/1 1/2 1/3]"; fmt.Sprint(got) != want {
				t.Errorf("mode %d: delivered %v, want %s", mode, got, want)
			}
			if took := time.Since(began); took != 2*time.Minute {
				t.Errorf("mode %d: it took %v, want two minutes", mode, took)
			}
			if cp, _ := c.Commit(t.Context()); cp[seastreamer.Shard{Stream: "s"}] != end[seastreamer.Shard{Stream: "s"}] {
				t.Errorf("mode %d: at the end the position is %v, want %v", mode, cp, end)
			}
		})
	}
}

func TestAckOnDeliveryCommitsFirst(t *testing.T) {
	s := open(t, 10)
	c := consumer(t, s, seastreamer.ConsumerConfig{Group: "g", Ack: seastreamer.AckOnDelivery})
	if got := read(t, c, 2); got[1] != "1" {
		t.Fatalf("got %v", got)
	}
	if got := read(t, c, 1); got[0] != "2" {
		t.Errorf("the next range begins with %v, want 2", got)
	}
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	fill(t, s, 10, 11)
	if got := read(t, consumer(t, s, seastreamer.ConsumerConfig{Group: "g"}), 1); got[0] != "10" {
		t.Errorf("the next member begins with %v: a batch was delivered before it was committed", got)
	}
}

func TestSeekInsideTheLoop(t *testing.T) {
	s := open(t, 100)
	c := consumer(t, s, seastreamer.ConsumerConfig{})
	var got []string
	for m, err := range c.Messages(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(m.Value()))
		if len(got) == 3 {
			if err := c.Seek(t.Context(), seastreamer.From(seastreamer.SeqOf(50))); err != nil {
				t.Fatal(err)
			}
			select {
			case <-m.Lost():
			default:
				t.Error("after the seek the message is not lost")
			}
		}
		if len(got) == 5 {
			break
		}
	}
	if fmt.Sprint(got) != "[0 1 2 50 51]" {
		t.Errorf("got %v", got)
	}
}

func TestLoopErrors(t *testing.T) {
	s := open(t, 3)
	c := consumer(t, s, seastreamer.ConsumerConfig{})
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	var last error
	n := 0
	for m, err := range c.Messages(ctx) {
		if last = err; err != nil {
			break
		}
		if n++; string(m.Value()) == "2" {
			cancel(cause)
		}
	}
	if n != 3 || last != cause {
		t.Errorf("after %d messages the loop ended with %v, want 3 and the context's cause", n, last)
	}
	fill(t, s, 3, 6)
	for range c.Messages(t.Context()) {
		for _, err := range c.Messages(t.Context()) {
			if !errors.Is(err, seastreamer.ErrInvalid) {
				t.Errorf("a loop within a loop: %v, want ErrInvalid", err)
			}
		}
		if err := c.Close(t.Context()); err != nil { // from the body: it must not wait for it
			t.Error(err)
		}
	}
	for range c.Messages(t.Context()) {
		t.Error("a closed consumer yields")
	}
}

func BenchmarkRead(b *testing.B) {
	s := open(b, 10_000)
	for _, kind := range []string{"Messages", "Batches"} {
		b.Run(kind, func(b *testing.B) {
			c := consumer(b, s, seastreamer.ConsumerConfig{})
			n, size := 0, 0
			b.ReportAllocs()
			for b.Loop() {
				if n == 0 {
					if err := c.Seek(b.Context(), seastreamer.Earliest); err != nil {
						b.Fatal(err)
					}
				}
				if kind == "Messages" {
					for m, err := range c.Messages(b.Context()) {
						if err != nil {
							b.Fatal(err)
						}
						size += len(m.Value())
						if n++; n == 10_000 {
							n = 0
							break
						}
					}
					continue
				}
				for batch, err := range c.Batches(b.Context()) {
					if err != nil {
						b.Fatal(err)
					}
					for i := range batch.Len() {
						size += len(batch.At(i).Value())
					}
					if n += batch.Len(); n >= 10_000 {
						n = 0
						break
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/10_000, "ns/msg")
		})
	}
}

// A Seek that waits for another one still ends with its context.
func TestSeekBehindAnotherOne(t *testing.T) {
	begun, stuck := make(chan struct{}), make(chan struct{})
	s := onStore(t, memory.NewStore(), 1, func(op drivertest.Op, n int) drivertest.Fault {
		if op != drivertest.OpSeek || n > 1 {
			return drivertest.Fault{}
		}
		close(begun)
		return drivertest.Fault{Wait: stuck}
	})
	c := consumer(t, s, seastreamer.ConsumerConfig{})
	first, second := make(chan error, 1), make(chan error, 1)
	go func() { first <- c.Seek(t.Context(), seastreamer.Earliest) }()
	<-begun
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("enough")
	cancel(cause)
	go func() { second <- c.Seek(ctx, seastreamer.Earliest) }()
	select {
	case err := <-second:
		if !errors.Is(err, cause) {
			t.Errorf("the second seek: %v, want its context's cause", err)
		}
	case <-time.After(time.Minute):
		t.Error("the second seek does not end with its context")
	}
	close(stuck)
	if err := <-first; err != nil {
		t.Error(err)
	}
}

// A loop whose consumer is closed ends silently, also where it just commits
// what it would deliver next.
func TestClosingWhileABatchIsCommitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := make(chan struct{})
		s := onStore(t, memory.NewStore(), 1, drivertest.Nth(drivertest.OpCommit, 1, drivertest.Fault{Wait: stuck}))
		c := consumer(t, s, seastreamer.ConsumerConfig{Group: "g", Ack: seastreamer.AckOnDelivery})
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for m, err := range c.Messages(context.Background()) {
				t.Errorf("the loop yields %v and %v", m, err)
			}
		}()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := c.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close: %v, want one that is %v", err, context.DeadlineExceeded)
		}
		synctest.Wait()
		close(stuck)
		<-ended
	})
}
