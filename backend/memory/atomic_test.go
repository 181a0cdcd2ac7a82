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
