package metrics_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/admin"
	"github.com/seastreamer/seastreamer/backend/memory"
	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/metrics"
)

func TestCollector(t *testing.T) {
	s := ss.New(memory.NewStore().Driver(memory.Options{Shards: 2}), ss.Options{})
	defer func() { _ = s.Close(context.Background()) }()
	a := admin.New(s)
	p, err := s.Producer(t.Context(), ss.ProducerConfig{Stream: "news"})
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if _, err := p.Send(t.Context(), ss.Record{Shard: ss.On(1), Value: []byte("v"), Time: time.Unix(1700000000, 0)}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.Apply(t.Context(), admin.Trim{Stream: "news", Before: ss.From(ss.SeqOf(1))}); err != nil {
		t.Fatal(err)
	}
	for _, g := range []string{"workers", "others"} {
		if _, err := a.Apply(t.Context(), admin.SeekGroup{Group: g, Streams: []string{"news"}, To: new(ss.From(ss.SeqOf(2)))}); err != nil {
			t.Fatal(err)
		}
	}
	c, err := metrics.NewCollector(a, metrics.Options{Groups: "work*"})
	if err != nil {
		t.Fatal(err)
	}
	want := `
# HELP seastreamer_group_lag_messages Messages from where a group stands to the end of a shard.
# TYPE seastreamer_group_lag_messages gauge
seastreamer_group_lag_messages{group="workers",shard="0",stream="news"} 0
seastreamer_group_lag_messages{group="workers",shard="1",stream="news"} 3
# HELP seastreamer_group_members Members of a consumer group.
# TYPE seastreamer_group_members gauge
seastreamer_group_members{group="workers"} 0
# HELP seastreamer_shard_messages Messages that a shard holds.
# TYPE seastreamer_shard_messages gauge
seastreamer_shard_messages{shard="0",stream="news"} 0
seastreamer_shard_messages{shard="1",stream="news"} 4
# HELP seastreamer_shard_messages_added_total Messages that were ever added to a shard.
# TYPE seastreamer_shard_messages_added_total counter
seastreamer_shard_messages_added_total{shard="0",stream="news"} 0
seastreamer_shard_messages_added_total{shard="1",stream="news"} 5
# HELP seastreamer_shard_newest_timestamp_seconds Timestamp of a shard's last message, since 1970.
# TYPE seastreamer_shard_newest_timestamp_seconds gauge
seastreamer_shard_newest_timestamp_seconds{shard="1",stream="news"} 1.7e+09
# HELP seastreamer_stream_shards Shards of a stream.
# TYPE seastreamer_stream_shards gauge
seastreamer_stream_shards{stream="news"} 2
# HELP seastreamer_up 1 where the broker could be looked at.
# TYPE seastreamer_up gauge
seastreamer_up 1
`
	names := []string{"seastreamer_group_lag_messages", "seastreamer_group_members", "seastreamer_shard_messages", "seastreamer_shard_messages_added_total",
		"seastreamer_shard_newest_timestamp_seconds", "seastreamer_stream_shards", "seastreamer_up"}
	if err := testutil.CollectAndCompare(c, strings.NewReader(want), names...); err != nil {
		t.Error(err)
	}
	if problems, err := testutil.CollectAndLint(c); err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
	if _, err := metrics.NewCollector(a, metrics.Options{Streams: "["}); err == nil {
		t.Error("a glob that cannot be read is taken")
	}
}

// broken is a driver one of whose streams cannot be described, and another of
// which has gone by then.
type broken struct {
	driver.Driver
	driver.StreamAdmin
	driver.GroupAdmin
	times error
}

func (d *broken) DescribeStreams(ctx context.Context, names []string, detail driver.Detail) ([]driver.StreamInfo, error) {
	infos, err := d.StreamAdmin.DescribeStreams(ctx, names, detail)
	for i, n := range names {
		switch n {
		case "leaderless":
			infos[i] = driver.StreamInfo{Name: n, Err: errors.New("no leader"), Shards: []driver.ShardInfo{{Messages: driver.Count{N: -1}, Bytes: -1}}}
		case "gone":
			infos[i] = driver.StreamInfo{Name: n, Err: driver.Errorf(ss.ErrNotFound, "", "it has gone")}
		}
	}
	return infos, err
}

func (d *broken) Times(ctx context.Context, at []ss.Position) ([]time.Time, error) {
	if d.times != nil {
		return nil, d.times
	}
	return d.StreamAdmin.Times(ctx, at)
}

// One stream that cannot be described does not make the broker down, and one that
// is deleted meanwhile is no failure; what is not known of it is not there, since a
// counter that falls to 0 would be a burst when it is back. Names that are no UTF-8 cost nothing. A lag
// whose age cannot be had is not there, and not zero.
func TestCollectorOfPart(t *testing.T) {
	inner := memory.NewStore().Driver(memory.Options{})
	d := &broken{Driver: inner, StreamAdmin: inner.(driver.StreamAdmin), GroupAdmin: inner.(driver.GroupAdmin)}
	s := ss.New(d, ss.Options{})
	defer func() { _ = s.Close(context.Background()) }()
	a := admin.New(s)
	create := func(name string) {
		t.Helper()
		if err := d.CreateStream(t.Context(), driver.StreamSpec{Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	create("news")
	create("gone")
	p, err := s.Producer(t.Context(), ss.ProducerConfig{Stream: "news"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Send(t.Context(), ss.Record{Value: []byte("v")}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Apply(t.Context(), admin.SeekGroup{Group: "g\xff…", Streams: []string{"news"}, To: new(ss.Earliest)}); err != nil {
		t.Fatal(err)
	}
	var failed []string
	c, err := metrics.NewCollector(a, metrics.Options{Every: 1, Failed: func(part string, err error) { failed = append(failed, part+": "+err.Error()) }})
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"seastreamer_group_lag_messages", "seastreamer_shard_messages_added_total", "seastreamer_stream_shards", "seastreamer_up"}
	const lag = `
# HELP seastreamer_group_lag_messages Messages from where a group stands to the end of a shard.
# TYPE seastreamer_group_lag_messages gauge
seastreamer_group_lag_messages{group="g\\xff…",shard="0",stream="news"} 1`
	const added = `
# HELP seastreamer_shard_messages_added_total Messages that were ever added to a shard.
# TYPE seastreamer_shard_messages_added_total counter
seastreamer_shard_messages_added_total{shard="0",stream="news"} 1`
	const rest = added + `
# HELP seastreamer_stream_shards Shards of a stream.
# TYPE seastreamer_stream_shards gauge
seastreamer_stream_shards{stream="news"} 1
# HELP seastreamer_up 1 where the broker could be looked at.
# TYPE seastreamer_up gauge
seastreamer_up 1
`
	without := strings.Replace(rest, "seastreamer_stream_shards{stream=\"news", "seastreamer_stream_shards{stream=\"leaderless\"} 1\nseastreamer_stream_shards{stream=\"news", 1)
	if err := testutil.CollectAndCompare(c, strings.NewReader(lag+rest), names...); err != nil {
		t.Error(err)
	}
	if failed != nil {
		t.Errorf("a stream that has gone is a failure: %q", failed)
	}
	create("leaderless")
	if err := testutil.CollectAndCompare(c, strings.NewReader(lag+without), names...); err != nil {
		t.Error(err)
	}
	d.times = errors.New("no times")
	if err := testutil.CollectAndCompare(c, strings.NewReader(without), names...); err != nil {
		t.Error(err)
	}
	if got := strings.Join(failed, "; "); got != "streams: 1 of 3 failed: leaderless: no leader; streams: 1 of 3 failed: leaderless: no leader; groups: no times" {
		t.Errorf("failed: %s", got)
	}
}

// A broker that cannot be looked at is down, which is a metric and not an error
// of the scrape.
func TestCollectorOfABrokerThatIsGone(t *testing.T) {
	s := ss.New(memory.NewStore().Driver(memory.Options{}), ss.Options{})
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	var failed []string
	c, err := metrics.NewCollector(admin.New(s), metrics.Options{Failed: func(part string, _ error) { failed = append(failed, part) }})
	if err != nil {
		t.Fatal(err)
	}
	want := "# HELP seastreamer_up 1 where the broker could be looked at.\n# TYPE seastreamer_up gauge\nseastreamer_up 0\n"
	if err := testutil.CollectAndCompare(c, strings.NewReader(want), "seastreamer_up"); err != nil {
		t.Error(err)
	}
	if got := strings.Join(failed, " "); got != "streams groups" {
		t.Errorf("failed: %q, want streams groups", got)
	}
}

func TestObserver(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	o, err := metrics.NewObserver(r)
	if err != nil {
		t.Fatal(err)
	}
	sh := ss.Shard{Stream: "news"}
	o.Retry("read", errors.New("x"), time.Second)
	o.Commit(nil, nil)
	o.Commit(nil, errors.New("x"))
	o.Settle(3, nil)
	o.Gap(&ss.GapError{Shard: sh, Cause: ss.GapTrimmed})
	o.Assigned([]ss.Position{{Shard: sh}, {Shard: ss.Shard{Stream: "news", Index: 1}}})
	o.Revoked([]ss.Shard{sh}, true)
	want := `
# HELP seastreamer_assigned_shards Shards that consumers of this process read.
# TYPE seastreamer_assigned_shards gauge
seastreamer_assigned_shards 1
# HELP seastreamer_commits_total Commits of positions, by result.
# TYPE seastreamer_commits_total counter
seastreamer_commits_total{result="failed"} 1
seastreamer_commits_total{result="ok"} 1
# HELP seastreamer_gaps_total Gaps that a consumer went on behind, by cause.
# TYPE seastreamer_gaps_total counter
seastreamer_gaps_total{cause="trimmed"} 1
# HELP seastreamer_lost_shards_total Shards that were taken before what was done of them could be committed.
# TYPE seastreamer_lost_shards_total counter
seastreamer_lost_shards_total 1
# HELP seastreamer_retries_total Temporary failures that were tried again.
# TYPE seastreamer_retries_total counter
seastreamer_retries_total 1
# HELP seastreamer_settled_messages_total Messages whose verdicts were given to the broker, by result.
# TYPE seastreamer_settled_messages_total counter
seastreamer_settled_messages_total{result="failed"} 0
seastreamer_settled_messages_total{result="ok"} 3
`
	if err := testutil.GatherAndCompare(r, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
	if _, err := metrics.NewObserver(r); err == nil {
		t.Error("two observers share a registry")
	}
}
