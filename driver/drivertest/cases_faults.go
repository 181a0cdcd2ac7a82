package drivertest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/driver"
)

var errInjected = errors.New("injected")

// faultCases run the core over the backend with Faults in between.
var faultCases = []Case{
	{
		Topic: "faults", Name: "temporary trouble of fetch",
		Sentence: "Temporary trouble is retried inside and told to the [Observer].",
		Run: func(t *T) {
			s := t.Stream(1)
			t.Send(s, "a", "b")
			retries := make(chan error, 100)
			st := t.faulty(First(OpFetch, 2, Fault{Err: driver.Errorf(driver.ErrUnavailable, "read", "%w", errInjected)}),
				seastreamer.Observer{Retry: func(_ string, err error, _ time.Duration) { retries <- err }})
			t.Gets(t.ConsumerOn(st, From(s)), "a", "b")
			t.Within("two retries", func() {
				for range 2 {
					t.Is("what the observer was told", <-retries, errInjected)
				}
			})
		},
	},
	{
		Topic: "faults", Name: "an error of fetch",
		Sentence: "The consumer is intact after an error or a break and may be ranged over again.",
		Run: func(t *T) {
			s := t.Stream(1)
			t.Send(s, "a", "b")
			c := t.ConsumerOn(t.faulty(Nth(OpFetch, 1, Fault{Err: errInjected}), seastreamer.Observer{}), From(s))
			err := t.Loop(c, func(m seastreamer.Message) bool {
				t.Errorf("message %q comes before the error", m.Value())
				return false
			})
			t.Is("the loop's error", err, errInjected)
			t.Gets(c, "a", "b")
		},
	},
	{
		Topic: "faults", Name: "batches that come with an error",
		Sentence: "Batches may come together with an error and count first.",
		Run: func(t *T) {
			s := t.Stream(1)
			t.Send(s, "a", "b")
			c := t.ConsumerOn(t.faulty(Nth(OpFetch, 1, Fault{Err: errInjected, Late: true}), seastreamer.Observer{}), From(s))
			var got []string
			err := t.Loop(c, func(m seastreamer.Message) bool { got = append(got, string(m.Value())); return true })
			t.Is("the loop's error", err, errInjected)
			if len(got) == 0 || got[0] != "a" {
				t.Errorf("messages before the error: %q, want those that came with it", got)
			}
			t.Send(s, "c")
			for len(got) == 0 || got[len(got)-1] != "c" {
				if err := t.Loop(c, func(m seastreamer.Message) bool {
					got = append(got, string(m.Value()))
					return string(m.Value()) != "c"
				}); err != nil {
					t.Fatalf("the loop after the error yields %v", err)
				}
			}
			t.Same("messages", got, []string{"a", "b", "c"})
		},
	},
	{
		Topic: "faults", Name: "a commit that fails",
		Sentence: "Commit: progress was stored, or not (it is tried again).",
		Needs:    needsGroups,
		Run: func(t *T) {
			s, g := t.Stream(1), t.Name()
			receipts := t.Send(s, "a", "b")
			commits := make(chan error, 1000)
			st := t.faulty(First(OpCommit, 3, Fault{Err: driver.Errorf(driver.ErrUnavailable, "commit", "%w", errInjected)}),
				seastreamer.Observer{Commit: func(_ []driver.Position, err error) { commits <- err }})
			cfg := Member(g, s)
			cfg.CommitEvery = 5 * time.Millisecond
			c := t.ConsumerOn(st, cfg)
			t.Gets(c, "a", "b")
			t.Within("three failures and a success", func() {
				for range 3 {
					t.Is("what the observer was told", <-commits, errInjected)
				}
				for err := range commits {
					if err == nil {
						return
					}
				}
			})
			t.Close("consumer", c)
			r := t.Consume(Group(g, s))
			Equal(t, "the next member begins", r.Begin(s, 0), receipts[1].Seq)
		},
	},
	{
		Topic: "faults", Name: "a commit whose reply is lost",
		Sentence: "All of at is stored, or an error says that some of it may not be.",
		Needs:    needsGroups,
		Run: func(t *T) {
			s, g := t.Stream(1), t.Name()
			t.Send(s, "a", "b")
			st := t.faulty(Nth(OpCommit, 1, Fault{Err: driver.Errorf(driver.ErrUnknown, "commit", "%w", errInjected), Late: true}), seastreamer.Observer{})
			c := t.ConsumerOn(st, Member(g, s))
			t.Gets(c, "a", "b")
			_, err := c.Commit(t.Ctx())
			t.Is("Commit", err, errInjected)
			t.Commit(c)
			t.Close("consumer", c)
			t.Gets(t.Consumer(Member(g, s)), "b")
		},
	},
	{
		Topic: "faults", Name: "at most once without a commit",
		Sentence: "AckOnDelivery: a batch is acknowledged and, with a group, committed before its first message is handed over.",
		Needs:    needsGroups,
		Run: func(t *T) {
			s, g := t.Stream(1), t.Name()
			t.Send(s, "a")
			cfg := Member(g, s)
			cfg.Ack = seastreamer.AckOnDelivery
			c := t.ConsumerOn(t.faulty(Nth(OpCommit, 1, Fault{Err: errInjected}), seastreamer.Observer{}), cfg)
			err := t.Loop(c, func(m seastreamer.Message) bool {
				t.Errorf("message %q is handed over although its position could not be stored", m.Value())
				return false
			})
			t.Is("the loop's error", err, errInjected)
			t.Gets(c, "a")
		},
	},
	{
		Topic: "faults", Name: "a send whose reply is lost",
		Sentence: "it may or may not have been written",
		Run: func(t *T) {
			s := t.Stream(1)
			st := t.faulty(Nth(OpProduce, 2, Fault{Err: driver.Errorf(driver.ErrUnknown, "send", "%w", errInjected), Late: true}), seastreamer.Observer{})
			p, err := st.Producer(t.Ctx(), seastreamer.ProducerConfig{Stream: s})
			if err != nil {
				t.Fatalf("Producer: %v", err)
			}
			for i, want := range []error{nil, driver.ErrUnknown, nil} {
				_, err := p.Send(t.Ctx(), driver.Record{Value: []byte{'a' + byte(i)}})
				t.Is("Send", err, want)
			}
			// It was written, as the caller has to reckon with, and the core
			// has not sent it again.
			t.Gets(t.Consumer(From(s)), "a", "b", "c")
		},
	},
	{
		Topic: "faults", Name: "a send that fails",
		Sentence: "With a nil done the first failure is kept and returned by the next Flush or by Close.",
		Run: func(t *T) {
			s := t.Stream(1)
			st := t.faulty(Nth(OpProduce, 2, Fault{Err: driver.Errorf(driver.ErrDenied, "send", "%w", errInjected)}), seastreamer.Observer{})
			p, err := st.Producer(t.Ctx(), seastreamer.ProducerConfig{Stream: s})
			if err != nil {
				t.Fatalf("Producer: %v", err)
			}
			for i := range 3 {
				if err := p.Enqueue(t.Ctx(), driver.Record{Value: []byte{'a' + byte(i)}}, nil); err != nil {
					t.Fatalf("Enqueue: %v", err)
				}
			}
			t.Is("Flush", p.Flush(t.Ctx()), driver.ErrDenied)
			if err := p.Flush(t.Ctx()); err != nil {
				t.Errorf("the second Flush returns the failure again: %v", err)
			}
			t.Gets(t.Consumer(From(s)), "a", "c")
		},
	},
	{
		Topic: "faults", Name: "a send that is not waited for",
		Sentence: "When ctx ends while the record is under way, Send returns ErrUnknown with the context's cause; the record may still be written, and its bytes are borrowed for good.",
		Run: func(t *T) {
			s := t.Stream(1)
			hold := make(chan struct{})
			var once sync.Once
			release := func() { once.Do(func() { close(hold) }) }
			defer release()
			// The record is taken, and its receipt comes only after release.
			st := t.StreamerOn(lateReceipts{t.H.Open(t.TB), hold}, seastreamer.Observer{})
			p, err := st.Producer(t.Ctx(), seastreamer.ProducerConfig{Stream: s})
			if err != nil {
				t.Fatalf("Producer: %v", err)
			}
			cause := errors.New("no more patience")
			ctx, cancel := context.WithCancelCause(t.Ctx())
			ended := make(chan error, 1)
			go func() {
				_, err := p.Send(ctx, driver.Record{Value: []byte("a")})
				ended <- err
			}()
			t.Consume(Streams(s)).Wants("a") // it is written
			cancel(cause)
			t.Within("Send", func() {
				err = <-ended
			})
			t.Is("Send", err, driver.ErrUnknown)
			t.Is("Send", err, cause)
			release()
		},
	},
}

// faulty is a portable client with faults between the core and the backend.
func (t *T) faulty(p Plan, o seastreamer.Observer) *seastreamer.Streamer {
	return t.StreamerOn(Faults(t.H.Open(t.TB), p), o)
}

// lateReceipts holds receipts back.
type lateReceipts struct {
	driver.Driver
	hold <-chan struct{}
}

func (d lateReceipts) Producer(ctx context.Context, c driver.ProducerConfig) (driver.Producer, error) {
	p, err := d.Driver.Producer(ctx, c)
	return lateProducer{p, d.hold}, err
}

type lateProducer struct {
	driver.Producer
	hold <-chan struct{}
}

func (p lateProducer) Produce(ctx context.Context, r driver.Record, done func(driver.Receipt, error)) error {
	return p.Producer.Produce(ctx, r, func(rc driver.Receipt, err error) {
		go func() {
			<-p.hold
			done(rc, err)
		}()
	})
}
