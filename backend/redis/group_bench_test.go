package redis

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

// rawGroup reads and acknowledges n entries with a loop as anybody would write
// it with rueidis: it acknowledges each run with the command that asks for the
// next one.
func rawGroup(b *testing.B, url, key string, n int) time.Duration {
	b.Helper()
	rc, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{strings.TrimPrefix(url, "redis://")}, DisableCache: true})
	if err != nil {
		b.Fatal(err)
	}
	defer rc.Close()
	began := time.Now()
	var ids []string
	sum := 0
	for got := 0; ; {
		var cmds []rueidis.Completed
		if len(ids) > 0 {
			cmds = append(cmds, rc.B().Xack().Key(key).Group("raw").Id(ids...).Build())
		}
		if got < n {
			cmds = append(cmds, rc.B().Xreadgroup().Group("raw", "one").Count(1000).Streams().Key(key).Id(">").Build())
		}
		answers := rc.DoMulti(context.Background(), cmds...)
		if err := answers[0].Error(); err != nil {
			b.Fatal(err)
		}
		if got == n {
			break
		}
		m, err := answers[len(answers)-1].AsMap()
		if err != nil {
			b.Fatal(err)
		}
		list := m[key]
		all, _ := list.ToArray()
		ids = make([]string, 0, len(all))
		for i := range all {
			e, _ := all[i].ToArray()
			f, _ := e[1].ToArray()
			v, _ := f[1].ToString()
			sum += len(v)
			id, _ := e[0].ToString()
			ids = append(ids, id)
		}
		got += len(all)
	}
	return time.Since(began)
}

// oursGroup does the same through the driver, from two goroutines as the core
// does.
func oursGroup(b *testing.B, url, stream string, n int) time.Duration {
	b.Helper()
	u, err := driver.ParseBroker(url)
	if err != nil {
		b.Fatal(err)
	}
	d, err := OpenDriver(b.Context(), u, Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close(context.Background())
	began := time.Now()
	c, err := d.Consumer(b.Context(), driver.ConsumerConfig{Streams: []string{stream}, Group: "ours", Start: driver.Earliest})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close(context.Background())
	fetched := make(chan driver.Batch, 4)
	go func() {
		defer close(fetched)
		var into []driver.Batch
		for got := 0; got < n; {
			if into, err = c.Fetch(b.Context(), into[:0]); err != nil {
				b.Error(err)
				return
			}
			for _, batch := range into {
				got += batch.Len()
				fetched <- batch
			}
		}
	}()
	sum := 0
	for batch := range fetched {
		for i := range batch.Len() {
			sum += len(batch.Value(i))
		}
		if err := c.(driver.Settler).Settle(b.Context(), []driver.Settlement{{Batch: batch, To: batch.Len()}}); err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(began)
}

// BenchmarkGroup compares groups of the driver with rueidis used directly, side
// by side. One round reads and acknowledges everything once by each.
func BenchmarkGroup(b *testing.B) {
	s, err := redistest.Start(b.Context(), redistest.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Stop()
	const n = 300_000
	fill(b, s.URL(), []string{"bench"}, n, 256)
	b.ResetTimer()
	var us, them time.Duration
	for range b.N {
		for _, g := range []string{"raw", "ours"} {
			s.Call(b, 1, "XGROUP", "DESTROY", "bench", g)
			s.Call(b, 1, "XGROUP", "CREATE", "bench", g, "0")
		}
		them += rawGroup(b, s.URL(), "bench", n)
		us += oursGroup(b, s.URL(), "bench", n)
	}
	b.ReportMetric(float64(them)/float64(us), "of-raw")
	b.ReportMetric(float64(us.Nanoseconds())/float64(n*b.N), "ns/msg")
	b.ReportMetric(0, "ns/op")
}
