package kafka

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/seastreamer/seastreamer/driver"
)

// TestLossOfNothing: a broker that comes back with a shorter log has lost
// nothing of a reader's when all that was delivered is still there: franz-go
// stood past it only because of a marker or of aborted records.
func TestLossOfNothing(t *testing.T) {
	s := driver.Shard{Stream: "orders", Index: 3}
	for _, to := range []int64{226, 227} {
		m := &consumer{at: map[driver.Shard]*cursor{s: {id: s, next: 226, ready: true}}}
		err := m.failure(t.Context(), s, &kgo.ErrDataLoss{Topic: s.Stream, Partition: s.Index, ConsumedTo: 228, ResetTo: to})
		if err != nil || len(m.gaps) != 0 || m.at[s].next != 226 {
			t.Errorf("reset to %d of what was delivered up to 226: error %v, gaps %v, next %d; want no error, no gap, 226",
				to, err, m.gaps, m.at[s].next)
		}
	}
}

// TestLossOfBefore: what franz-go says of a shard that is just being assigned is
// about the last time that it was.
func TestLossOfBefore(t *testing.T) {
	cluster := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "s"))
	c := open(t, url(cluster.ListenAddrs(), ""), Options{})
	put(t, raw(t, cluster.ListenAddrs()), "a", "b")
	opened, failed := make(chan *consumer, 1), make(chan error, 1)
	loss := &kgo.ErrDataLoss{Topic: "s", ConsumedTo: 2, ResetTo: 0}
	k, err := c.Consumer(within(t), driver.ConsumerConfig{Streams: []string{"s"}, Group: "g", Start: driver.From(driver.SeqOf(1)), Events: driver.Events{
		Assigned: func(context.Context, []driver.Position) (uint64, []driver.Position, error) {
			m, ended := <-opened, make(chan struct{})
			go func() {
				defer close(ended)
				failed <- m.failure(t.Context(), shard("s", 0), loss)
			}()
			select {
			case <-ended:
			case <-time.After(patience / 2): // it waits for this to return
			}
			opened <- m
			return 1, nil, nil
		},
		Revoked: func(context.Context, []driver.Shard, bool) {},
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close(context.Background())
	opened <- k.(*member).consumer
	if err := <-failed; err != nil {
		t.Error(err)
	}
	got, err := k.Fetch(within(t), nil)
	if err != nil || len(got) != 1 || got[0].Seq(0) != driver.SeqOf(1) {
		t.Errorf("Fetch has %d batches, %v, want one from 1 on", len(got), err)
	}
}
