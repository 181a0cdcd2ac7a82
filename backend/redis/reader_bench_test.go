package redis

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

// fill adds n entries of so many bytes to keys, in turn.
func fill(b *testing.B, url string, keys []string, n, size int) {
	b.Helper()
	rc, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{strings.TrimPrefix(url, "redis://")}, DisableCache: true})
	if err != nil {
		b.Fatal(err)
	}
	defer rc.Close()
	value := strings.Repeat("x", size)
	for done := 0; done < n; {
		cmds := make([]rueidis.Completed, 0, 1000)
		for len(cmds) < cap(cmds) && done < n {
			cmds = append(cmds, rc.B().Xadd().Key(keys[done%len(keys)]).Id("*").FieldValue().FieldValue("msg", value).Build())
			done++
		}
		for _, r := range rc.DoMulti(context.Background(), cmds...) {
			if err := r.Error(); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// raw reads n entries with a loop of XREAD as anybody would write it with
// rueidis.
func raw(b *testing.B, url string, keys []string, n int, lean bool) time.Duration {
	b.Helper()
	rc, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{strings.TrimPrefix(url, "redis://")}, DisableCache: true})
	if err != nil {
		b.Fatal(err)
	}
	defer rc.Close()
	began := time.Now()
	sum := 0
	last := make(map[string]string)
	for _, k := range keys {
		last[k] = "0"
	}
	for got := 0; got < n; {
		ids := make([]string, len(keys))
		for i, k := range keys {
			ids[i] = last[k]
		}
		if lean {
			m, err := rc.Do(context.Background(), rc.B().Xread().Count(1000).Block(2000).Streams().Key(keys...).Id(ids...).Build()).AsMap()
			if err != nil {
				b.Fatal(err)
			}
			for k, v := range m {
				es, _ := v.ToArray()
				for i := range es {
					e, _ := es[i].ToArray()
					f, _ := e[1].ToArray()
					s, _ := f[1].ToString()
					sum += len(s)
				}
				got += len(es)
				e, _ := es[len(es)-1].ToArray()
				last[k], _ = e[0].ToString()
			}
			continue
		}
		m, err := rc.Do(context.Background(), rc.B().Xread().Count(1000).Block(2000).Streams().Key(keys...).Id(ids...).Build()).AsXRead()
		if err != nil {
			b.Fatal(err)
		}
		for k, entries := range m {
			for i := range entries {
				sum += len(entries[i].FieldValues["msg"])
			}
			got += len(entries)
			last[k] = entries[len(entries)-1].ID
		}
	}
	return time.Since(began)
}

// ours reads n entries through the driver.
func ours(b *testing.B, url string, streams []string, n int) time.Duration {
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
	conf := driver.ConsumerConfig{Streams: streams, Start: driver.Earliest, Events: driver.Events{
		Assigned: func(context.Context, []driver.Position) (uint64, []driver.Position, error) { return 1, nil, nil },
		Revoked:  func(context.Context, []driver.Shard, bool) {},
	}}
	c, err := d.Consumer(b.Context(), conf)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close(context.Background())
	sum := 0
	var into []driver.Batch
	for got := 0; got < n; {
		if into, err = c.Fetch(b.Context(), into[:0]); err != nil {
			b.Fatal(err)
		}
		for _, batch := range into {
			for i := range batch.Len() {
				sum += len(batch.Value(i))
			}
			got += batch.Len()
		}
	}
	return time.Since(began)
}

// BenchmarkRead compares the driver with rueidis used directly, side by side.
// One round reads everything once by each.
func BenchmarkRead(b *testing.B) {
	s, err := redistest.Start(b.Context(), redistest.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Stop()
	for _, x := range []struct{ streams, n, size int }{{1, 1_000_000, 256}, {1, 20_000, 16 << 10}, {10, 300_000, 256}, {100, 300_000, 256}, {1000, 300_000, 256}} {
		b.Run(fmt.Sprintf("streams=%d/size=%d", x.streams, x.size), func(b *testing.B) {
			if _, err := s.Do(1, "FLUSHALL"); err != nil {
				b.Fatal(err)
			}
			keys := make([]string, x.streams)
			for i := range keys {
				keys[i] = fmt.Sprintf("bench-%d", i)
			}
			fill(b, s.URL(), keys, x.n, x.size)
			b.ResetTimer()
			var us, them, lean time.Duration
			for range b.N {
				them += raw(b, s.URL(), keys, x.n, false)
				us += ours(b, s.URL(), keys, x.n)
				lean += raw(b, s.URL(), keys, x.n, true)
			}
			b.ReportMetric(float64(lean)/float64(us), "of-lean")
			b.ReportMetric(float64(them)/float64(us), "of-raw")
			b.ReportMetric(float64(us.Nanoseconds())/float64(x.n*b.N), "ns/msg")
			b.ReportMetric(0, "ns/op")
		})
	}
}
