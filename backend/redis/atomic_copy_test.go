package redis

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

// transact copies what stream in holds to stream out by a Transactor, and
// returns how many messages that were.
func transact(t testing.TB, url string) (n int) {
	t.Helper()
	ctx := t.Context()
	s, err := Open(ctx, url, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(ctx)
	end, err := s.End(ctx, "in")
	if err != nil {
		t.Fatal(err)
	}
	x, err := s.Transactor(ctx, seastreamer.TransactorConfig{Name: "job", Input: seastreamer.ConsumerConfig{Streams: []string{"in"}, Start: seastreamer.Earliest, Until: end}})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close(ctx)
	for tx, err := range x.Units(ctx) {
		if err != nil {
			t.Error(err)
			return n
		}
		for m := range tx.Messages() {
			if err := tx.Send(seastreamer.Record{Stream: "out", Key: m.Key(), Value: m.Value()}); err != nil {
				t.Error(err)
				return n
			}
			n++
		}
	}
	return n
}

// sendAll adds numbers to stream in.
func sendAll(t testing.TB, url string, n int, value func(i int) []byte) {
	t.Helper()
	p := producerForTest(t, url, driver.ProducerConfig{})
	for i := range n {
		err := p.Produce(t.Context(), driver.Record{Stream: "in", Value: value(i)}, func(_ driver.Receipt, err error) {
			if err != nil {
				t.Error(err)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// A Transactor on a server that dies, again and again: each message is there
// once and in order, and a second run copies nothing.
func TestTransactorKilledServer(t *testing.T) {
	t.Parallel()
	r := redistest.ForTest(t, redistest.Options{AppendOnly: true, Fsync: "always"})
	const n = 60000
	sendAll(t, r.URL(), n, func(i int) []byte { return strconv.AppendInt(nil, int64(i), 10) })
	copied, stop := context.WithCancel(t.Context())
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 4 {
			for there := -1; there <= i*n/5 && copied.Err() == nil; { // so that it dies on the way
				if text, err := r.Do(1, "XLEN", "out"); err == nil { // else its disk is slow
					there, _ = strconv.Atoi(text)
				}
			}
			r.Kill(1)
			if err := r.Restart(t.Context(), 1); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	transact(t, r.URL())
	stop()
	<-done
	wantNumbers(t, r, 1, "out", n)
	if again := transact(t, r.URL()); again != 0 {
		t.Errorf("a second run copies %d messages, want none", again)
	}
}

// Who has taken a name over keeps it, when the one before opens anew since it
// does not know what became of a unit.
func TestTransactorTakenOver(t *testing.T) {
	t.Parallel()
	r := redistest.ForTest(t, redistest.Options{})
	sendAll(t, r.URL(), 10, func(i int) []byte { return strconv.AppendInt(nil, int64(i), 10) })
	cut := cut(t, r.Addr(1))
	ctx := t.Context()
	transactor := func(addr string) *seastreamer.Transactor {
		mend := seastreamer.Observer{Retry: func(string, error, time.Duration) { cut.armed.Store(-1) }}
		s, err := Open(ctx, "redis://"+addr, Options{Options: seastreamer.Options{Observer: mend}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close(context.Background()) })
		end, err := s.End(ctx, "in")
		if err != nil {
			t.Fatal(err)
		}
		x, err := s.Transactor(ctx, seastreamer.TransactorConfig{Name: "job", MaxMessages: 2, Input: seastreamer.ConsumerConfig{Streams: []string{"in"}, Start: seastreamer.Earliest, Until: end}})
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	relay := func(x *seastreamer.Transactor, each func(unit int)) error {
		n := 0
		for tx, err := range x.Units(ctx) {
			if err != nil {
				return err
			}
			for m := range tx.Messages() {
				if err := tx.Send(seastreamer.Record{Stream: "out", Value: m.Value()}); err != nil {
					return err
				}
			}
			n++
			each(n)
		}
		return nil
	}
	var heir *seastreamer.Transactor
	err := relay(transactor(cut.Addr().String()), func(unit int) {
		if unit == 2 {
			heir = transactor(r.Addr(1))
			cut.armed.Store(-2) // no answer arrives
		}
	})
	wantKind(t, "the one before", err, seastreamer.ErrFenced)
	if err := relay(heir, func(int) {}); err != nil {
		t.Errorf("who has taken over: %v", err)
	}
	wantNumbers(t, r, 1, "out", 10)
}

// BenchmarkTransactor copies 100-byte values within one server, beside reading
// and writing alone. An op is a message.
func BenchmarkTransactor(b *testing.B) {
	r := redistest.ForTest(b, redistest.Options{})
	value := make([]byte, 100)
	b.Run("write", func(b *testing.B) {
		r.Call(b, 1, "FLUSHALL")
		sendAll(b, r.URL(), b.N, func(int) []byte { return value })
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
	})
	b.Run("copy", func(b *testing.B) {
		r.Call(b, 1, "FLUSHALL")
		sendAll(b, r.URL(), b.N, func(int) []byte { return value })
		b.ResetTimer()
		if n := transact(b, r.URL()); n != b.N {
			b.Errorf("%d messages, want %d", n, b.N)
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
	})
	b.Run("read", func(b *testing.B) {
		s, err := Open(context.Background(), r.URL(), Options{})
		if err != nil {
			b.Fatal(err)
		}
		defer s.Close(context.Background())
		r.Call(b, 1, "FLUSHALL")
		sendAll(b, r.URL(), b.N, func(int) []byte { return value })
		end, err := s.End(b.Context(), "in")
		if err != nil {
			b.Fatal(err)
		}
		c, err := s.Consumer(b.Context(), seastreamer.ConsumerConfig{Streams: []string{"in"}, Start: seastreamer.Earliest, Until: end})
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close(context.Background())
		b.ResetTimer()
		n := 0
		for _, err := range c.Messages(b.Context()) {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "msg/s")
	})
}
