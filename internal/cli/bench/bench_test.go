package bench

import (
	"context"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/backend/memory"
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
