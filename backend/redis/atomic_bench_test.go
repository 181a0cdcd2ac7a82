package redis

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

// BenchmarkUnits commits units of 100-byte values, beside plain records by a
// producer, on one server. An op is a message.
func BenchmarkUnits(b *testing.B) {
	r := redistest.ForTest(b, redistest.Options{})
	value := make([]byte, 100)
	plain := driver.Record{Stream: "out", Value: value}
	keyed := driver.Record{Stream: "out", Value: value, Key: []byte("key-1"), Headers: []driver.Header{{Key: "trace", Value: []byte("abc")}}}
	// cpu is what the server has used: on a busy machine it says more than the
	// clock.
	cpu := func() float64 {
		var sum float64
		for line := range strings.Lines(r.Call(b, 1, "INFO", "cpu")) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
			if name == "used_cpu_sys" || name == "used_cpu_user" {
				f, err := strconv.ParseFloat(value, 64)
				if err != nil {
					b.Fatal(err)
				}
				sum += f
			}
		}
		return sum
	}
	report := func(b *testing.B, before float64) {
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
		b.ReportMetric((cpu()-before)*1e9/float64(b.N), "server-ns/op")
	}
	units := func(b *testing.B, rec driver.Record, n int, query string) {
		r.Call(b, 1, "FLUSHALL")
		o := ownerForTest(b, r.URL()+query, driver.OwnerConfig{Name: "job"})
		at := claim(b, o, pos("in", 0, 1))
		ctx := context.Background()
		b.ReportAllocs()
		before := cpu()
		b.ResetTimer()
		from := at[0].Next
		for done := 0; done < b.N; done += n {
			tx, err := o.Begin(ctx)
			if err != nil {
				b.Fatal(err)
			}
			k := min(n, b.N-done)
			for range k {
				if err := tx.Produce(ctx, rec); err != nil {
					b.Fatal(err)
				}
			}
			to := from.Add(uint64(k))
			if err := tx.Commit(ctx, []driver.Move{{Shard: at[0].Shard, From: from, To: to}}); err != nil {
				b.Fatal(err)
			}
			from = to
		}
		report(b, before)
	}
	raw := func(b *testing.B, rec driver.Record) {
		r.Call(b, 1, "FLUSHALL")
		p := producerForTest(b, r.URL(), driver.ProducerConfig{})
		done := func(_ driver.Receipt, err error) {
			if err != nil {
				b.Error(err)
			}
		}
		before := cpu()
		b.ResetTimer()
		for range b.N {
			if err := p.Produce(context.Background(), rec, done); err != nil {
				b.Fatal(err)
			}
		}
		if err := p.Flush(context.Background()); err != nil {
			b.Fatal(err)
		}
		report(b, before)
	}
	for _, c := range []struct {
		name string
		rec  driver.Record
	}{{"plain", plain}, {"keyed", keyed}} {
		b.Run(c.name+"/raw", func(b *testing.B) { raw(b, c.rec) })
		for _, n := range []int{1, 500, 2000, 10000} {
			b.Run(fmt.Sprintf("%s/units-%d", c.name, n), func(b *testing.B) { units(b, c.rec, n, "") })
		}
		b.Run(c.name+"/units-2000-sharded", func(b *testing.B) { units(b, c.rec, 2000, "/?shards=4") })
		b.Run(c.name+"/units-2000-trimmed", func(b *testing.B) { units(b, c.rec, 2000, "/?max_len=100000") })
	}
}
