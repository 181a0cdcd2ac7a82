package redis

import (
	"context"
	"errors"
	"testing"

	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

// Counted from either end, over more than a page, over entries that are gone,
// and past both ends.
func TestNth(t *testing.T) {
	r := redistest.ForTest(t, redistest.Options{})
	c := open(t, r.URL(), Options{})
	var commands [][]string
	id := func(i int) driver.Seq { return driver.Seq{Hi: uint64(1000 + i/3), Lo: uint64(i % 3)} }
	for i := range 1200 {
		commands = append(commands, []string{"XADD", "s", idText(id(i)), "msg", "x"})
	}
	commands = append(commands, []string{"XDEL", "s", idText(id(1))})
	if _, err := r.Pipe(1, commands...); err != nil {
		t.Fatal(err)
	}
	var n interface {
		Nth(context.Context, driver.Shard, int64) (driver.Seq, error)
	}
	if !c.As(&n) {
		t.Fatal("it does not count")
	}
	for in, want := range map[int64]driver.Seq{
		0: id(0), 1: id(2), 498: id(499), 499: id(500), 500: id(501), 1198: id(1199), 1199: id(1199).Succ(), 5000: id(1199).Succ(),
		-1: id(1199), -2: id(1198), -500: id(700), -501: id(699), -1198: id(2), -1199: id(0), -1200: id(0), -5000: id(0),
	} {
		if got, err := n.Nth(t.Context(), driver.Shard{Stream: "s"}, in); err != nil || got != want {
			t.Errorf("%d: %v, %v, want %v", in, got, err, want)
		}
	}
	for _, s := range []driver.Shard{{Stream: "none"}, {Stream: "s", Index: 3}} {
		if _, err := n.Nth(t.Context(), s, 1); !errors.Is(err, driver.ErrNotFound) {
			t.Errorf("%v: %v", s, err)
		}
	}
}
