package redis

import (
	"errors"
	"testing"

	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

func partly(t *testing.T, what string, err error, want ...error) {
	t.Helper()
	var some *driver.PartialError
	if !errors.As(err, &some) || len(some.Errs) != len(want) {
		t.Fatalf("%s: got %v, want an error about %d things", what, err, len(want))
	}
	for i := range want {
		if !errors.Is(some.Errs[i], want[i]) {
			t.Errorf("%s: the error of %d is %v, want %v", what, i, some.Errs[i], want[i])
		}
	}
}

// Of many things the error says which failed, and the others are done.
func TestAdministrationInPart(t *testing.T) {
	t.Parallel()
	s := redistest.ForTest(t, redistest.Options{Users: map[string]string{
		"half": "on >x %R~* ~mine* +@all", "ann": "on >y"}})
	all, half := open(t, s.URL(), Options{}), open(t, s.URL(), Options{User: "half", Password: "x"})
	ctx := t.Context()
	for _, k := range []string{"mine", "theirs"} {
		run(t, all, "XADD", k, "1-0", "msg", "x")
		run(t, all, "XADD", k, "2-0", "msg", "x")
	}
	at := []driver.Position{{Shard: driver.Shard{Stream: "theirs"}, Next: driver.Seq{Hi: 2}}, {Shard: driver.Shard{Stream: "mine"}, Next: driver.Seq{Hi: 2}}}
	_, err := half.Trim(ctx, at)
	partly(t, "trim", err, driver.ErrDenied, nil)
	if got := s.Call(t, 1, "XLEN", "mine") + s.Call(t, 1, "XLEN", "theirs"); got != "12" {
		t.Errorf("mine and theirs have %s, want 1 and 2", got)
	}
	partly(t, "move", half.SetPositions(ctx, "g", at), driver.ErrDenied, nil)
	if err := all.SetPositions(ctx, "g", at); err != nil {
		t.Fatal(err)
	}
	partly(t, "forget", half.DeletePositions(ctx, "g", []driver.Shard{at[1].Shard, at[0].Shard}), nil, driver.ErrDenied)

	may := func(user, stream string, deny bool) driver.AccessRule {
		return driver.AccessRule{User: user, Kind: "stream", Name: stream, Operation: "read", Deny: deny}
	}
	partly(t, "grant", all.Grant(ctx, []driver.AccessRule{may("ann", "mine", false), may("nobody", "mine", false)}), driver.ErrNotTried, driver.ErrNotFound)
	if err := all.Grant(ctx, []driver.AccessRule{may("ann", "mine", false)}); err != nil {
		t.Fatal(err)
	}
	gone, err := all.Revoke(ctx, []driver.AccessRule{may("ann", "mine", true), may("ann", "mine", false)})
	partly(t, "revoke", err, errors.ErrUnsupported, nil)
	if len(gone) != 1 {
		t.Errorf("%+v are gone, want one", gone)
	}
}
