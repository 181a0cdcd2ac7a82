//go:build linux || darwin

package file

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/driver"
)

// fill puts n messages of size bytes into the two shards of stream "in", and
// makes stream "s".
func (s *site) fill(n, size int) *seastreamer.Streamer {
	s.t.Helper()
	d := s.open()
	ctx := context.Background()
	p, err := d.Producer(ctx, driver.ProducerConfig{})
	if err != nil {
		s.t.Fatal(err)
	}
	for i := range n {
		v := bytes.Repeat([]byte("."), size)
		copy(v, fmt.Sprintf("%08d", i))
		if err := p.Produce(ctx, driver.Record{Stream: "in", Shard: driver.On(int32(i % 2)), Value: v}, nil); err != nil {
			s.t.Fatal(err)
		}
	}
	if err := p.Close(ctx); err != nil {
		s.t.Fatal(err)
	}
	st := seastreamer.New(d, seastreamer.Options{})
	s.t.Cleanup(func() { st.Close(ctx) })
	return st
}

// copyIn copies stream "in" to stream "s" in units of at most most messages,
// up to where it ends now.
func copyIn(t testing.TB, s *seastreamer.Streamer, most int) (units, n int) {
	t.Helper()
	until, err := s.End(t.Context(), "in")
	if err != nil {
		t.Fatal(err)
	}
	tr, err := s.Transactor(t.Context(), seastreamer.TransactorConfig{Name: "copy", MaxMessages: most,
		Input: seastreamer.ConsumerConfig{Streams: []string{"in"}, Start: seastreamer.Earliest, Until: until}})
	if err != nil {
		t.Fatal(err)
	}
	for tx, err := range tr.Units(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		units++
		for m := range tx.Messages() {
			if tx.Send(seastreamer.Record{Stream: "s", Shard: driver.On(m.Shard().Index), Value: m.Value()}) != nil {
				break
			}
			n++
		}
	}
	if err := tr.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	return units, n
}

// A Transactor copies from one stream to another of the same directory, and a
// second one what came since.
func TestTransactor(t *testing.T) {
	for _, sync := range []Sync{SyncNever, SyncAlways} {
		s := newSite(t, Options{Shards: 2, Sync: sync, SegmentSize: 64 << 10})
		st := s.fill(2000, 50)
		if units, n := copyIn(t, st, 150); n != 2000 || units < 13 {
			t.Errorf("%s: %d messages in %d units", sync, n, units)
		}
		s.fill(10, 50)
		if units, n := copyIn(t, st, 150); n != 10 {
			t.Errorf("%s: the second copy had %d messages in %d units", sync, n, units)
		}
		if got, want := s.shards(), 2010; bytes.Count([]byte(got), []byte("."))/42 != want {
			t.Errorf("%s: %d bytes of output", sync, len(got))
		}
	}
}

// BenchmarkTransactor copies 100-byte messages, in units as large as they get.
func BenchmarkTransactor(b *testing.B) {
	for _, sync := range []Sync{SyncNever, SyncAlways} {
		b.Run(string(sync), func(b *testing.B) {
			const n = 500_000
			for b.Loop() {
				b.StopTimer()
				s := newSite(b, Options{Shards: 2, Sync: sync})
				st := s.fill(n, 100)
				b.StartTimer()
				if _, got := copyIn(b, st, 0); got != n {
					b.Fatalf("%d messages", got)
				}
			}
			b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds()/1e6, "M/s")
		})
	}
}
