//go:build linux || darwin

package file

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

// The benchmarks compare with a plain copy of as many bytes, in files of the
// same size, by write and read in pieces of a quarter of a megabyte.
const benchMessages = 1 << 18

func benchDriver(b testing.TB, o Options) (*fileDriver, string) {
	dir := b.TempDir()
	d, err := OpenDriver(context.Background(), dir, o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { d.Close(context.Background()) })
	return d.(*fileDriver), dir
}

func produceAll(b testing.TB, d driver.Driver, stream string, n, size int) {
	ctx := context.Background()
	p, err := d.Producer(ctx, driver.ProducerConfig{})
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close(ctx)
	v := make([]byte, size)
	var mu sync.Mutex
	var failed error
	done := func(_ driver.Receipt, err error) {
		if err != nil {
			mu.Lock()
			failed = err
			mu.Unlock()
		}
	}
	rec := driver.Record{Stream: stream, Key: []byte("a key 13 long"), Value: v}
	for range n {
		if err := p.Produce(ctx, rec, done); err != nil {
			b.Fatal(err)
		}
	}
	if err := p.Flush(ctx); err != nil {
		b.Fatal(err)
	}
	if failed != nil {
		b.Fatal(failed)
	}
}

func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{256, 1024} {
		b.Run(byteSize(size), func(b *testing.B) {
			b.SetBytes(int64(size) * benchMessages)
			b.ReportAllocs()
			var cpu time.Duration
			for b.Loop() {
				b.StopTimer()
				d, dir := benchDriver(b, Options{})
				produceAll(b, d, "s", 1, size) // creates the stream
				runtime.GC()
				cpu -= cpuTime()
				b.StartTimer()
				produceAll(b, d, "s", benchMessages, size)
				b.StopTimer()
				cpu += cpuTime()
				d.Close(context.Background())
				os.RemoveAll(dir)
				b.StartTimer()
			}
			perMessage(b, cpu)
		})
		b.Run(byteSize(size)+"/plain", func(b *testing.B) {
			b.SetBytes(int64(size) * benchMessages)
			dir := b.TempDir()
			plainFile(b, filepath.Join(dir, "from"), (size+20)*benchMessages)
			var cpu time.Duration
			for b.Loop() {
				cpu -= cpuTime()
				copyFile(b, filepath.Join(dir, "from"), filepath.Join(dir, "to"))
				cpu += cpuTime()
				b.StopTimer()
				os.Remove(filepath.Join(dir, "to"))
				b.StartTimer()
			}
			perMessage(b, cpu)
		})
	}
}

func BenchmarkRead(b *testing.B) {
	for _, size := range []int{256, 1024} {
		b.Run(byteSize(size), func(b *testing.B) {
			d, _ := benchDriver(b, Options{})
			produceAll(b, d, "s", benchMessages, size)
			b.SetBytes(int64(size) * benchMessages)
			b.ReportAllocs()
			cpu := -cpuTime()
			for b.Loop() {
				n := 0
				err := readStream(b, d, "s", func(m driver.Batch) error {
					for i := range m.Len() {
						n += len(m.Value(i)) + len(m.Key(i))
					}
					return nil
				})
				if err != nil || n != benchMessages*(size+13) {
					b.Fatal(n, err)
				}
			}
			perMessage(b, cpu+cpuTime())
		})
	}
}

// BenchmarkSeek opens a reader on a log of 64 segments and reads one block from
// somewhere in it.
func BenchmarkSeek(b *testing.B) {
	d, _ := benchDriver(b, Options{SegmentSize: 4 << 20})
	produceAll(b, d, "s", 1<<18, 1000)
	ctx := context.Background()
	bounds, err := d.Bounds(ctx, []string{"s"})
	if err != nil {
		b.Fatal(err)
	}
	end := bounds[driver.Shard{Stream: "s"}].Next.Lo
	root, err := d.store.open(false)
	if err != nil {
		b.Fatal(err)
	}
	first, err := timeOf(root, 0)
	if err != nil {
		b.Fatal(err)
	}
	last, err := timeOf(root, end-1)
	if err != nil {
		b.Fatal(err)
	}
	for what, start := range map[string]func(uint64) driver.Start{
		"sequence": func(n uint64) driver.Start { return driver.From(driver.SeqOf(n)) },
		"time": func(n uint64) driver.Start {
			return driver.Since(first.Add(last.Sub(first) * time.Duration(n) / time.Duration(end)))
		},
	} {
		b.Run(what, func(b *testing.B) {
			n := uint64(0)
			for b.Loop() {
				n = (n + 7919) % end
				l, err := openLog(root, driver.Shard{Stream: "s"})
				if err != nil {
					b.Fatal(err)
				}
				r := newReader(l, false)
				seq, err := r.resolve(start(n))
				if err != nil {
					b.Fatal(err)
				}
				r.seek(seq)
				m, err := r.read(1)
				if err != nil || m == nil {
					b.Fatal(m, err)
				}
				m.Release()
				r.close()
			}
		})
	}
}

func BenchmarkSend(b *testing.B) {
	for name, procs := range map[string]int{"one": 1, "many": 128} {
		b.Run(name, func(b *testing.B) {
			d, _ := benchDriver(b, Options{})
			ctx := context.Background()
			p, err := d.Producer(ctx, driver.ProducerConfig{})
			if err != nil {
				b.Fatal(err)
			}
			v := make([]byte, 256)
			b.ReportAllocs()
			var wg sync.WaitGroup
			b.ResetTimer()
			for i := range procs {
				wg.Go(func() {
					got := make(chan error, 1)
					done := func(_ driver.Receipt, err error) { got <- err }
					for range (b.N + i) / procs {
						if err := p.Produce(ctx, driver.Record{Stream: "s", Value: v}, done); err != nil {
							b.Error(err)
							return
						}
						if err := <-got; err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
		})
	}
}

// perMessage reports the time of a message by the clock, and of the processors:
// the former says little on a machine that does other things too.
// timeOf is the time of a message.
func timeOf(root *os.Root, seq uint64) (time.Time, error) {
	l, err := openLog(root, driver.Shard{Stream: "s"})
	if err != nil {
		return time.Time{}, err
	}
	r := newReader(l, false)
	defer r.close()
	r.seek(seq)
	m, err := r.read(1)
	if err != nil {
		return time.Time{}, err
	}
	return m.Time(0), nil
}

func perMessage(b *testing.B, cpu time.Duration) {
	n := float64(b.N) * benchMessages
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/n, "ns/message")
	b.ReportMetric(float64(cpu.Nanoseconds())/n, "cpu-ns/message")
}

func cpuTime() time.Duration {
	var r syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

func byteSize(n int) string {
	if n == 256 {
		return "256B"
	}
	return "1KiB"
}

func plainFile(b testing.TB, name string, n int) {
	if err := os.WriteFile(name, make([]byte, n), 0o600); err != nil {
		b.Fatal(err)
	}
}

// copyFile is what cp does without its short cuts: read and write.
func copyFile(b testing.TB, from, to string) {
	in, err := os.Open(from)
	if err != nil {
		b.Fatal(err)
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		b.Fatal(err)
	}
	defer out.Close()
	buf := make([]byte, 256<<10)
	for {
		n, err := in.Read(buf)
		if _, err := out.Write(buf[:n]); err != nil {
			b.Fatal(err)
		}
		if err == io.EOF {
			return
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}
