package memory

import (
	"errors"
	"testing"

	"github.com/seastreamer/seastreamer/driver"
)

// An owner that has the name alone has fenced those that shared it before: a
// claim of theirs must not take a shard back.
func TestAloneAfterShared(t *testing.T) {
	d := NewStore().Driver(Options{}).(driver.Atomic)
	at := []driver.Position{{Shard: driver.Shard{Stream: "in"}}}
	owner := func(shared bool) driver.Owner {
		o, err := d.Owner(t.Context(), driver.OwnerConfig{Name: "job", Shared: shared})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := o.Claim(t.Context(), at); err != nil {
			t.Fatal(err)
		}
		return o
	}
	old, alone := owner(true), owner(false)
	if _, err := old.Claim(t.Context(), at); !errors.Is(err, driver.ErrFenced) {
		t.Errorf("the earlier one claims with %v, want an error that is ErrFenced", err)
	}
	u, err := alone.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := u.Commit(t.Context(), []driver.Move{{Shard: at[0].Shard, To: driver.SeqOf(1)}}); err != nil {
		t.Errorf("the one that is alone commits with %v", err)
	}
}

// A unit is not said to be written where nobody will ever find it.
func TestUnitToADeletedStream(t *testing.T) {
	d := NewStore().Driver(Options{}).(*client)
	ctx := t.Context()
	if err := d.CreateStream(ctx, driver.StreamSpec{Name: "s"}); err != nil {
		t.Fatal(err)
	}
	o, err := d.Owner(ctx, driver.OwnerConfig{Name: "job"})
	if err != nil {
		t.Fatal(err)
	}
	at := driver.Position{Shard: driver.Shard{Stream: "in"}}
	if _, err := o.Claim(ctx, []driver.Position{at}); err != nil {
		t.Fatal(err)
	}
	commit := func(meanwhile func() error) error {
		u, err := o.Begin(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := u.Produce(ctx, driver.Record{Stream: "s", Value: []byte("v")}); err != nil {
			t.Fatal(err)
		}
		if err := meanwhile(); err != nil {
			t.Fatal(err)
		}
		return u.Commit(ctx, []driver.Move{{Shard: at.Shard, From: at.Next, To: driver.SeqOf(1)}})
	}
	if err := commit(func() error { return d.DeleteStream(ctx, "s") }); !errors.Is(err, driver.ErrAborted) {
		t.Errorf("Commit: %v, want ErrAborted", err)
	}
	if err := commit(func() error { return nil }); err != nil { // the same again, from the same position
		t.Errorf("Commit of the unit made anew: %v", err)
	}
	if b, err := d.Bounds(ctx, []string{"s"}); err != nil || b[driver.Shard{Stream: "s"}].Next != driver.SeqOf(1) {
		t.Errorf("bounds %v, %v, want one message", b, err)
	}
}
