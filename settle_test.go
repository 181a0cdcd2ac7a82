package seastreamer_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/backend/memory"
	"github.com/seastreamer/seastreamer/driver/drivertest"
)

const ackTimeout = 30 * time.Second

// verdicts opens a streamer whose groups want a verdict per message, and which
// notes what was settled when.
func verdicts(t *testing.T, n int, plan drivertest.Plan) (*seastreamer.Streamer, *settled) {
	t.Helper()
	d := memory.NewStore().Driver(memory.Options{AckTimeout: ackTimeout})
	if plan != nil {
		d = drivertest.Faults(d, plan)
	}
	seen := &settled{begun: time.Now()}
	s := seastreamer.New(d, seastreamer.Options{Observer: seastreamer.Observer{Settle: seen.note}})
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	fill(t, s, 0, n)
	return s, seen
}

type settled struct {
	begun time.Time
	mu    sync.Mutex
	calls []string
}

func (s *settled) note(n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, fmt.Sprintf("%v: %d %v", time.Since(s.begun).Round(time.Millisecond), n, err))
}

func (s *settled) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// each ranges over n messages, "value attempt", and leaves with the last one
// in hand.
func each(t *testing.T, c *seastreamer.Consumer, n int, body func(seastreamer.Message)) (got []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
	defer cancel()
	for m, err := range c.Messages(ctx) {
		if err != nil {
			t.Fatalf("after %q: %v", got, err)
		}
		got = append(got, fmt.Sprintf("%s %d", m.Value(), m.Attempt()))
		if body != nil {
			body(m)
		}
		if len(got) == n {
			break
		}
	}
	return got
}

func TestVerdictsComeEveryCommitEvery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, seen := verdicts(t, 5, nil)
		c := consumer(t, s, seastreamer.ConsumerConfig{Group: "g", CommitEvery: 3 * time.Second})
		each(t, c, 4, nil) // three are done, one is in hand
		time.Sleep(4 * time.Second)
		synctest.Wait()
		equal(t, "settled", seen.all(), []string{"3s: 3 <nil>"})
		equal(t, "the next range", each(t, c, 2, nil), []string{"3 1", "4 1"})
	})
}

func TestAThousandVerdictsDoNotWait(t *testing.T) {
	for _, mode := range []seastreamer.AckMode{seastreamer.AckOnAdvance, seastreamer.AckExplicit} {
		synctest.Test(t, func(t *testing.T) {
			s, seen := verdicts(t, 2500, nil)
			c := consumer(t, s, seastreamer.ConsumerConfig{Group: "g", CommitEvery: time.Hour, Ack: mode})
			each(t, c, 2500, seastreamer.Message.Ack)
			synctest.Wait()
			if len(seen.all()) == 0 {
				t.Errorf("mode %v: nothing was settled before CommitEvery", mode)
			}
			if at, err := c.Commit(t.Context()); at != nil || err != nil {
				t.Errorf("Commit: got %v, %v, want no checkpoint and no error", at, err)
			}
			if err := c.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			fill(t, s, 2500, 2501)
			equal(t, "the next member", each(t, consumer(t, s, seastreamer.ConsumerConfig{Group: "g"}), 1, nil), []string{"2500 1"})
		})
	}
}

// What Close hands back is there for others at once: without another attempt
// what nobody has seen, with one what the body has left.
func TestCloseHandsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := verdicts(t, 4, nil)
		begun := time.Now()
		c := consumer(t, s, seastreamer.ConsumerConfig{Group: "g"})
		each(t, c, 2, nil)
		if err := c.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := each(t, consumer(t, s, seastreamer.ConsumerConfig{Group: "g"}), 3, nil)
		slices.Sort(got)
		equal(t, "the next member", got, []string{"1 2", "2 1", "3 1"})
		equal(t, "time that passed", time.Since(begun), time.Duration(0))
	})
}

func TestCloseHandsBackExplicit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := verdicts(t, 6, nil)
		c := consumer(t, s, seastreamer.ConsumerConfig{Group: "g", Ack: seastreamer.AckExplicit})
		n := 0
		each(t, c, 4, func(m seastreamer.Message) {
			if n++; n%2 == 0 {
				m.Ack()
			}
		})
		if err := c.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := each(t, consumer(t, s, seastreamer.ConsumerConfig{Group: "g"}), 4, nil)
		slices.Sort(got)
		equal(t, "the next member", got, []string{"0 2", "2 2", "4 1", "5 1"})
	})
}

func TestABatchIsSeenAsAWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := verdicts(t, 3, nil)
		c := consumer(t, s, seastreamer.ConsumerConfig{Group: "g"})
		for b, err := range c.Batches(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			b.At(1).Nack(0) // the others are left
			break
		}
		if err := c.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := each(t, consumer(t, s, seastreamer.ConsumerConfig{Group: "g"}), 3, nil)
		slices.Sort(got)
		equal(t, "the next member", got, []string{"0 2", "1 2", "2 2"})
	})
}

func TestNackGoesToTheBroker(t *testing.T) {
	for _, mode := range []seastreamer.AckMode{seastreamer.AckOnAdvance, seastreamer.AckExplicit} {
		synctest.Test(t, func(t *testing.T) {
			s, _ := verdicts(t, 3, nil)
			begun := time.Now()
			c := consumer(t, s, seastreamer.ConsumerConfig{Group: "g", CommitEvery: time.Hour, Ack: mode})
			var got []string
			each(t, c, 5, func(m seastreamer.Message) {
				got = append(got, fmt.Sprintf("%s %d %v", m.Value(), m.Attempt(), time.Since(begun)))
				if string(m.Value()) == "1" && m.Attempt() < 3 {
					m.Nack(10 * time.Second)
					m.Ack() // it is settled already: this does nothing
					return
				}
				m.Ack()
			})
			equal(t, "deliveries", got, []string{"0 1 0s", "1 1 0s", "2 1 0s", "1 2 10s", "1 3 20s"})
		})
	}
}

// A message that was nacked before the loop was left is the broker's, and the
// next range goes on behind it.
func TestNackAndBreak(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := verdicts(t, 3, nil)
		c := consumer(t, s, seastreamer.ConsumerConfig{Group: "g"})
		each(t, c, 1, func(m seastreamer.Message) { m.Nack(time.Minute) })
		equal(t, "the next range", each(t, c, 3, nil), []string{"1 1", "2 1", "0 2"})
	})
}

func TestWhatIsWorkedOnIsExtended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := verdicts(t, 3, nil)
		slow := consumer(t, s, seastreamer.ConsumerConfig{Group: "g"})
		synctest.Wait() // it has fetched all there is
		other := consumer(t, s, seastreamer.ConsumerConfig{Group: "g"})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for m, err := range other.Messages(ctx) {
				if err == nil {
					t.Errorf("the other member got %s while it was worked on", m.Value())
				}
			}
		}()
		equal(t, "messages", each(t, slow, 3, func(seastreamer.Message) { time.Sleep(5 * ackTimeout) }), []string{"0 1", "1 1", "2 1"})
		cancel()
		<-ended
	})
}

func TestAConsumerThatNobodyRangesOverHandsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := verdicts(t, 3, nil)
		idle := consumer(t, s, seastreamer.ConsumerConfig{Group: "g"})
		synctest.Wait() // it has fetched all there is
		other := consumer(t, s, seastreamer.ConsumerConfig{Group: "g"})
		begun := time.Now()
		got := each(t, other, 3, seastreamer.Message.Ack)
		slices.Sort(got)
		equal(t, "the other member", got, []string{"0 1", "1 1", "2 1"})
		if d := time.Since(begun); d == 0 || d >= ackTimeout {
			t.Errorf("it waited for %v, want less than the time-out", d)
		}
		if err := other.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		fill(t, s, 3, 5)
		time.Sleep(5 * ackTimeout)
		equal(t, "when it is ranged over", each(t, idle, 2, nil), []string{"3 1", "4 1"})
	})
}

func TestUnsettledMessagesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := verdicts(t, 20_000, nil)
		c := consumer(t, s, seastreamer.ConsumerConfig{Group: "g", Ack: seastreamer.AckExplicit, MaxBytes: 64 << 20})
		var out []seastreamer.Message
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for m, err := range c.Messages(ctx) {
			if err != nil {
				break
			}
			out = append(out, m)
		}
		if len(out) < 9_000 || len(out) > 12_000 {
			t.Fatalf("%d messages were delivered without a verdict, want about 10,000", len(out))
		}
		for _, m := range out {
			m.Ack()
		}
		equal(t, "when they are acknowledged", each(t, c, 1, nil), []string{fmt.Sprint(len(out), " 1")})
	})
}

func TestVerdictsThatFailAreGivenAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := errors.New("the server is away")
		for _, late := range []bool{false, true} {
			s, seen := verdicts(t, 4, drivertest.First(drivertest.OpSettle, 2, drivertest.Fault{Err: down, Late: late}))
			c := consumer(t, s, seastreamer.ConsumerConfig{Group: "g"})
			each(t, c, 3, nil)
			time.Sleep(3500 * time.Millisecond)
			synctest.Wait()
			equal(t, "settled", seen.all(), []string{"1s: 2 " + down.Error(), "2s: 2 " + down.Error(), "3s: 2 <nil>"})
			if err := c.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			got := each(t, consumer(t, s, seastreamer.ConsumerConfig{Group: "g"}), 2, nil)
			slices.Sort(got)
			equal(t, "the next member", got, []string{"2 2", "3 1"})
		}
	})
}

func TestAckOnDeliverySettlesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, seen := verdicts(t, 3, nil)
		c := consumer(t, s, seastreamer.ConsumerConfig{Group: "g", Ack: seastreamer.AckOnDelivery})
		each(t, c, 1, func(seastreamer.Message) {
			equal(t, "settled before the first message", seen.all(), []string{"0s: 3 <nil>"})
		})
	})
}

func TestAGroupOfVerdictsHasNoPosition(t *testing.T) {
	s, _ := verdicts(t, 1, nil)
	c := consumer(t, s, seastreamer.ConsumerConfig{Group: "g"})
	if err := c.Seek(t.Context(), seastreamer.Earliest); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Seek: got error %v, want one that is %q", err, errors.ErrUnsupported)
	}
	_, err := s.Consumer(t.Context(), seastreamer.ConsumerConfig{Streams: []string{"s"}, Group: "g",
		Revoked: func(context.Context, []seastreamer.Shard, bool) {}})
	if !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Revoked: got error %v, want one that is %q", err, errors.ErrUnsupported)
	}
}

// Whoever waits for a message to be lost is told when the consumer is closed,
// also where Close had no time.
func TestLostWhereCloseHadNoTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := verdicts(t, 1, nil)
		c := consumer(t, s, seastreamer.ConsumerConfig{Group: "g", Ack: seastreamer.AckExplicit})
		var m seastreamer.Message
		each(t, c, 1, func(in seastreamer.Message) { m = in })
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := c.Close(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Close: %v, want one that is %v", err, context.Canceled)
		}
		synctest.Wait()
		select {
		case <-m.Lost():
		default:
			t.Error("the message is not lost")
		}
	})
}
