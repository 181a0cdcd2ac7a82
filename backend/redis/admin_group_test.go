package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/rueidis"

	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

func describeGroup(t *testing.T, c *client, name string) driver.GroupInfo {
	t.Helper()
	infos, err := c.DescribeGroups(t.Context(), []string{name})
	if err != nil {
		t.Fatal(err)
	}
	return infos[0]
}

// witness has the node that has a key execute a command about it.
func witness(t *testing.T, s *redistest.Servers, key string, args ...string) string {
	t.Helper()
	node, err := s.Master(int(slot(key)))
	if err != nil {
		t.Fatal(err)
	}
	return s.Call(t, node, args...)
}

func groupsAreMergedOverStreamsAndShards(t *testing.T, s *redistest.Servers, kind string) {
	c := open(t, s.URL(), Options{})
	for _, k := range []string{"news:0", "news:1", "news:2", "mail", "news"} {
		for i := range 10 {
			run(t, c, "XADD", k, strconv.Itoa(i+1)+"-0", "msg", "x")
		}
	}
	for _, k := range []string{"news:0", "news:1", "mail", "news"} {
		run(t, c, "XGROUP CREATE", k, "work", "0")
	}
	run(t, c, "XGROUP CREATE", "mail", "other", "$")
	run(t, c, "XGROUP CREATE", "news", "hidden", "$")
	run(t, c, "XREADGROUP GROUP work a COUNT 4 STREAMS", "news:0", ">")
	run(t, c, "XREADGROUP GROUP work b COUNT 1 STREAMS", "news:0", ">")
	run(t, c, "XREADGROUP GROUP work a COUNT 2 STREAMS", "mail", ">")
	run(t, c, "XACK", "news:0", "work", "1-0", "2-0")

	if d := cmp.Diff([]string{"hidden", "other", "work"}, groupNames(t, c)); d != "" {
		t.Errorf("groups (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"work"}, groupNames(t, c, "news")); d != "" {
		t.Errorf("groups of news (-want +got):\n%s", d)
	}
	for _, err := range c.GroupNames(t.Context(), []string{"mail", "missing"}) {
		if err != nil && !errors.Is(err, driver.ErrNotFound) {
			t.Errorf("groups of a missing stream: %v", err)
		}
	}
	g := describeGroup(t, c, "work")
	at := func(stream string, shard int32, ms uint64, member string, behind, pending int64) driver.GroupPosition {
		p := driver.GroupPosition{Position: driver.Position{Shard: driver.Shard{Stream: stream, Index: shard}}, Member: member, Behind: driver.Count{N: behind}, Pending: pending}
		if ms > 0 {
			p.Next = driver.Seq{Hi: ms, Lo: 1}
		}
		return p
	}
	want := driver.GroupInfo{Name: "work", State: "stable", Kind: "stream", Positions: []driver.GroupPosition{
		at("mail", 0, 2, "a", 8, 2), at("news", 0, 5, "", 5, 3), at("news", 1, 0, "", 10, 0),
	}}
	members := g.Members
	g.Members = nil
	if d := cmp.Diff(want, g); d != "" {
		t.Errorf("work (-want +got):\n%s", d)
	}
	if len(members) != 2 || members[0].ID != "a" || members[0].Pending != 4 || members[1].ID != "b" || members[1].Pending != 1 || members[0].Idle > time.Minute {
		t.Errorf("members: got %+v", members)
	}
	for _, p := range g.Positions {
		key := p.Stream
		if key == "news" {
			key += ":" + strconv.Itoa(int(p.Index))
		}
		if says := witness(t, s, key, "XINFO", "GROUPS", key); !strings.Contains(strings.ReplaceAll(says, "\n", " "), fmt.Sprintf("lag %d", p.Behind.N)) {
			t.Errorf("%v: behind %d; redis says %q", p.Shard, p.Behind.N, says)
		}
	}
	if g := describeGroup(t, c, "other"); g.State != "empty" || len(g.Members) != 0 || g.Positions[0].Behind.N != 0 {
		t.Errorf("other: got %+v", g)
	}
	if g := describeGroup(t, c, "missing"); !errors.Is(g.Err, driver.ErrNotFound) {
		t.Errorf("missing: got %+v, want ErrNotFound", g)
	}
}

// membersThatWaitAreSeen: Redis 7.0 knows nothing of a consumer that waits
// and was never given anything.
func membersThatWaitAreSeen(t *testing.T, s *redistest.Servers, kind string) {
	c := open(t, s.URL(), Options{ClientName: "tester"})
	run(t, c, "XADD", "news", "1-0", "msg", "x")
	k, err := c.Consumer(t.Context(), driver.ConsumerConfig{Streams: []string{"news"}, Group: "gr p/1"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			_, _ = k.Fetch(ctx, nil)
		}
	}()
	admin := open(t, s.URL(), Options{})
	var g driver.GroupInfo
	until(t, "the member is seen", func() bool {
		g = describeGroup(t, admin, "gr p/1")
		return len(g.Members) == 1 && g.Members[0].Client != ""
	})
	if m := g.Members[0]; g.State != "stable" || !strings.HasPrefix(m.ID, memberPrefix) || m.Client != "tester" || m.Host != "127.0.0.1" || m.Pending != 0 {
		t.Errorf("got %+v", g)
	}
	for what, err := range map[string]error{
		"the group":     admin.DeleteGroup(t.Context(), "gr p/1"),
		"its positions": admin.DeletePositions(t.Context(), "gr p/1", []driver.Shard{{Stream: "news"}}),
	} {
		if !errors.Is(err, driver.ErrFenced) || !strings.Contains(err.Error(), g.Members[0].ID) {
			t.Errorf("%s is deleted under a member: got %v, want ErrFenced", what, err)
		}
	}
	stop()
	<-done
	if err := k.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	until(t, "the member has left", func() bool { return len(describeGroup(t, admin, "gr p/1").Members) == 0 })
	if err := admin.DeleteGroup(t.Context(), "gr p/1"); err != nil {
		t.Fatal(err)
	}
	if got := witness(t, s, "news", "XINFO", "GROUPS", "news"); got != "" {
		t.Errorf("redis still has %q", got)
	}
	if err := admin.DeleteGroup(t.Context(), "gr p/1"); !errors.Is(err, driver.ErrNotFound) {
		t.Errorf("once more: got %v, want ErrNotFound", err)
	}
}

func TestDeleteGroupOfOthers(t *testing.T) {
	s := redistest.ForTest(t, redistest.Options{})
	c := open(t, s.URL(), Options{AckTimeout: time.Hour})
	for _, k := range []string{"a", "b", "c"} {
		run(t, c, "XADD", k, "1-0", "msg", "x")
		run(t, c, "XGROUP CREATE", k, "g", "0")
	}
	run(t, c, "XREADGROUP GROUP g m STREAMS", "c", ">")
	err := c.DeleteGroup(t.Context(), "g")
	if !errors.Is(err, driver.ErrFenced) || !strings.Contains(err.Error(), "m was heard of") {
		t.Errorf("got %v, want ErrFenced that says why", err)
	}
	for _, k := range []string{"a", "b", "c"} {
		if got := s.Call(t, 1, "XINFO", "GROUPS", k); !strings.Contains(got, "name\ng") {
			t.Errorf("nothing was to be deleted of %s: %q", k, got)
		}
	}
	if err := c.DeletePositions(t.Context(), "g", []driver.Shard{{Stream: "a"}}); err != nil {
		t.Error(err)
	}
	if got := describeGroup(t, c, "g"); len(got.Positions) != 2 {
		t.Errorf("got %+v, want b and c", got.Positions)
	}
	if err := c.DeletePositions(t.Context(), "g", []driver.Shard{{Stream: "a"}}); !errors.Is(err, driver.ErrNotFound) {
		t.Errorf("once more: got %v, want ErrNotFound", err)
	}
	// Redis says of a member that it was silent for so long.
	c = open(t, s.URL(), Options{AckTimeout: time.Second})
	until(t, "the member is taken for dead", func() bool { return describeGroup(t, c, "g").State == "idle" })
	if err := c.DeleteGroup(t.Context(), "g"); err != nil {
		t.Error(err)
	}
	if got := groupNames(t, c); len(got) != 0 {
		t.Errorf("left: %q", got)
	}
}

func setPositions(t *testing.T, s *redistest.Servers, kind string) {
	c := open(t, s.URL(), Options{})
	const n = 5000
	for _, k := range []string{"news:0", "news:1"} {
		numbered(t, c, k, n)
		run(t, c, "XTRIM", k, "MAXLEN", strconv.Itoa(n-1000))
	}
	shard := func(i int32) driver.Shard { return driver.Shard{Stream: "news", Index: i} }
	for _, at := range []struct {
		next   driver.Seq
		behind int64
	}{
		{driver.Seq{}, 4000},
		{driver.Seq{Hi: 1001}, 4000},                // the front
		{driver.Seq{Hi: 1500}, 3501},                // counted from the front
		{driver.Seq{Hi: 4900, Lo: 1}, 100},          // from the end
		{driver.Seq{Hi: n, Lo: 1}, 0},               // the end
		{driver.Seq{Hi: 3000}, -1},                  // too far from both
		{driver.Seq{Hi: 1 << 50}, 0},                // beyond
		{driver.Seq{Hi: 2000, Lo: 1<<64 - 1}, 3000}, // between entries
		{driver.Seq{Hi: 1900, Lo: 0}, 3101},         // the first of a millisecond: the id before has the highest counter
	} {
		err := c.SetPositions(t.Context(), "g", []driver.Position{{Shard: shard(0), Next: at.next}, {Shard: shard(1), Next: at.next}})
		if err != nil {
			t.Fatal(err)
		}
		g := describeGroup(t, c, "g")
		for _, p := range g.Positions {
			if p.Next != at.next || p.Behind.N != at.behind {
				t.Errorf("at %v: got %v, %d behind; want %d", at.next, p.Next, p.Behind.N, at.behind)
			}
		}
		if len(g.Positions) != 2 {
			t.Fatalf("got %+v", g)
		}
		got := witness(t, s, "news:1", "XREADGROUP", "GROUP", "g", "w", "COUNT", "1", "STREAMS", "news:1", ">")
		want := ""
		if front := (driver.Seq{Hi: 1001}); at.next.Less(front) {
			want = idText(front)
		} else if at.next.Less(driver.Seq{Hi: n, Lo: 1}) {
			if want = idText(at.next); at.next.Lo > 0 {
				want = idText(driver.Seq{Hi: at.next.Hi + 1})
			}
		}
		if !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("at %v: redis delivers %q, want %s", at.next, got, want)
		}
	}
	for _, sh := range []driver.Shard{{Stream: "missing"}, shard(2)} {
		if err := c.SetPositions(t.Context(), "g2", []driver.Position{{Shard: shard(0)}, {Shard: sh}}); !errors.Is(err, driver.ErrNotFound) {
			t.Errorf("%v: got %v, want ErrNotFound", sh, err)
		}
	}
	if got := groupNames(t, c); len(got) != 1 {
		t.Errorf("groups %q: nothing was to be made", got)
	}
}

// numbered adds n entries 1-0, 2-0 and so on.
func numbered(t *testing.T, c *client, key string, n int) {
	t.Helper()
	rc, err := c.connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var all []rueidis.Completed
	for i := range n {
		all = append(all, rc.B().Xadd().Key(key).Id(strconv.Itoa(i+1)+"-0").FieldValue().FieldValue("msg", "x").Build())
	}
	answers, err := c.askAll(t.Context(), rc, all)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range answers {
		if err := a.Error(); err != nil {
			t.Fatal(err)
		}
	}
}
