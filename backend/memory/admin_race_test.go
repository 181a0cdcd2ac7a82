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

// A member may learn late that its stream is deleted: what it commits then is not
// known of the group any more.
func TestCommitToADeletedStream(t *testing.T) {
	d := NewStore().Driver(Options{}).(*client)
	ctx := t.Context()
	for _, s := range []string{"gone", "kept"} {
		if err := d.CreateStream(ctx, driver.StreamSpec{Name: s}); err != nil {
			t.Fatal(err)
		}
	}
	assigned := make(chan struct{})
	c, err := d.Consumer(ctx, driver.ConsumerConfig{Group: "g", Streams: []string{"gone", "kept"}, Events: driver.Events{
		Assigned: func(context.Context, []driver.Position) (uint64, []driver.Position, error) { close(assigned); return 1, nil, nil },
		Revoked:  func(context.Context, []driver.Shard, bool) {},
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(ctx)
	<-assigned
	if err := d.DeleteStream(ctx, "gone"); err != nil {
		t.Fatal(err)
	}
	kept := driver.Position{Shard: driver.Shard{Stream: "kept"}, Next: driver.SeqOf(7)}
	if err := c.(driver.Committer).Commit(ctx, []driver.Position{{Shard: driver.Shard{Stream: "gone"}, Next: driver.SeqOf(3)}, kept}); err != nil {
		t.Fatal(err)
	}
	if in := d.store.groupInfo("g"); len(in.Positions) != 1 || in.Positions[0].Position != kept {
		t.Errorf("the group knows %+v, want only %v", in.Positions, kept)
	}
}
