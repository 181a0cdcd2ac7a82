package bench

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/backend/memory"
	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/cli/exit"
	"github.com/seastreamer/seastreamer/internal/cli/factory"
	"github.com/seastreamer/seastreamer/internal/iostreams"
)

func TestHistogram(t *testing.T) {
	for i := range 60 * 32 {
		if got := bucket(lowest(i)); got != i {
			t.Fatalf("bucket %d begins at %d, which is in bucket %d", i, lowest(i), got)
		}
	}
	var h histogram
	for i := range 1000 {
		h.add(time.Duration(i+1) * time.Millisecond)
	}
	for _, c := range []struct {
		q    float64
		want time.Duration
	}{{0.5, 500 * time.Millisecond}, {0.99, 990 * time.Millisecond}, {1, time.Second}} {
		if got := h.quantile(c.q); got < c.want || float64(got) > 1.032*float64(c.want) {
			t.Errorf("quantile %v is %v, want %v and at most 3.2 %% more", c.q, got, c.want)
		}
	}
	if h.max() != time.Second {
		t.Errorf("max %v", h.max())
	}
}

func TestBucketsCoverAll(t *testing.T) {
	for range 100_000 {
		v := rand.Uint64() >> (1 + rand.IntN(63))
		i := bucket(v)
		if v < lowest(i) || i+1 < 60*32 && v >= lowest(i+1) {
			t.Fatalf("%d is in bucket %d, which begins at %d", v, i, lowest(i))
		}
	}
}

// A full driver takes only so many messages; the others fail.
type full struct {
	driver.Driver
	room  int
	after time.Duration // how long it takes until one has failed
}

type fullProducer struct {
	driver.Producer
	d       *full
	failing sync.WaitGroup
}

var errFull = errors.New("the disk is full")

func (d *full) Producer(ctx context.Context, c driver.ProducerConfig) (driver.Producer, error) {
	p, err := d.Driver.Producer(ctx, c)
	return &fullProducer{Producer: p, d: d}, err
}

func (p *fullProducer) Produce(ctx context.Context, r driver.Record, done func(driver.Receipt, error)) error {
	if p.d.room--; p.d.room >= 0 {
		return p.Producer.Produce(ctx, r, done)
	}
	p.failing.Go(func() {
		time.Sleep(p.d.after)
		done(driver.Receipt{}, errFull)
	})
	return nil
}

func (p *fullProducer) Close(ctx context.Context) error {
	p.failing.Wait()
	return p.Producer.Close(ctx)
}

// A message that cannot be written ends it, says why, and is not a success, in
// whichever form the result is printed. What was measured until then is.
func TestFailure(t *testing.T) {
	for _, c := range []struct {
		output string
		time   time.Duration
		run    func(*options, context.Context, *ss.Streamer, string) (result, error)
	}{{"text", 0, (*options).pub}, {"json", 0, (*options).pub}, {"text", 11 * time.Second, (*options).pub}, {"text", 0, (*options).e2e}} {
		synctest.Test(t, func(t *testing.T) {
			s := ss.New(&full{memory.NewStore().Driver(memory.Options{}), 100, c.time / 2}, ss.Options{})
			var out bytes.Buffer
			o := &options{f: &factory.Factory{IO: &iostreams.Streams{Out: &out}}, n: 1_000_000, rate: 10, size: 100, producers: 1, delivery: "at-least", output: c.output, time: c.time}
			r, err := c.run(o, context.Background(), s, "x")
			if err == nil {
				err = o.print(r)
			}
			if e := exit.From(err); e == nil || !errors.Is(err, errFull) || r.Messages > 0 && e.Code != exit.Incomplete {
				t.Errorf("%v, %+v", err, r)
			}
			if r.Messages > 0 && (r.Messages != 100 || r.Failed < 1 || r.Failed > 20 || !strings.Contains(out.String(), "100")) {
				t.Errorf("%+v, %s", r, &out)
			}
			if err := s.Close(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
}

// The time that pub and e2e take is that of their rate, and all that was sent is
// measured, also where the time is up before the count.
func TestRates(t *testing.T) {
	for _, c := range []struct {
		name string
		time time.Duration
		want int64
		run  func(*options, context.Context, *ss.Streamer, string) (result, error)
	}{
		{"pub", 0, 5000, (*options).pub},
		{"pub with a time", 2 * time.Second, 2000, (*options).pub},
		{"e2e", 0, 5000, (*options).e2e},
		{"e2e with a time", 2 * time.Second, 2000, (*options).e2e},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := ss.New(memory.NewStore().Driver(memory.Options{Shards: 3}), ss.Options{})
				o := &options{n: 5000, rate: 1000, size: 100, producers: 1, delivery: "at-least", time: c.time}
				r, err := c.run(o, context.Background(), s, "x")
				if err != nil {
					t.Fatal(err)
				}
				if r.Messages < c.want || r.Messages > c.want+2 {
					t.Errorf("%d messages, want %d", r.Messages, c.want)
				}
				if want := float64(c.want) / 1000; r.Seconds < want-0.01 || r.Seconds > want+0.01 {
					t.Errorf("%v seconds, want %v", r.Seconds, want)
				}
				if err := s.Close(context.Background()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
