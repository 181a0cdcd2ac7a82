package redis

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

// has says for each key whether redis-cli sees a stream there, and how long.
func has(t *testing.T, s *redistest.Servers, keys ...string) map[string]string {
	t.Helper()
	m := map[string]string{}
	for _, k := range keys {
		n := master(t, s, k)
		if m[k] = cli(t, s, n, "TYPE", k); m[k] == "stream" {
			m[k] = cli(t, s, n, "XLEN", k) + cli(t, s, n, "XINFO", "GROUPS", k)
		}
	}
	return m
}

func createAndDelete(t *testing.T, s *redistest.Servers, _ string) {
	c := open(t, s.URL(), Options{})
	ctx := t.Context()
	for _, spec := range []driver.StreamSpec{{Name: "one"}, {Name: "four", Shards: 4}, {Name: "t:7", Shards: 1}} {
		if err := c.CreateStream(ctx, spec); err != nil {
			t.Fatal(err)
		}
		if err := c.CreateStream(ctx, spec); !errors.Is(err, driver.ErrExists) {
			t.Errorf("%s again: got %v, want ErrExists", spec.Name, err)
		}
	}
	want := map[string]string{"one": "0", "one:0": "none", "four": "none", "four:0": "0", "four:1": "0", "four:2": "0", "four:3": "0", "four:4": "none", "t:7": "0"}
	if d := cmp.Diff(want, has(t, s, "one", "one:0", "four", "four:0", "four:1", "four:2", "four:3", "four:4", "t:7")); d != "" {
		t.Errorf("keys (-want +got):\n%s", d)
	}
	for i, sh := range describe(t, c, "four").Shards {
		if sh.Index != int32(i) || sh.Bound != (driver.Bound{}) {
			t.Errorf("got %+v", sh)
		}
	}
	if err := c.AddShards(ctx, "four", 6); err != nil {
		t.Fatal(err)
	}
	if err := c.AddShards(ctx, "four", 6); err != nil {
		t.Errorf("as many as there are: %v", err)
	}
	if got := len(describe(t, c, "four").Shards); got != 6 {
		t.Errorf("%d shards, want 6", got)
	}
	if err := c.AddShards(ctx, "four", 5); !errors.Is(err, driver.ErrInvalid) {
		t.Errorf("fewer: got %v, want ErrInvalid", err)
	}
	if err := c.AddShards(ctx, "one", 2); !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "nobody would read that key") {
		t.Errorf("a bare key: got %v, want ErrUnsupported that says why", err)
	}
	if err := c.AddShards(ctx, "missing", 2); !errors.Is(err, driver.ErrNotFound) {
		t.Errorf("missing: got %v, want ErrNotFound", err)
	}

	// One of the keys is there already: then nothing is made.
	run(t, c, "SET", "half:2", "x")
	if err := c.CreateStream(ctx, driver.StreamSpec{Name: "half", Shards: 4}); !errors.Is(err, driver.ErrExists) {
		t.Errorf("half: got %v, want ErrExists", err)
	}
	want = map[string]string{"half:0": "none", "half:1": "none", "half:2": "string", "half:3": "none"}
	if d := cmp.Diff(want, has(t, s, "half:0", "half:1", "half:2", "half:3")); d != "" {
		t.Errorf("half (-want +got):\n%s", d)
	}

	age, n, forever := time.Hour, 2, time.Duration(-1)
	for _, set := range []driver.Settings{{MaxAge: &age}, {Replicas: &n}, {Native: map[string]*string{"x": nil}}} {
		if err := c.CreateStream(ctx, driver.StreamSpec{Name: "kept", Settings: set}); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%+v: got %v, want ErrUnsupported", set, err)
		}
		if err := c.SetStream(ctx, "one", set); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("set %+v: got %v, want ErrUnsupported", set, err)
		}
	}
	if err := c.SetStream(ctx, "one", driver.Settings{MaxAge: &age}); !strings.Contains(fmt.Sprint(err), "max_age") {
		t.Errorf("got %v, want the option", err)
	}
	if err := c.SetStream(ctx, "one", driver.Settings{MaxAge: &forever}); err != nil {
		t.Errorf("no limit is what Redis has: %v", err)
	}
	if err := c.SetStream(ctx, "kept", driver.Settings{}); !errors.Is(err, driver.ErrNotFound) {
		t.Errorf("kept must not exist: %v", err)
	}

	run(t, c, "XADD", "four", "1-0", "msg", "not read")
	for _, name := range []string{"four", "one", "t:7"} {
		if err := c.DeleteStream(ctx, name); err != nil {
			t.Fatal(err)
		}
	}
	want = map[string]string{"one": "none", "four": "1", "four:0": "none", "four:5": "none", "t:7": "none"}
	if d := cmp.Diff(want, has(t, s, "one", "four", "four:0", "four:5", "t:7")); d != "" {
		t.Errorf("deleted (-want +got):\n%s", d)
	}
	if err := c.DeleteStream(ctx, "one"); !errors.Is(err, driver.ErrNotFound) {
		t.Errorf("one again: got %v, want ErrNotFound", err)
	}
}

func trimAndSeek(t *testing.T, s *redistest.Servers, _ string) {
	c := open(t, s.URL(), Options{})
	ctx := t.Context()
	for _, k := range []string{"news:0", "news:1"} {
		numbered(t, c, k, 3000)
	}
	run(t, c, "XADD", "news:0", "5000-0", "msg", "x", "ts", "4000")
	shard := func(i int32) driver.Shard { return driver.Shard{Stream: "news", Index: i} }
	after, err := c.Trim(ctx, []driver.Position{{Shard: shard(0), Next: driver.Seq{Hi: 1234}}, {Shard: shard(1), Next: driver.Seq{Hi: 9999}}})
	if err != nil {
		t.Fatal(err)
	}
	want := []driver.Position{{Shard: shard(0), Next: driver.Seq{Hi: 1234}}, {Shard: shard(1), Next: driver.Seq{Hi: 3000, Lo: 1}}}
	if d := cmp.Diff(want, after); d != "" {
		t.Errorf("trimmed (-want +got):\n%s", d)
	}
	if d := cmp.Diff(map[string]string{"news:0": "1768", "news:1": "0"}, has(t, s, "news:0", "news:1")); d != "" {
		t.Errorf("left (-want +got):\n%s", d)
	}
	if got := cli(t, s, master(t, s, "news:0"), "XRANGE", "news:0", "-", "+", "COUNT", "1"); !strings.HasPrefix(got, "1234-0") {
		t.Errorf("redis-cli says that %q is first", got)
	}
	if _, err := c.Trim(ctx, []driver.Position{{Shard: shard(2)}}); !errors.Is(err, driver.ErrNotFound) {
		t.Errorf("a missing shard: got %v, want ErrNotFound", err)
	}

	for _, x := range []struct {
		how  driver.Start
		want [2]driver.Seq
	}{
		{driver.Earliest, [2]driver.Seq{{Hi: 1234}, {Hi: 3000, Lo: 1}}},
		{driver.Latest, [2]driver.Seq{{Hi: 5000, Lo: 1}, {Hi: 3000, Lo: 1}}},
		{driver.From(driver.Seq{Hi: 2000}), [2]driver.Seq{{Hi: 2000}, {Hi: 3000, Lo: 1}}},
		{driver.Since(time.UnixMilli(2500)), [2]driver.Seq{{Hi: 2500}, {Hi: 3000, Lo: 1}}},
		{driver.Since(time.UnixMilli(3500)), [2]driver.Seq{{Hi: 5000}, {Hi: 3000, Lo: 1}}},
		{driver.Since(time.UnixMilli(4001)), [2]driver.Seq{{Hi: 5000, Lo: 1}, {Hi: 3000, Lo: 1}}},
	} {
		got, err := c.Resolve(ctx, "news", x.how)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff([]driver.Position{{Shard: shard(0), Next: x.want[0]}, {Shard: shard(1), Next: x.want[1]}}, got); d != "" {
			t.Errorf("%v (-want +got):\n%s", x.how, d)
		}
	}
	if _, err := c.Resolve(ctx, "missing", driver.Earliest); !errors.Is(err, driver.ErrNotFound) {
		t.Errorf("missing: got %v, want ErrNotFound", err)
	}
	times, err := c.Times(ctx, []driver.Position{
		{Shard: shard(0)}, {Shard: shard(0), Next: driver.Seq{Hi: 2000, Lo: 1}}, {Shard: shard(0), Next: driver.Seq{Hi: 3000, Lo: 1}},
		{Shard: shard(0), Next: driver.Seq{Hi: 5000, Lo: 1}}, {Shard: shard(1)},
	})
	if err != nil {
		t.Fatal(err)
	}
	ms := func(n int64) time.Time { return time.UnixMilli(n) }
	if d := cmp.Diff([]time.Time{ms(1234), ms(2001), ms(4000), {}, {}}, times); d != "" {
		t.Errorf("times (-want +got):\n%s", d)
	}
}
