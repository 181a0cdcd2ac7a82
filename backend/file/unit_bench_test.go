//go:build linux || darwin

package file

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/seastreamer/seastreamer/driver"
)

// BenchmarkUnit is a unit after the other: what one costs beside its records.
func BenchmarkUnit(b *testing.B) {
	for _, sync := range []Sync{SyncNever, SyncAlways} {
		for _, c := range []struct{ shards, records int }{{1, 0}, {1, 1}, {1, 1000}, {1, 20000}, {4, 4}, {4, 20000}} {
			b.Run(fmt.Sprintf("%s/shards=%d/records=%d", sync, c.shards, c.records), func(b *testing.B) {
				s := newSite(b, Options{Shards: c.shards, Sync: sync, RetentionBytes: 1 << 30})
				o := newOwner(b, s.open(), false)
				claim(b, o, at(0, 0))
				value := bytes.Repeat([]byte("x"), 256)
				n := uint64(0)
				b.SetBytes(int64(c.records * len(value)))
				for b.Loop() {
					t, err := o.Begin(b.Context())
					if err != nil {
						b.Fatal(err)
					}
					for i := range c.records {
						if err := t.Produce(b.Context(), driver.Record{Stream: "s", Shard: driver.On(int32(i % c.shards)), Value: value}); err != nil {
							b.Fatal(err)
						}
					}
					if err := t.Commit(b.Context(), []driver.Move{move(0, n, n+1)}); err != nil {
						b.Fatal(err)
					}
					n++
				}
				b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N), "µs/unit")
				if c.records > 0 {
					b.ReportMetric(float64(c.records*b.N)/b.Elapsed().Seconds()/1e6, "M/s")
				}
			})
		}
	}
}
