package memory

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

// A member that joins while its group is deleted is a member of a group that there
// is, and what is stored then is stored.
func TestDeleteGroupWhileItIsJoined(t *testing.T) {
	for name, o := range map[string]Options{"positions": {}, "verdicts": {AckTimeout: time.Minute}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := NewStore()
			d := store.Driver(o).(*client)
			ctx := t.Context()
			if err := d.CreateStream(ctx, driver.StreamSpec{Name: "s"}); err != nil {
				t.Fatal(err)
			}
			at := []driver.Position{{Shard: driver.Shard{Stream: "s"}}}
			events := driver.Events{
				Assigned: func(context.Context, []driver.Position) (uint64, []driver.Position, error) { return 1, at, nil },
				Revoked:  func(context.Context, []driver.Shard, bool) {},
			}
			for range 3000 {
				if err := d.SetPositions(ctx, "g", at); err != nil {
					t.Fatal(err)
				}
				var both sync.WaitGroup
				both.Go(func() { _ = d.DeleteGroup(ctx, "g") }) // it may be too late
				c, err := d.Consumer(ctx, driver.ConsumerConfig{Group: "g", Streams: []string{"s"}, Start: driver.Earliest, Events: events})
				both.Wait()
				if err != nil {
					t.Fatal(err)
				}
				in := store.groupInfo("g")
				if in.Err != nil || len(in.Members) != 1 {
					t.Errorf("the group is %+v, want it to have its member", in)
				}
				if err := c.Close(ctx); err != nil || t.Failed() {
					t.Fatal(err)
				}
			}
		})
	}
}
