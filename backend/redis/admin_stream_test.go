package redis

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

// streamNames are all names, each once.
func streamNames(t *testing.T, c *client) []string {
	t.Helper()
	var names []string
	for name, err := range c.StreamNames(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	slices.Sort(names)
	if n := len(slices.Compact(slices.Clone(names))); n != len(names) {
		t.Errorf("names come twice: %q", names)
	}
	return names
}

func groupNames(t *testing.T, c *client, streams ...string) []string {
	t.Helper()
	var names []string
	for name, err := range c.GroupNames(t.Context(), streams) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// describe describes one stream, all of it.
func describe(t *testing.T, c *client, name string) driver.StreamInfo {
	t.Helper()
	infos, err := c.DescribeStreams(t.Context(), []string{name}, driver.DetailBounds|driver.DetailTimes|driver.DetailBytes|driver.DetailReplicas|driver.DetailSettings)
	if err != nil {
		t.Fatal(err)
	}
	return infos[0]
}

// streamNamesAreThoseOfDiscovery looks at what StreamNames makes of keys,
// and that discovery finds each name again.
func streamNamesAreThoseOfDiscovery(t *testing.T, s *redistest.Servers, kind string) {
	keys := []string{
		"bare", "both", "both:0", "both:1", "hole:0", "hole:2", "no:5", "no:x", "trades:0:0", "trades:0:1", "lead:00", ":7",
		"{tagged}", "{tagged}:0", "{tagged}:1", "{one}", "a{b}c:0", "a{b}c:3", "sh:{0}", "sh:{1}", "sh:{3}", "{cut}:4",
	}
	for i := range 1500 {
		keys = append(keys, "wide:"+strconv.Itoa(i))
	}
	c := open(t, s.URL(), Options{})
	for _, k := range keys {
		run(t, c, "XADD", k, "1-0", "msg", "x")
	}
	run(t, c, "SET", "text", "x")
	run(t, c, "HSET", "sea:progress:{job}", "at:in:0", "0-10")
	run(t, c, "SADD", "sea:shards:{job}", "in:0")
	for options, want := range map[string][]string{
		"hash_tag=none": {
			":7", "a{b}c", "a{b}c:3", "bare", "both", "hole", "hole:2", "lead:00", "no:5", "no:x", "sh:{0}", "sh:{1}", "sh:{3}",
			"trades:0:0", "trades:0:1", "wide", "{cut}:4", "{one}", "{tagged}",
		},
		"discover=scan": {
			":7", "a{b}c", "bare", "both", "hole", "lead:00", "no", "no:x", "sh:{0}", "sh:{1}", "sh:{3}",
			"trades:0:0", "trades:0:1", "wide", "{cut}", "{one}", "{tagged}",
		},
		"hash_tag=stream": {"a{b}c", "a{b}c:3", "cut:4", "one", "sh:{0}", "sh:{1}", "sh:{3}", "tagged"},
		"hash_tag=shard": {
			":7", "a{b}c", "a{b}c:3", "bare", "both", "hole", "lead:00", "no", "no:x", "sh", "sh:3", "wide", "{cut}:4", "{one}", "{tagged}",
		},
	} {
		c := open(t, with(s.URL(), options), Options{})
		got := streamNames(t, c)
		if options == "hash_tag=shard" { // keys name:N are no key of a stream there
			want = slices.DeleteFunc(want, func(s string) bool { return slices.Contains([]string{"hole", "no", "wide"}, s) })
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: names (-want +got):\n%s", options, d)
		}
		infos, err := c.DescribeStreams(t.Context(), got, driver.DetailBounds)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range infos {
			l, err := c.discover(t.Context(), i.Name)
			if err != nil {
				t.Fatal(err)
			}
			var shards []int32
			for _, s := range i.Shards {
				shards = append(shards, s.Index)
				if s.Messages != (driver.Count{N: 1}) || s.Bound != (driver.Bound{First: driver.Seq{Hi: 1}, Next: driver.Seq{Hi: 1, Lo: 1}}) {
					t.Errorf("%s: %q: got %v", options, i.Name, s)
				}
			}
			if d := cmp.Diff(l.shards, shards); d != "" || i.Err != nil || len(shards) == 0 {
				t.Errorf("%s: %q: %v; shards (-discovered +described):\n%s", options, i.Name, i.Err, d)
			}
		}
	}
}

func describeStreams(t *testing.T, s *redistest.Servers, kind string) {
	c := open(t, s.URL(), Options{})
	for i := range 3 {
		key := "news:" + strconv.Itoa(i)
		run(t, c, "XADD", key, "1000-0", "msg", "x", "ts", "500.25")
		run(t, c, "XADD", key, "2000-0", "msg", "x")
	}
	run(t, c, "XGROUP CREATE", "empty", "g", "0", "MKSTREAM")
	run(t, c, "SET", "text", "x")
	infos, err := c.DescribeStreams(t.Context(), []string{"empty", "missing", "text", "news"}, driver.DetailBounds|driver.DetailTimes|driver.DetailBytes|driver.DetailReplicas)
	if err != nil {
		t.Fatal(err)
	}
	if err := infos[1].Err; !errors.Is(err, driver.ErrNotFound) || !strings.Contains(err.Error(), `"missing"`) {
		t.Errorf("missing: got %v, want ErrNotFound", err)
	}
	if err := infos[2].Err; !errors.Is(err, driver.ErrInvalid) {
		t.Errorf("text: got %v, want ErrInvalid", err)
	}
	if e := infos[0].Shards[0]; infos[0].Err != nil || e.Messages != (driver.Count{}) || e.Bound != (driver.Bound{}) || !e.FirstTime.IsZero() || !e.LastTime.IsZero() {
		t.Errorf("empty: got %+v", infos[0])
	}
	news := infos[3]
	if news.Err != nil || len(news.Shards) != 3 || news.Internal {
		t.Fatalf("news: got %+v", news)
	}
	for i, sh := range news.Shards {
		if !sh.FirstTime.Equal(time.UnixMicro(500_250)) || !sh.LastTime.Equal(time.UnixMilli(2000)) {
			t.Errorf("shard %d: times %v and %v", i, sh.FirstTime, sh.LastTime)
		}
		key := "news:" + strconv.Itoa(i)
		node, err := s.Master(int(slot(key)))
		if err != nil {
			t.Fatal(err)
		}
		if want := s.Call(t, node, "MEMORY", "USAGE", key, "SAMPLES", "5"); fmt.Sprint(sh.Bytes) != want {
			t.Errorf("shard %d: %d bytes, redis says %s", i, sh.Bytes, want)
		}
		leader, replicas := s.Addr(node), 0
		switch kind {
		case "sentinel":
			replicas = 2
		case "cluster":
			leader, replicas = s.Call(t, node, "CLUSTER", "MYID"), 1
		}
		if sh.Leader != leader || len(sh.Replicas) != replicas+1 || sh.Replicas[0] != leader || len(sh.InSync) != replicas+1 {
			t.Errorf("shard %d: led by %q of %q, in sync %q; want %q and %d replicas", i, sh.Leader, sh.Replicas, sh.InSync, leader, replicas)
		}
	}
	// With less detail nothing is made up.
	infos, err = c.DescribeStreams(t.Context(), []string{"news"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, sh := range infos[0].Shards {
		if d := cmp.Diff(driver.ShardInfo{Index: sh.Index, Messages: driver.Count{N: -1}, Bytes: -1}, sh); d != "" {
			t.Errorf("without details (-want +got):\n%s", d)
		}
	}
}
