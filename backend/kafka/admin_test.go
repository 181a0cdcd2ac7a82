package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/seastreamer/seastreamer/driver"
)

// The same verbs are checked on Apache Kafka, with Kafka's own tools, in e2e.

func names(t testing.TB, seq func(func(string, error) bool)) []string {
	t.Helper()
	var got []string
	for n, err := range seq {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, n)
	}
	slices.Sort(got)
	return got
}

func describe(t testing.TB, c *client, stream string, d driver.Detail) driver.StreamInfo {
	t.Helper()
	infos, err := c.DescribeStreams(within(t), []string{stream}, d)
	if err == nil {
		err = infos[0].Err
	}
	if err != nil {
		t.Fatal(err)
	}
	return infos[0]
}

// putTimes sends values to a shard, each with a time of its own: start, start+1s, …
func putTimes(t testing.TB, c *client, s driver.Shard, start time.Time, n int) {
	t.Helper()
	cl, err := kgo.NewClient(c.options(kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for i := range n {
		r := &kgo.Record{Topic: s.Stream, Partition: s.Index, Value: fmt.Append(nil, i), Timestamp: start.Add(time.Duration(i) * time.Second)}
		if err := cl.ProduceSync(within(t), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAdminStreams(t *testing.T) {
	noLeak(t)
	k := fake(t, kfake.NumBrokers(3))
	c := open(t, url(k.ListenAddrs(), ""), Options{})
	age, most, compact := 36*time.Hour, int64(5<<20), false
	spec := driver.StreamSpec{Name: "news", Shards: 3, Settings: driver.Settings{MaxAge: &age, MaxBytes: &most, Compact: &compact, Replicas: new(3)}}
	if err := c.CreateStream(within(t), spec); err != nil {
		t.Fatal(err)
	}
	if err := c.CreateStream(within(t), spec); !errors.Is(err, driver.ErrExists) {
		t.Errorf("creating it again: %v, want ErrExists", err)
	}
	if got, want := names(t, c.StreamNames(within(t))), []string{"news"}; !slices.Equal(got, want) {
		t.Errorf("names %q, want %q", got, want)
	}
	start := time.UnixMilli(1700000000000)
	shard := driver.Shard{Stream: "news", Index: 1}
	putTimes(t, c, shard, start, 10)

	got := describe(t, c, "news", ^driver.Detail(0))
	if len(got.Shards) != 3 {
		t.Fatalf("%d shards, want 3", len(got.Shards))
	}
	s := got.Shards[1]
	if want := (driver.Bound{First: driver.SeqOf(0), Next: driver.SeqOf(10)}); s.Bound != want || s.Messages != (driver.Count{N: 10}) {
		t.Errorf("bound %v and count %v, want %v and 10", s.Bound, s.Messages, want)
	}
	if !s.FirstTime.Equal(start) || !s.LastTime.Equal(start.Add(9*time.Second)) {
		t.Errorf("times %v and %v", s.FirstTime, s.LastTime)
	}
	if s.Bytes <= 0 || got.Shards[0].Bytes != 0 {
		t.Errorf("bytes %d, and %d of an empty shard", s.Bytes, got.Shards[0].Bytes)
	}
	if s.Leader == "" || len(s.Replicas) != 3 || len(s.InSync) != 3 {
		t.Errorf("leader %q, replicas %q, in sync %q", s.Leader, s.Replicas, s.InSync)
	}
	if e := got.Shards[0]; !e.FirstTime.IsZero() || !e.LastTime.IsZero() || e.Messages.N != 0 {
		t.Errorf("an empty shard has %+v", e)
	}
	if got.Settings.MaxAge == nil || *got.Settings.MaxAge != age || got.Settings.MaxBytes == nil || *got.Settings.MaxBytes != most ||
		got.Settings.Compact == nil || *got.Settings.Compact || got.Settings.Replicas == nil || *got.Settings.Replicas != 3 {
		t.Errorf("settings %+v", got.Settings)
	}
	if i := slices.IndexFunc(got.Config, func(e driver.ConfigEntry) bool { return e.Name == "retention.ms" }); i < 0 || got.Config[i].Source != "stream" || got.Config[i].Value != "129600000" {
		t.Errorf("retention.ms is not among %v", got.Config)
	}

	if err := c.AddShards(within(t), "news", 5); err != nil {
		t.Error(err)
	}
	if err := c.AddShards(within(t), "news", 4); !errors.Is(err, driver.ErrInvalid) {
		t.Errorf("fewer shards: %v, want ErrInvalid", err)
	}
	if n := len(describe(t, c, "news", 0).Shards); n != 5 {
		t.Errorf("%d shards, want 5", n)
	}

	after, err := c.Trim(within(t), []driver.Position{{Shard: shard, Next: driver.SeqOf(4)}, {Shard: driver.Shard{Stream: "news"}, Next: driver.SeqOf(77)}})
	if want := []driver.Position{{Shard: shard, Next: driver.SeqOf(4)}, {Shard: driver.Shard{Stream: "news"}}}; err != nil || !cmp.Equal(after, want) {
		t.Errorf("trim said %v, %v, want %v", after, err, want)
	}
	if b := describe(t, c, "news", driver.DetailBounds).Shards[1].Bound; b.First != driver.SeqOf(4) {
		t.Errorf("after trim the bound is %v", b)
	}
	if err := c.DeleteStream(within(t), "news"); err != nil {
		t.Error(err)
	}
	infos, err := c.DescribeStreams(within(t), []string{"news", "no/name", "news"}, ^driver.Detail(0))
	if err != nil || !errors.Is(infos[0].Err, driver.ErrNotFound) || !errors.Is(infos[1].Err, driver.ErrInvalid) || !errors.Is(infos[2].Err, driver.ErrNotFound) {
		t.Errorf("after delete: %+v, %v", infos, err)
	}
	if err := c.DeleteStream(within(t), "news"); !errors.Is(err, driver.ErrNotFound) {
		t.Errorf("deleting it again: %v, want ErrNotFound", err)
	}
}

func TestAdminLookups(t *testing.T) {
	noLeak(t)
	k := fake(t, kfake.NumBrokers(3))
	c := open(t, url(k.ListenAddrs(), ""), Options{})
	if err := c.CreateStream(within(t), driver.StreamSpec{Name: "s", Shards: 2}); err != nil {
		t.Fatal(err)
	}
	start := time.UnixMilli(1700000000000)
	one := driver.Shard{Stream: "s", Index: 1}
	putTimes(t, c, one, start, 5)
	if _, err := c.Trim(within(t), []driver.Position{{Shard: one, Next: driver.SeqOf(2)}}); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		start driver.Start
		want  uint64 // in shard 1
	}{
		{driver.Earliest, 2}, {driver.Latest, 5}, {driver.From(driver.SeqOf(0)), 2}, {driver.From(driver.SeqOf(4)), 4},
		{driver.Since(start.Add(2500 * time.Millisecond)), 3}, {driver.Since(start.Add(time.Hour)), 5}, {driver.Since(time.Unix(1, 0)), 2},
	} {
		got, err := c.Resolve(within(t), "s", test.start)
		want := []driver.Position{{Shard: driver.Shard{Stream: "s"}}, {Shard: one, Next: driver.SeqOf(test.want)}}
		if test.start.At == driver.AtSeq {
			want[0].Next = test.start.Seq
		}
		if err != nil || !cmp.Equal(got, want) {
			t.Errorf("%v is %v, %v, want %v", test.start, got, err, want)
		}
	}
	var at []driver.Position
	for i := range uint64(7) {
		at = append(at, driver.Position{Shard: one, Next: driver.SeqOf(i)})
	}
	at = append(at, driver.Position{Shard: driver.Shard{Stream: "s"}}, driver.Position{Shard: one, Next: driver.MaxSeq})
	got, err := c.Times(within(t), at)
	second := func(n int) time.Time { return start.Add(time.Duration(n) * time.Second) }
	want := []time.Time{second(2), second(2), second(2), second(3), second(4), {}, {}, {}, {}}
	if err != nil || !slices.EqualFunc(got, want, time.Time.Equal) {
		t.Errorf("times %v, %v, want %v", got, err, want)
	}
	if _, err := c.Times(within(t), []driver.Position{{Shard: driver.Shard{Stream: "s", Index: 9}}}); !errors.Is(err, driver.ErrNotFound) {
		t.Errorf("the time of a shard that does not exist: %v, want ErrNotFound", err)
	}
	n, err := c.Count(within(t), []driver.Range{{Shard: one, From: driver.SeqOf(2), To: driver.SeqOf(5)}, {Shard: one, From: driver.SeqOf(5), To: driver.SeqOf(2)}})
	if err != nil || !cmp.Equal(n, []driver.Count{{N: 3}, {}}) {
		t.Errorf("counts %v, %v", n, err)
	}
}

func TestAdminGroups(t *testing.T) {
	noLeak(t)
	k := fake(t, kfake.NumBrokers(3))
	c := open(t, url(k.ListenAddrs(), ""), Options{})
	for _, s := range []string{"a", "b"} {
		if err := c.CreateStream(within(t), driver.StreamSpec{Name: s, Shards: 2}); err != nil {
			t.Fatal(err)
		}
	}
	at := []driver.Position{{Shard: driver.Shard{Stream: "a"}, Next: driver.SeqOf(7)}, {Shard: driver.Shard{Stream: "a", Index: 1}, Next: driver.SeqOf(0)}}
	if err := c.SetPositions(within(t), "g", at); err != nil {
		t.Fatal(err)
	}
	if err := c.SetPositions(within(t), "g", []driver.Position{{Shard: driver.Shard{Stream: "none"}}}); !errors.Is(err, driver.ErrNotFound) {
		t.Errorf("a position on a stream that does not exist: %v, want ErrNotFound", err)
	}
	member, err := kgo.NewClient(c.options(kgo.ConsumerGroup("busy"), kgo.ConsumeTopics("b"), kgo.DisableAutoCommit())...)
	if err != nil {
		t.Fatal(err)
	}
	defer member.Close()
	var g []driver.GroupInfo
	settled(within(t), func() bool {
		g, err = c.DescribeGroups(within(t), []string{"g", "busy", "none"})
		return err == nil && g[1].State == "stable"
	})
	if err != nil {
		t.Fatal(err)
	}
	var next []driver.Position
	for _, p := range g[0].Positions {
		next = append(next, p.Position)
		if p.Behind.N >= 0 || p.Member != "" {
			t.Errorf("position %+v", p)
		}
	}
	if g[0].State != "empty" || len(g[0].Members) != 0 || !cmp.Equal(next, at) || g[0].Err != nil {
		t.Errorf("the group that was made is %+v", g[0])
	}
	if g[1].State != "stable" || len(g[1].Members) != 1 || len(g[1].Members[0].Shards) != 2 || g[1].Members[0].Client != "sea-streamer" {
		t.Errorf("the group with a member is %+v", g[1])
	}
	if !errors.Is(g[2].Err, driver.ErrNotFound) {
		t.Errorf("a group that does not exist: %v, want ErrNotFound", g[2].Err)
	}
	for _, test := range []struct{ streams, want []string }{{nil, []string{"busy", "g"}}, {[]string{"a"}, []string{"g"}}, {[]string{"b"}, []string{"busy"}}, {[]string{"c"}, nil}} {
		if got := names(t, c.GroupNames(within(t), test.streams)); !slices.Equal(got, test.want) {
			t.Errorf("the groups of %q are %q, want %q", test.streams, got, test.want)
		}
	}
	b := []driver.Position{{Shard: driver.Shard{Stream: "b"}}}
	for what, err := range map[string]error{
		"moving it":       c.SetPositions(within(t), "busy", b),
		"deleting it":     c.DeleteGroup(within(t), "busy"),
		"forgetting of b": c.DeletePositions(within(t), "busy", []driver.Shard{b[0].Shard}),
	} {
		if !errors.Is(err, driver.ErrFenced) {
			t.Errorf("%s while it has a member: %v, want ErrFenced", what, err)
		}
	}
	if err := c.DeletePositions(within(t), "g", []driver.Shard{at[0].Shard}); err != nil {
		t.Error(err)
	}
	if g, err := c.DescribeGroups(within(t), []string{"g"}); err != nil || len(g[0].Positions) != 1 || g[0].Positions[0].Position != at[1] {
		t.Errorf("after one position was deleted: %+v, %v", g, err)
	}
	if err := c.DeleteGroup(within(t), "g"); err != nil {
		t.Error(err)
	}
	if err := c.DeleteGroup(within(t), "g"); !errors.Is(err, driver.ErrNotFound) {
		t.Errorf("deleting it again: %v, want ErrNotFound", err)
	}
}

// Of many shards the error says which failed.
func TestAdminSaysOfEachPosition(t *testing.T) {
	noLeak(t)
	c := open(t, url(fake(t).ListenAddrs(), ""), Options{})
	if err := c.CreateStream(within(t), driver.StreamSpec{Name: "a"}); err != nil {
		t.Fatal(err)
	}
	err := c.SetPositions(within(t), "g", []driver.Position{{Shard: driver.Shard{Stream: "none"}, Next: driver.SeqOf(7)}, {Shard: driver.Shard{Stream: "a"}, Next: driver.SeqOf(7)}})
	var some *driver.PartialError
	if !errors.As(err, &some) || len(some.Errs) != 2 || !errors.Is(some.Errs[0], driver.ErrNotFound) || some.Errs[1] != nil {
		t.Fatalf("got %v, want the first to be not found", err)
	}
	if g, err := c.DescribeGroups(within(t), []string{"g"}); err != nil || len(g[0].Positions) != 1 {
		t.Errorf("%+v, %v: want the position of the second", g, err)
	}
}

// A cluster that is away is said to be so within the connect time-out.
func TestAdminOfNobody(t *testing.T) {
	noLeak(t)
	c := open(t, url([]string{silent(t)}, "connect_timeout=300ms"), Options{})
	begun := time.Now()
	_, err := c.DescribeStreams(context.Background(), []string{"a"}, 0)
	if !errors.Is(err, driver.ErrUnavailable) {
		t.Errorf("error %v, want ErrUnavailable", err)
	}
	if took := time.Since(begun); took > patience/2 {
		t.Errorf("it took %v", took)
	}
	if err := c.Close(context.Background()); err != nil {
		t.Error(err)
	}
	if _, err := c.Count(context.Background(), nil); !errors.Is(err, driver.ErrClosed) {
		t.Errorf("after Close: %v, want ErrClosed", err)
	}
}

// What is kept for groups and owners is not lost by administration.
func TestAdminSparesPositions(t *testing.T) {
	noLeak(t)
	k := fake(t, kfake.NumBrokers(1))
	c := open(t, url(k.ListenAddrs(), ""), Options{})
	if err := c.needPositions(within(t)); err != nil {
		t.Fatal(err)
	}
	if in := describe(t, c, positionTopic, driver.DetailSettings); !in.Internal || in.Settings.Compact == nil || !*in.Settings.Compact || *in.Settings.MaxAge >= 0 {
		t.Errorf("the topic of positions is %+v", in)
	}
	_, trim := c.Trim(within(t), []driver.Position{{Shard: driver.Shard{Stream: positionTopic}, Next: driver.SeqOf(1)}})
	set := func(s driver.Settings) error { return c.SetStream(within(t), positionTopic, s) }
	for what, err := range map[string]error{
		"delete":                 c.DeleteStream(within(t), positionTopic),
		"trim":                   trim,
		"more shards":            c.AddShards(within(t), positionTopic, 2*positionShards),
		"not compacted":          set(driver.Settings{Compact: new(false)}),
		"an age":                 set(driver.Settings{MaxAge: new(time.Hour), Compact: new(true)}),
		"its policy":             set(driver.Settings{Native: map[string]*string{"cleanup.policy": new("compact,delete")}}),
		"its policy, by default": set(driver.Settings{Native: map[string]*string{"cleanup.policy": nil}}),
	} {
		if !errors.Is(err, driver.ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", what, err)
		}
	}
	if err := set(driver.Settings{Compact: new(true), Native: map[string]*string{"segment.bytes": new("2097152")}}); err != nil {
		t.Error(err)
	}
}
