//go:build unix

package redis

import (
	"context"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redis/rueidis"

	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

// BenchmarkProduce adds 256-byte values, ours and with rueidis used directly,
// in turns on one server.
func BenchmarkProduce(b *testing.B) {
	r := redistest.ForTest(b, redistest.Options{})
	value := make([]byte, 256)
	ours := func(b *testing.B, goroutines, streams int, query string, pc driver.ProducerConfig) {
		r.Call(b, 1, "FLUSHALL")
		p := producerForTest(b, r.URL()+query, pc)
		if s := os.Getenv("MAXBYTES"); s != "" {
			n, _ := strconv.Atoi(s)
			p.max = int64(n)
		}
		names := make([]string, streams)
		for i := range names {
			names[i] = "stream" + strconv.Itoa(i)
		}
		ctx := context.Background()
		var failed atomic.Int64
		done := func(_ driver.Receipt, err error) {
			if err != nil {
				failed.Add(1)
			}
		}
		for _, n := range names { // their shards are known before it counts
			_ = p.Produce(ctx, driver.Record{Stream: n, Value: value}, done)
		}
		_ = p.Flush(ctx)
		b.ReportAllocs()
		cpu := processCPU()
		b.ResetTimer()
		var wg sync.WaitGroup
		for g := range goroutines {
			wg.Add(1)
			go func() {
				defer wg.Done()
				for i := g; i < b.N; i += goroutines {
					if err := p.Produce(ctx, driver.Record{Stream: names[i%streams], Value: value}, done); err != nil {
						b.Error(err)
						return
					}
				}
			}()
		}
		wg.Wait()
		if err := p.Flush(ctx); err != nil || failed.Load() > 0 {
			b.Fatal(err, failed.Load())
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
		b.ReportMetric(float64(processCPU()-cpu)/float64(b.N), "cpu-ns/op")
	}
	raw := func(b *testing.B, goroutines int) {
		r.Call(b, 1, "FLUSHALL")
		rc, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{r.Addr(1)}, DisableCache: true})
		if err != nil {
			b.Fatal(err)
		}
		defer rc.Close()
		text := rueidis.BinaryString(value)
		ctx := context.Background()
		b.ReportAllocs()
		cpu := processCPU()
		b.ResetTimer()
		var wg sync.WaitGroup
		for g := range goroutines {
			wg.Add(1)
			go func() {
				defer wg.Done()
				cmds := make([]rueidis.Completed, 0, 200)
				for i := g; i < b.N; i += goroutines {
					cmds = append(cmds, rc.B().Xadd().Key("stream0").Id("*").FieldValue().FieldValue("msg", text).Build())
					if len(cmds) == cap(cmds) || i+goroutines >= b.N {
						for _, r := range rc.DoMulti(ctx, cmds...) {
							if err := r.Error(); err != nil {
								b.Error(err)
								return
							}
						}
						cmds = cmds[:0]
					}
				}
			}()
		}
		wg.Wait()
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
		b.ReportMetric(float64(processCPU()-cpu)/float64(b.N), "cpu-ns/op")
	}
	b.Run("rueidis-1", func(b *testing.B) { raw(b, 1) })
	b.Run("ours-1", func(b *testing.B) { ours(b, 1, 1, "", driver.ProducerConfig{}) })
	b.Run("rueidis-4", func(b *testing.B) { raw(b, 4) })
	b.Run("ours-4", func(b *testing.B) { ours(b, 4, 1, "", driver.ProducerConfig{}) })
	b.Run("ours-4-sharded", func(b *testing.B) { ours(b, 4, 1, "/?shards=4", driver.ProducerConfig{}) })
	b.Run("ours-4-10-streams", func(b *testing.B) { ours(b, 4, 10, "", driver.ProducerConfig{}) })
	b.Run("ours-4-100-streams", func(b *testing.B) { ours(b, 4, 100, "", driver.ProducerConfig{}) })
	b.Run("ours-4-1000-streams", func(b *testing.B) { ours(b, 4, 1000, "", driver.ProducerConfig{}) })
	b.Run("ours-1-exactly", func(b *testing.B) { ours(b, 1, 1, "", driver.ProducerConfig{Durability: driver.ExactlyOnce}) })
	b.Run("ours-1-at-most", func(b *testing.B) { ours(b, 1, 1, "", driver.ProducerConfig{Durability: driver.AtMostOnce}) })
}
