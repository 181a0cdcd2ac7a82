package memory

import (
	"context"
	"errors"
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
		Assigned: func(context.Context, []driver.Position) (uint64, []driver.Position, error) {
			close(assigned)
			return 1, nil, nil
		},
		Revoked: func(context.Context, []driver.Shard, bool) {},
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

// A meanwhile is a context in which something happens when it is asked for the
// second time.
type meanwhile struct {
	context.Context
	asked  int
	happen func()
}

func (c *meanwhile) Err() error {
	if c.asked++; c.asked == 2 {
		c.happen()
	}
	return nil
}

// A group that is moved while one of its streams is deleted does not get to know
// that stream again.
func TestMoveAGroupWhileAStreamIsDeleted(t *testing.T) {
	for name, o := range map[string]Options{"positions": {}, "verdicts": {AckTimeout: time.Minute}} {
		t.Run(name, func(t *testing.T) {
			d := NewStore().Driver(o).(*client)
			var at []driver.Position
			for _, s := range []string{"gone", "kept"} {
				if err := d.CreateStream(t.Context(), driver.StreamSpec{Name: s}); err != nil {
					t.Fatal(err)
				}
				at = append(at, driver.Position{Shard: driver.Shard{Stream: s}, Next: driver.SeqOf(1)})
			}
			ctx := &meanwhile{Context: t.Context(), happen: func() {
				if err := d.DeleteStream(t.Context(), "gone"); err != nil {
					t.Error(err)
				}
			}}
			if err := d.SetPositions(ctx, "g", at); !errors.Is(err, driver.ErrNotFound) {
				t.Errorf("move: %v, want ErrNotFound", err)
			}
			if in := d.store.groupInfo("g"); len(in.Positions) > 0 {
				t.Errorf("the group knows %+v", in.Positions)
			}
		})
	}
}

// A member that leaves still commits while Revoked runs, and would overwrite what
// was set meanwhile.
func TestMoveAGroupWhileItsLastMemberLeaves(t *testing.T) {
	d := NewStore().Driver(Options{}).(*client)
	ctx := t.Context()
	if err := d.CreateStream(ctx, driver.StreamSpec{Name: "s"}); err != nil {
		t.Fatal(err)
	}
	shard := driver.Shard{Stream: "s"}
	at := func(n uint64) []driver.Position { return []driver.Position{{Shard: shard, Next: driver.SeqOf(n)}} }
	assigned := make(chan struct{})
	var c driver.Consumer
	events := driver.Events{
		Assigned: func(context.Context, []driver.Position) (uint64, []driver.Position, error) {
			close(assigned)
			return 1, nil, nil
		},
		Revoked: func(context.Context, []driver.Shard, bool) {
			for what, err := range map[string]error{
				"move":             d.SetPositions(ctx, "g", at(0)),
				"forget positions": d.DeletePositions(ctx, "g", []driver.Shard{shard}),
				"delete":           d.DeleteGroup(ctx, "g"),
			} {
				if !errors.Is(err, driver.ErrFenced) {
					t.Errorf("%s: %v, want ErrFenced", what, err)
				}
			}
			if err := c.(driver.Committer).Commit(ctx, at(7)); err != nil {
				t.Errorf("the last commit: %v", err)
			}
		},
	}
	c, err := d.Consumer(ctx, driver.ConsumerConfig{Group: "g", Streams: []string{"s"}, Events: events})
	if err != nil {
		t.Fatal(err)
	}
	<-assigned
	if err := c.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if err := d.SetPositions(ctx, "g", at(3)); err != nil {
		t.Errorf("move when it has left: %v", err)
	}
}
