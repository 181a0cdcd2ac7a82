//go:build !race

package redis

import (
	"context"
	"runtime"
	"testing"

	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

// A record costs no allocation.
func TestProduceAllocations(t *testing.T) {
	r := redistest.ForTest(t, redistest.Options{})
	p := producerForTest(t, r.URL()+"/?shards=4", driver.ProducerConfig{MaxBytes: 1 << 20})
	rec := driver.Record{Stream: "s", Key: []byte("key"), Value: make([]byte, 256), Headers: []driver.Header{{Key: "a", Value: []byte("b")}}}
	done := func(_ driver.Receipt, err error) {
		if err != nil {
			t.Error(err)
		}
	}
	send := func(n int) {
		for range n {
			if err := p.Produce(context.Background(), rec, done); err != nil {
				t.Fatal(err)
			}
		}
		flush(t, p)
	}
	send(20_000)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	const n = 50_000
	send(n)
	runtime.ReadMemStats(&after)
	if got := float64(after.Mallocs-before.Mallocs) / n; got > 0.02 {
		t.Errorf("%.3f allocations a record, want fewer than 0.02", got)
	}
}
