package admin_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/admin"
	"github.com/seastreamer/seastreamer/backend/memory"
	"github.com/seastreamer/seastreamer/driver"
)

func open(t *testing.T) (*ss.Streamer, *admin.Client) {
	t.Helper()
	s := ss.New(memory.NewStore().Driver(memory.Options{}), ss.Options{})
	t.Cleanup(func() { _ = s.Close(context.Background()) })
	return s, admin.New(s)
}

// send writes n messages to a shard, one a second, the last one at the time given.
func send(t *testing.T, s *ss.Streamer, stream string, shard int32, n int, last time.Time) {
	t.Helper()
	p, err := s.Producer(t.Context(), ss.ProducerConfig{Stream: stream})
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		at := last.Add(time.Duration(i+1-n) * time.Second)
		if _, err := p.Send(t.Context(), ss.Record{Shard: ss.On(shard), Value: []byte("v"), Time: at}); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func apply(t *testing.T, c *admin.Client, ch admin.Change) *admin.Plan {
	t.Helper()
	p, err := c.Apply(t.Context(), ch)
	if err != nil {
		t.Fatalf("%s: %v", ch.Kind(), err)
	}
	return p
}

func TestStreamsArePaged(t *testing.T) {
	_, c := open(t)
	for i := range 2500 {
		apply(t, c, admin.CreateStream{StreamSpec: admin.StreamSpec{Name: fmt.Sprintf("s%04d", i), Shards: 2}})
	}
	var got []string
	for in, err := range c.Streams(t.Context(), admin.StreamFilter{Match: "s2*"}) {
		if err != nil || len(in.Shards) != 2 {
			t.Fatal(in, err)
		}
		got = append(got, in.Name)
	}
	if slices.Sort(got); len(got) != 500 || got[0] != "s2000" || got[499] != "s2499" {
		t.Errorf("%d streams from %s: want s2000 to s2499", len(got), got[0])
	}
	for _, err := range c.Streams(t.Context(), admin.StreamFilter{Match: "["}) {
		if err == nil {
			t.Error("a glob that cannot be read is taken")
		}
	}
}

func TestPlansSayWhatTheyDo(t *testing.T) {
	s, c := open(t)
	apply(t, c, admin.CreateStream{StreamSpec: admin.StreamSpec{Name: "news", Shards: 2}})
	send(t, s, "news", 1, 10, time.Now())
	p, err := c.Plan(t.Context(), admin.DeleteStream{Streams: []string{"news"}})
	if err != nil {
		t.Fatal(err)
	}
	if want := "delete news: 2 shards (10 messages, "; !strings.HasPrefix(p.String(), want) || !p.Destructive {
		t.Errorf("plan %q, want %q…", p, want)
	}
	if _, err := c.Describe(t.Context(), 0, "news"); err != nil {
		t.Fatalf("the plan alone has deleted it: %v", err)
	}
	if err := p.Apply(t.Context()); err != nil || !p.Steps[0].Done {
		t.Fatal(err, p)
	}
	if err := p.Apply(t.Context()); err == nil {
		t.Error("a plan can be applied twice")
	}
	_, err = c.Describe(t.Context(), 0, "news", "other")
	var partial *admin.PartialError
	if !errors.As(err, &partial) || len(partial.Failures) != 2 || !errors.Is(err, ss.ErrNotFound) {
		t.Errorf("describe two that are not there: %v", err)
	}
}

// A group that is moved stands where it stood after the undo, which survives as
// JSON, also where it did not exist before.
func TestMovesOfGroupsAreUndone(t *testing.T) {
	s, c := open(t)
	apply(t, c, admin.CreateStream{StreamSpec: admin.StreamSpec{Name: "news", Shards: 2}})
	send(t, s, "news", 0, 10, time.Now())
	send(t, s, "news", 1, 10, time.Now())
	undo := func(p *admin.Plan) {
		t.Helper()
		ch, ok := p.Undo()
		if !ok {
			t.Fatal("it cannot be undone")
		}
		b, err := admin.MarshalChange(ch)
		if err != nil {
			t.Fatal(err)
		}
		if ch, err = admin.UnmarshalChange(b); err != nil {
			t.Fatal(err)
		}
		apply(t, c, ch)
	}
	at := func() string {
		infos, err := c.DescribeGroups(t.Context(), "g")
		if err != nil {
			return err.Error()
		}
		text := ""
		for _, p := range infos[0].Positions {
			text += fmt.Sprint(p.Index, "=", p.Next, " ")
		}
		return text
	}
	first := apply(t, c, admin.SeekGroup{Group: "g", Streams: []string{"news"}, To: new(ss.From(ss.SeqOf(4)))})
	if got, want := at(), "0=4 1=4 "; got != want {
		t.Fatalf("made at %q, want %q", got, want)
	}
	shift := apply(t, c, admin.SeekGroup{Group: "g", Shift: -3})
	if got, want := at(), "0=1 1=1 "; got != want {
		t.Fatalf("shifted to %q, want %q", got, want)
	}
	if got, want := shift.Steps[0].String(), "move news[0]: 4 → 1 (3 messages come again)"; got != want {
		t.Errorf("step %q, want %q", got, want)
	}
	undo(shift)
	if got, want := at(), "0=4 1=4 "; got != want {
		t.Errorf("undone to %q, want %q", got, want)
	}
	end := apply(t, c, admin.SeekGroup{Group: "g", To: new(ss.Latest), Shards: []int32{1}})
	if got, want := at(), "0=4 1=10 "; got != want {
		t.Fatalf("at the end of one: %q, want %q", got, want)
	}
	undo(end)
	apply(t, c, admin.CloneGroup{From: "g", To: "h"})
	gone := apply(t, c, admin.DeleteGroup{Groups: []string{"g"}})
	undo(gone)
	if got, want := at(), "0=4 1=4 "; got != want {
		t.Errorf("after deletion and undo %q, want %q", got, want)
	}
	undo(first)
	if got := at(); got != "" {
		t.Errorf("after the undo of its creation %q, want nothing", got)
	}
	if _, err := c.Plan(t.Context(), admin.SeekGroup{Group: "g", To: new(ss.Latest), Shift: 1}); !errors.Is(err, ss.ErrInvalid) {
		t.Errorf("two ways at once: %v", err)
	}
}

func TestLag(t *testing.T) {
	s, c := open(t)
	apply(t, c, admin.CreateStream{StreamSpec: admin.StreamSpec{Name: "news", Shards: 2}})
	send(t, s, "news", 0, 10, time.Now())
	apply(t, c, admin.SeekGroup{Group: "g", Streams: []string{"news"}, To: new(ss.From(ss.SeqOf(4)))})
	lags, err := c.Lag(t.Context(), "g")
	if err != nil {
		t.Fatal(err)
	}
	l := lags[0]
	if n := l.Messages(); n.N != 6 || n.Estimated {
		t.Errorf("lag %+v, want 6", n)
	}
	if age := l.Age(); age < 5*time.Second || age > time.Minute {
		t.Errorf("age %v, want a little over 5s", age)
	}
	if l.Shards[1].Age != 0 || l.Shards[1].Messages.N != 0 {
		t.Errorf("an empty shard has lag %+v", l.Shards[1])
	}
	if _, err := c.Lag(t.Context(), "g", "nobody"); !errors.Is(err, ss.ErrNotFound) {
		t.Errorf("of a group that is not there: %v", err)
	}
	for g := range c.Groups(t.Context()) {
		if g.Name != "g" {
			t.Errorf("looking has made group %q", g.Name)
		}
	}
}

// A byNumber driver counts sequence numbers, as Kafka's does.
type byNumber struct {
	driver.Driver
	driver.StreamAdmin
	driver.GroupAdmin
}

func (byNumber) Count(_ context.Context, r []driver.Range) ([]driver.Count, error) {
	n := make([]driver.Count, len(r))
	for i, r := range r {
		n[i].N = int64(r.To.Lo - r.From.Lo)
	}
	return n, nil
}

// A driver that cannot describe the second shard of a stream.
type halfDescribed struct {
	driver.Driver
	driver.StreamAdmin
	driver.GroupAdmin
}

var errNoLeader = errors.New("no leader")

func (d halfDescribed) DescribeStreams(ctx context.Context, names []string, detail driver.Detail) ([]driver.StreamInfo, error) {
	infos, err := d.StreamAdmin.DescribeStreams(ctx, names, detail)
	for i := range infos {
		if len(infos[i].Shards) > 1 {
			infos[i].Err = errNoLeader
			infos[i].Shards[1] = driver.ShardInfo{Index: 1, Messages: driver.Count{N: -1}, Bytes: -1}
		}
	}
	return infos, err
}

// A shard that cannot be described does not hide how far a group is behind on the
// others; how far it is in all is not known then.
func TestLagOfPart(t *testing.T) {
	inner := memory.NewStore().Driver(memory.Options{Shards: 3})
	s := ss.New(halfDescribed{inner, inner.(driver.StreamAdmin), inner.(driver.GroupAdmin)}, ss.Options{})
	defer s.Close(context.Background())
	send(t, s, "news", 2, 10, time.Now())
	if err := inner.(driver.GroupAdmin).SetPositions(t.Context(), "g", []ss.Position{
		{Shard: ss.Shard{Stream: "news"}}, {Shard: ss.Shard{Stream: "news", Index: 1}}, {Shard: ss.Shard{Stream: "news", Index: 2}, Next: ss.SeqOf(3)}}); err != nil {
		t.Fatal(err)
	}
	lags, err := admin.New(s).Lag(t.Context(), "g")
	if !errors.Is(err, errNoLeader) || !errors.Is(lags[0].Err, errNoLeader) {
		t.Errorf("%v, %v", err, lags[0].Err)
	}
	if n := lags[0].Messages(); n.N != -1 {
		t.Errorf("in all %+v", n)
	}
	if w, ok := lags[0].Most(); !ok || w.Messages.N != 7 || w.Index != 2 {
		t.Errorf("the most: %+v of %v", w, lags[0].Shards)
	}
}

// A group is not behind on what has been removed before it came to it.
func TestLagBehindATrim(t *testing.T) {
	inner := memory.NewStore().Driver(memory.Options{})
	s := ss.New(byNumber{inner, inner.(driver.StreamAdmin), inner.(driver.GroupAdmin)}, ss.Options{})
	defer s.Close(context.Background())
	c := admin.New(s)
	send(t, s, "news", 0, 10, time.Now())
	apply(t, c, admin.SeekGroup{Group: "g", Streams: []string{"news"}, To: new(ss.From(ss.SeqOf(2)))})
	for _, step := range []struct{ trim, behind uint64 }{{0, 8}, {5, 5}, {10, 0}} {
		apply(t, c, admin.Trim{Stream: "news", Before: ss.From(ss.SeqOf(step.trim))})
		lags, err := c.Lag(t.Context(), "g")
		if err != nil || lags[0].Messages().N != int64(step.behind) || lags[0].Shards[0].Next != ss.SeqOf(2) {
			t.Errorf("trimmed to %d: %+v, %v, want %d behind", step.trim, lags, err, step.behind)
		}
	}
}

// edges are those of n spans of one length.
func edges(from time.Time, length time.Duration, n int) []time.Time {
	at := make([]time.Time, n+1)
	for i := range at {
		at[i] = from.Add(time.Duration(i) * length)
	}
	return at
}

func TestTimeline(t *testing.T) {
	s, c := open(t)
	apply(t, c, admin.CreateStream{StreamSpec: admin.StreamSpec{Name: "news", Shards: 2}})
	start := time.Now().Truncate(time.Second).Add(-time.Hour)
	send(t, s, "news", 0, 30, start.Add(29*time.Second))
	b, err := c.Timeline(t.Context(), "news", edges(start, 10*time.Second, 4))
	if err != nil {
		t.Fatal(err)
	}
	var got []int64
	for _, b := range b {
		got = append(got, b.Messages.N)
	}
	if want := []int64{10, 10, 10, 0}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}

	// Many edges are looked up at once, and each message is in one bucket.
	send(t, s, "news", 1, 1000, start.Add(1000*time.Second))
	b, err = c.Timeline(t.Context(), "news", edges(start, 10*time.Second, 101))
	if err != nil {
		t.Fatal(err)
	}
	sum, highest := int64(0), int64(0)
	for _, b := range b {
		sum += b.Messages.N
		highest = max(highest, b.Messages.N)
	}
	if sum != 1030 || highest != 20 || !b[100].To.Equal(start.Add(1010*time.Second)) {
		t.Errorf("%d messages, at most %d, up to %v", sum, highest, b[100].To)
	}
	if _, err := c.Timeline(t.Context(), "other", edges(start, time.Second, 60)); !errors.Is(err, ss.ErrNotFound) {
		t.Errorf("a stream that is not there: %v", err)
	}
	for _, none := range [][]time.Time{nil, {start}, {start, start}, {start, start.Add(2), start.Add(1)}} {
		if _, err := c.Timeline(t.Context(), "news", none); !errors.Is(err, ss.ErrInvalid) {
			t.Errorf("edges %v: %v", none, err)
		}
	}
}

func TestTrimAndShards(t *testing.T) {
	s, c := open(t)
	send(t, s, "news", 0, 30, time.Now())
	p := apply(t, c, admin.Trim{Stream: "news", Before: ss.From(ss.SeqOf(12))})
	if got, want := p.Steps[0].String(), "trim news[0]: 0 → 12 (12 messages)"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if p := apply(t, c, admin.Trim{Stream: "news", Before: ss.From(ss.SeqOf(12))}); !p.Empty() {
		t.Errorf("there is something to do the second time: %v", p)
	}
	apply(t, c, admin.AddShards{Stream: "news", Total: 3})
	in, err := c.Describe(t.Context(), admin.DetailBounds, "news")
	if err != nil || len(in[0].Shards) != 3 || admin.Messages(in[0]).N != 18 {
		t.Errorf("%+v, %v", in, err)
	}
	if _, err := c.Plan(t.Context(), admin.AddShards{Stream: "news", Total: 2}); !errors.Is(err, ss.ErrInvalid) {
		t.Errorf("fewer shards: %v", err)
	}
}

func TestSettings(t *testing.T) {
	var s admin.Settings
	for _, text := range []string{"max-age=7d", "max-bytes=10GiB", "max-messages=unlimited", "compact=true", "retention.ms=1", "segment.ms"} {
		if err := admin.ParseSetting(&s, text); err != nil {
			t.Error(err)
		}
	}
	var got []string
	for _, x := range admin.List(s) {
		got = append(got, x.Name+"="+x.Value)
	}
	want := "max-age=7d max-bytes=10GiB max-messages=unlimited compact=true retention.ms=1 segment.ms=default"
	if strings.Join(got, " ") != want {
		t.Errorf("%s, want %s", got, want)
	}
	for _, text := range []string{"max-age", "max-age=x", "=7d", "compact=perhaps", "max-messages=-4"} {
		if err := admin.ParseSetting(&s, text); err == nil {
			t.Errorf("%s is taken", text)
		}
	}
}

func TestWhatABackendLacksIsNamed(t *testing.T) {
	_, c := open(t)
	_, err := c.Nodes(t.Context())
	if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "backend memory has no nodes") {
		t.Error(err)
	}
	for _, err := range c.Pending(t.Context(), "s", "g", admin.PendingFilter{}) {
		if !errors.Is(err, errors.ErrUnsupported) {
			t.Error(err)
		}
	}
}

func TestPlansAreJSON(t *testing.T) {
	_, c := open(t)
	p, err := c.Plan(t.Context(), admin.CreateStream{StreamSpec: admin.StreamSpec{Name: "a", Shards: 3}})
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"change":"create-stream","target":"a","destructive":false,"steps":[{"item":"a","action":"create","to":"3 shards","done":false}],"applied":false}`
	if string(b) != want {
		t.Errorf("%s\nwant %s", b, want)
	}
}
