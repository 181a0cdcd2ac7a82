package drivertest

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/driver"
)

// What benchmarks send and read: messages of 256 bytes, so many a round.
const (
	benchMessages = 100_000
	benchBytes    = 256
)

// Bench measures sending and reading through the portable API, per message.
// What a round costs besides (a consumer is opened, everything is flushed) is
// spread over its messages.
func Bench(b *testing.B, h Harness) {
	t := newBenchT(b, h)
	defer t.close()
	stream := t.Stream(1)
	b.Run("produce", func(b *testing.B) {
		s := t.Stream(1)
		for b.Loop() {
			t.fill(s, benchMessages)
			if h.Trim != nil { // so that memory does not fill up
				b.StopTimer()
				h.Trim(b, driver.Shard{Stream: s}, t.End(s)[driver.Shard{Stream: s}])
				b.StartTimer()
			}
		}
		perMessage(b, benchMessages)
	})
	t.fill(stream, benchMessages)
	for name, read := range map[string]func(*seastreamer.Consumer) int{"messages": t.readMessages, "batches": t.readBatches} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				t.readAll(stream, read)
			}
			perMessage(b, benchMessages)
		})
	}
}

// CheckAllocs fails if reading allocates more than this much per message, by
// Messages or by Batches. What batches cost is spread over their messages, so
// that a read path without an allocation per message is one well below 1.
func CheckAllocs(tb testing.TB, h Harness, most float64) {
	tb.Helper()
	t := newBenchT(tb, h)
	defer t.close()
	stream := t.Stream(1)
	t.fill(stream, benchMessages)
	for name, read := range map[string]func(*seastreamer.Consumer) int{"Messages": t.readMessages, "Batches": t.readBatches} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		t.readAll(stream, read)
		runtime.ReadMemStats(&after)
		got := float64(after.Mallocs-before.Mallocs) / benchMessages
		tb.Logf("%s: %.4f allocations per message", name, got)
		if got > most {
			tb.Errorf("%s: %.4f allocations per message, want at most %v", name, got, most)
		}
	}
}

func newBenchT(tb testing.TB, h Harness) *T {
	if h.Patience == 0 {
		h.Patience = 2 * time.Minute
	}
	f := h.look(tb)
	return &T{TB: tb, H: h, F: f, name: "bench"}
}

func perMessage(b *testing.B, n int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/msg")
	b.ReportMetric(0, "ns/op")
	b.SetBytes(int64(n) * benchBytes)
}

// fill sends messages without waiting in between, and flushes.
func (t *T) fill(stream string, n int) {
	t.Helper()
	ctx := context.Background()
	p, err := t.Streamer().Producer(ctx, seastreamer.ProducerConfig{Stream: stream})
	if err != nil {
		t.Fatalf("Producer: %v", err)
	}
	value := make([]byte, benchBytes)
	for range n {
		if err := p.Enqueue(ctx, driver.Record{Value: value}, nil); err != nil {
			t.Fatalf("Enqueue: %v", err)
		}
	}
	if err := p.Close(t.Ctx()); err != nil { // flushes, and says what failed
		t.Fatalf("Close: %v", err)
	}
}

func (t *T) readAll(stream string, read func(*seastreamer.Consumer) int) {
	t.Helper()
	cfg := From(stream)
	cfg.Until = t.End(stream)
	c := t.Consumer(cfg)
	if n := read(c); n != benchMessages {
		t.Fatalf("read %d messages of %d", n, benchMessages)
	}
	t.Close("consumer", c)
}

func (t *T) readMessages(c *seastreamer.Consumer) (n int) {
	for m, err := range c.Messages(context.Background()) {
		if err != nil {
			t.Fatalf("Messages: %v", err)
		}
		if len(m.Value()) == benchBytes {
			n++
		}
	}
	return n
}

func (t *T) readBatches(c *seastreamer.Consumer) (n int) {
	for b, err := range c.Batches(context.Background()) {
		if err != nil {
			t.Fatalf("Batches: %v", err)
		}
		n += b.Len()
	}
	return n
}
