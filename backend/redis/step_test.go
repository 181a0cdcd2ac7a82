package redis

import (
	"errors"
	"testing"

	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

// Counted from either end, over more than a page, over entries that are gone,
// and past both ends.
func TestStep(t *testing.T) {
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
	start, end, far := id(0), id(1199).Succ(), driver.Seq{Hi: 1 << 40}
	for from, steps := range map[driver.Seq]map[int64]driver.Seq{
		start: {0: id(0), 1: id(2), 498: id(499), 499: id(500), 500: id(501), 1198: id(1199), 1199: end, 5000: end, -1: id(0)},
		end:   {-1: id(1199), -2: id(1198), -500: id(700), -501: id(699), -1198: id(2), -1199: id(0), -1200: id(0), -5000: id(0), 1: end},
		// Between two entries, at one, at one that is gone, and outside of all.
		id(10).Succ().Succ().Succ(): {1: id(13), -1: id(11)},
		id(700):                     {1: id(701), -1: id(699), 499: id(1199), 500: end, -600: id(100)},
		id(1):                       {1: id(3), -1: id(0)},
		{}:                          {1: id(2), -1: id(0)},
		far:                         {1: end, -1: id(1199)},
	} {
		for n, want := range steps {
			if got, err := c.Step(t.Context(), driver.Position{Shard: driver.Shard{Stream: "s"}, Next: from}, n); err != nil || got != want {
				t.Errorf("%d from %v: %v, %v, want %v", n, from, got, err, want)
			}
		}
	}
	for _, s := range []driver.Shard{{Stream: "none"}, {Stream: "s", Index: 3}} {
		if _, err := c.Step(t.Context(), driver.Position{Shard: s}, 1); !errors.Is(err, driver.ErrNotFound) {
			t.Errorf("%v: %v", s, err)
		}
	}
}
