package redis

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

// producerForTest opens a producer of its own connection, which ends with the
// test.
func producerForTest(t testing.TB, url string, pc driver.ProducerConfig) *producer {
	t.Helper()
	p, err := open(t, url, Options{}).Producer(t.Context(), pc)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := p.Close(ctx); err != nil {
			t.Logf("close the producer: %v", err)
		}
	})
	return p.(*producer)
}

func TestProduce(t *testing.T) {
	r := redistest.ForTest(t, redistest.Options{})
	for _, d := range []driver.Durability{driver.AtLeastOnce, driver.AtMostOnce, driver.ExactlyOnce} {
		t.Run(d.String(), func(t *testing.T) {
			r.Call(t, 1, "FLUSHALL")
			p := producerForTest(t, r.URL(), driver.ProducerConfig{Durability: d})
			const n = 1000
			var got []int
			var last driver.Receipt
			for i := range n {
				err := p.Produce(t.Context(), driver.Record{Stream: "s", Value: fmt.Appendf(nil, "v%d", i)}, func(rc driver.Receipt, err error) {
					if err != nil {
						t.Errorf("record %d: %v", i, err)
					}
					got = append(got, i)
					last = rc
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			if err := p.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			for i := range got {
				if got[i] != i {
					t.Fatalf("done number %d was of record %d", i, got[i])
				}
			}
			if len(got) != n {
				t.Fatalf("%d records are settled, want %d", len(got), n)
			}
			t.Logf("%+v", last)
			if err := p.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := r.Call(t, 1, "XLEN", "s"); got != "1000" {
				t.Fatalf("XLEN %s, want %d", got, n)
			}
			values := strings.Fields(r.Call(t, 1, "XRANGE", "s", "-", "+"))
			for i := range n {
				if want := fmt.Sprintf("v%d", i); values[3*i+2] != want {
					t.Fatalf("entry %d is %v, want %s", i, values[3*i:3*i+3], want)
				}
			}
		})
	}
}
