package memory

import (
	"context"
	"testing"

	"github.com/seastreamer/seastreamer/driver"
)

// A Seek of before a shard was assigned may come while it is: what was assigned
// holds. One of after that beats what Assigned returns.
func TestASeekWhileAShardIsAssigned(t *testing.T) {
	for _, c := range []struct {
		name            string
		seek, gen, next uint64
	}{{"older", 4, 5, 1}, {"newer", 6, 6, 2}} {
		store := NewStore()
		if err := store.Create("s", Options{}); err != nil {
			t.Fatal(err)
		}
		d := store.Driver(Options{}).(*client)
		shards, err := store.shards([]string{"s"})
		if err != nil {
			t.Fatal(err)
		}
		p, err := d.Producer(t.Context(), driver.ProducerConfig{})
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if err := p.Produce(t.Context(), driver.Record{Stream: "s"}, func(driver.Receipt, error) {}); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		m := &consumer{d: d, shards: shards, wake: make(chan struct{}, 1), closing: make(chan struct{})}
		m.c.MaxBytes = 1 << 20
		m.c.Assigned = func(ctx context.Context, _ []driver.Position) (uint64, []driver.Position, error) {
			_, err := m.Seek(ctx, c.seek, map[driver.Shard]driver.Start{shards[0].id: driver.From(driver.SeqOf(2))})
			return 5, nil, err
		}
		if err := m.assign(t.Context(), shards, []driver.Position{{Shard: shards[0].id, Next: driver.SeqOf(1)}}); err != nil {
			t.Fatal(err)
		}
		got, err := m.Fetch(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if got[0].Gen() != c.gen || got[0].Seq(0) != driver.SeqOf(c.next) {
			t.Errorf("%s: what comes is of generation %d from %v, want %d from %d", c.name, got[0].Gen(), got[0].Seq(0), c.gen, c.next)
		}
	}
}
