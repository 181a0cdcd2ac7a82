package seastreamer_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/backend/memory"
)

// Produce three records and read them back to where the stream ended.
func Example() {
	ctx := context.Background()
	s, err := memory.Open(ctx, "memory://", memory.Options{})
	if err != nil {
		panic(err)
	}
	defer s.Close(ctx)

	news, err := s.Producer(ctx, seastreamer.ProducerConfig{Stream: "news"})
	if err != nil {
		panic(err)
	}
	for _, line := range []string{"one", "two", "three"} {
		if _, err := news.Send(ctx, seastreamer.Record{Value: []byte(line)}); err != nil {
			panic(err)
		}
	}

	end, err := s.End(ctx, "news")
	if err != nil {
		panic(err)
	}
	reader, err := s.Consumer(ctx, seastreamer.ConsumerConfig{Streams: []string{"news"}, Start: seastreamer.Earliest, Until: end})
	if err != nil {
		panic(err)
	}
	for m, err := range reader.Messages(ctx) {
		if err != nil {
			panic(err)
		}
		fmt.Printf("%v %s\n", m.Seq(), m.Value())
	}
	// Output:
	// 0 one
	// 1 two
	// 2 three
}

// A relay that loses nothing and does not wait for each message: a message is
// acknowledged when what it became has been written, and comes back when that
// failed.
func Example_relay() {
	ctx, stop := context.WithCancelCause(context.Background())
	defer stop(nil)
	s := store(ctx, "orders", "7", "8", "9")
	defer s.Close(context.Background())

	orders, err := s.Consumer(ctx, seastreamer.ConsumerConfig{
		Streams: []string{"orders"}, Group: "billing", Start: seastreamer.Earliest, Ack: seastreamer.AckExplicit,
	})
	if err != nil {
		panic(err)
	}
	invoices, err := s.Producer(ctx, seastreamer.ProducerConfig{Stream: "invoices"})
	if err != nil {
		panic(err)
	}
	done := errors.New("that will do")
	for m, err := range orders.Messages(ctx) {
		if errors.Is(err, done) {
			break
		} else if err != nil {
			panic(err)
		}
		r := seastreamer.Record{Value: append([]byte("invoice for order "), m.Value()...)}
		err = invoices.Enqueue(ctx, r, func(_ seastreamer.Receipt, err error) {
			if err != nil {
				m.Nack(time.Second)
				return
			}
			m.Ack()
			if m.Seq() == seastreamer.SeqOf(2) {
				stop(done)
			}
		})
		if err != nil {
			panic(err)
		}
	}
	show(s, "invoices")
	// Output:
	// invoice for order 7
	// invoice for order 8
	// invoice for order 9
}

// Replay what happened since a moment.
func Example_replay() {
	ctx := context.Background()
	s := store(ctx, "clicks", "old", "older")
	defer s.Close(ctx)
	since := time.Now().Add(time.Hour)
	p, err := s.Producer(ctx, seastreamer.ProducerConfig{Stream: "clicks"})
	if err != nil {
		panic(err)
	}
	if _, err := p.Send(ctx, seastreamer.Record{Value: []byte("new"), Time: since.Add(time.Minute)}); err != nil {
		panic(err)
	}

	end, err := s.End(ctx, "clicks")
	if err != nil {
		panic(err)
	}
	c, err := s.Consumer(ctx, seastreamer.ConsumerConfig{Streams: []string{"clicks"}, Start: seastreamer.Since(since), Until: end})
	if err != nil {
		panic(err)
	}
	for m, err := range c.Messages(ctx) {
		if err != nil {
			panic(err)
		}
		fmt.Printf("%s\n", m.Value())
	}
	// Output: new
}

// Two groups each get everything; the members of one group share it.
func Example_fanOut() {
	ctx := context.Background()
	s := store(ctx, "events", "a", "b")
	defer s.Close(ctx)
	for _, group := range []string{"audit", "search"} {
		c, err := s.Consumer(ctx, seastreamer.ConsumerConfig{Streams: []string{"events"}, Group: group, Start: seastreamer.Earliest})
		if err != nil {
			panic(err)
		}
		n := 0
		for m, err := range c.Messages(ctx) {
			if err != nil {
				panic(err)
			}
			fmt.Printf("%s got %s\n", group, m.Value())
			if n++; n == 2 {
				break
			}
		}
	}
	// Output:
	// audit got a
	// audit got b
	// search got a
	// search got b
}

// A program that links only the backends it needs has a registry of its own.
func ExampleRegistry() {
	registry := seastreamer.Registry{"memory": memory.Opener{}}
	_, err := registry.Open(context.Background(), "redis://localhost:6379")
	fmt.Println(err)
	s, err := registry.Open(context.Background(), "memory://")
	fmt.Println(s.Features().Backend, err)
	// Output:
	// open redis://localhost:6379: no backend for scheme "redis": there are memory
	// memory <nil>
}

// store is a memory streamer with a stream that holds values.
func store(ctx context.Context, stream string, values ...string) *seastreamer.Streamer {
	s, err := memory.Open(ctx, "memory://", memory.Options{})
	if err != nil {
		panic(err)
	}
	p, err := s.Producer(ctx, seastreamer.ProducerConfig{Stream: stream})
	if err != nil {
		panic(err)
	}
	for _, v := range values {
		if _, err := p.Send(ctx, seastreamer.Record{Value: []byte(v)}); err != nil {
			panic(err)
		}
	}
	return s
}

// show prints what a stream holds.
func show(s *seastreamer.Streamer, stream string) {
	ctx := context.Background()
	end, err := s.End(ctx, stream)
	if err != nil {
		panic(err)
	}
	c, err := s.Consumer(ctx, seastreamer.ConsumerConfig{Streams: []string{stream}, Start: seastreamer.Earliest, Until: end})
	if err != nil {
		panic(err)
	}
	for m, err := range c.Messages(ctx) {
		if err != nil {
			panic(err)
		}
		fmt.Printf("%s\n", m.Value())
	}
}

// Turn input into output exactly once: what is sent and how far was read become
// visible in one step, so that a run that dies anywhere goes on where the output
// stands. The two sides may be different backends.
func ExampleTransactor() {
	ctx := context.Background()
	s := store(ctx, "orders", "7", "8", "9")
	defer s.Close(ctx)
	end, err := s.End(ctx, "orders")
	if err != nil {
		panic(err)
	}
	job, err := s.Transactor(ctx, seastreamer.TransactorConfig{
		Name:  "invoicing",
		Input: seastreamer.ConsumerConfig{Streams: []string{"orders"}, Start: seastreamer.Earliest, Until: end},
	})
	if err != nil {
		panic(err)
	}
	for tx, err := range job.Units(ctx) {
		if err != nil {
			panic(err) // such as ErrFenced: another process has taken the name over
		}
		for m := range tx.Messages() {
			if err := tx.Send(seastreamer.Record{Stream: "invoices", Value: append([]byte("invoice for "), m.Value()...)}); err != nil {
				break // the unit fails, and the loop ends with the error
			}
		}
	} // asking for the next unit commits the one before
	show(s, "invoices")
	// Output:
	// invoice for 7
	// invoice for 8
	// invoice for 9
}
