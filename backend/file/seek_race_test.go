//go:build linux || darwin

package file

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

// endsLater is a context that has ended when it is asked for the second time.
type endsLater struct {
	context.Context
	asked int
}

func (c *endsLater) Err() error {
	if c.asked++; c.asked > 1 {
		return context.Canceled
	}
	return nil
}

// A seek of several shards that fails leaves all of them where they are: the
// core goes on with the generation of before.
func TestASeekThatFailsMovesNothing(t *testing.T) {
	d, err := OpenDriver(t.Context(), t.TempDir(), Options{Shards: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close(context.Background())
	p, err := d.Producer(t.Context(), driver.ProducerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	to := map[driver.Shard]driver.Start{}
	for i := range int32(2) {
		if err := p.Produce(t.Context(), driver.Record{Stream: "s", Shard: driver.On(i)}, func(driver.Receipt, error) {}); err != nil {
			t.Fatal(err)
		}
		to[driver.Shard{Stream: "s", Index: i}] = driver.Latest
	}
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	c, err := d.Consumer(t.Context(), driver.ConsumerConfig{Streams: []string{"s"}, Start: driver.Earliest, Events: driver.Events{
		Assigned: func(context.Context, []driver.Position) (uint64, []driver.Position, error) { return 1, nil, nil },
		Revoked:  func(context.Context, []driver.Shard, bool) {},
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	if at, err := c.Seek(&endsLater{Context: t.Context()}, 2, to); !errors.Is(err, context.Canceled) {
		t.Fatalf("the seek moved %v (%v)", at, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for range 2 {
		got, err := c.Fetch(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got[0].Gen() != 1 {
			t.Errorf("what comes of %v is of generation %d, want 1", got[0].Shard(), got[0].Gen())
		}
	}
}
