package lag

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/admin"
	"github.com/seastreamer/seastreamer/internal/cli/chart"
	"github.com/seastreamer/seastreamer/internal/cli/exit"
	"github.com/seastreamer/seastreamer/internal/cli/listing"
	"github.com/seastreamer/seastreamer/internal/iostreams"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// lagOf is a group on two shards, of which the first is behind.
func lagOf(name string, behind int64, age time.Duration) admin.Lag {
	return admin.Lag{Group: name, State: "stable", Shards: []admin.ShardLag{
		{Shard: ss.Shard{Stream: "news"}, Next: ss.SeqOf(1000), End: ss.SeqOf(uint64(1000 + behind)), Messages: admin.Count{N: behind}, Age: age, Pending: 3, Member: "m1"},
		{Shard: ss.Shard{Stream: "news", Index: 1}, Next: ss.SeqOf(7), End: ss.SeqOf(7)},
	}}
}

func two(t *testing.T) []group {
	t.Helper()
	w := &watcher{}
	failed := admin.Lag{Group: "lost", Err: errors.New("no")}
	w.add(start, []admin.Lag{lagOf("late", 5000, time.Minute), lagOf("done", 0, 0), failed})
	about := lagOf("guess", 1234567, time.Hour)
	about.Shards[0].Messages.Estimated = true
	return w.add(start.Add(10*time.Second), []admin.Lag{lagOf("late", 4000, 90*time.Second), lagOf("done", 0, 0), failed, about})
}

func TestShow(t *testing.T) {
	for _, test := range []struct {
		name string
		o    options
		want string
	}{
		{"table", options{Options: listing.Options{Output: "table"}}, `
GROUP  STATE       BEHIND    AGE  PENDING  TREND         IN    OUT  CATCH_UP
late   stable       4,000  1m30s        3  ↓ shrinking  0/s  100/s       40s
done   stable           0      0        3  → steady     0/s    0/s         0
guess  stable  ~1,234,567   1h0m        3                 -      -         -
`},
		{"shards", options{each: true, Options: listing.Options{Output: "tsv"}}, `
group	stream	shard	next	end	behind	age	pending	trend	in	out	catch_up	member
late	news	0	1000	5000	4000	90.000	3	shrinking	0.0	100.0	40.000	m1
late	news	1	7	7	0	0.000	0	steady	0.0	0.0	0.000	
done	news	0	1000	1000	0	0.000	3	steady	0.0	0.0	0.000	m1
done	news	1	7	7	0	0.000	0	steady	0.0	0.0	0.000	
guess	news	0	1000	1235567	~1234567	3600.000	3					m1
guess	news	1	7	7	0	0.000	0				0.000	
`},
		{"json", options{Options: listing.Options{Output: "json"}}, `
{"time":"2026-01-02T03:04:15Z","group":"late","state":"stable","messages":4000,"age_s":90,"pending":3,"trend":"shrinking","produced_per_s":0,"consumed_per_s":100,"catch_up_s":40}
{"time":"2026-01-02T03:04:15Z","group":"done","state":"stable","messages":0,"age_s":0,"pending":3,"trend":"steady","produced_per_s":0,"consumed_per_s":0,"catch_up_s":0}
{"time":"2026-01-02T03:04:15Z","group":"lost","age_s":0,"pending":0,"error":"no"}
{"time":"2026-01-02T03:04:15Z","group":"guess","state":"stable","messages":1234567,"estimated":true,"age_s":3600,"pending":3}
`},
	} {
		var b bytes.Buffer
		if err := show(&iostreams.Streams{Out: &b}, test.o, two(t)); err != nil {
			t.Fatal(err)
		}
		if got := b.String(); got != strings.TrimPrefix(test.want, "\n") {
			t.Errorf("%s:\n%s\nwant\n%s", test.name, got, test.want)
		}
	}
}

func TestOver(t *testing.T) {
	groups := []group{}
	for _, l := range []admin.Lag{lagOf("a", 500, time.Second), lagOf("b", 2000, time.Minute), lagOf("c", 1500, time.Hour), {Group: "d", Err: errors.New("no")}} {
		groups = append(groups, group{LagSample: admin.LagSample{Lag: l}})
	}
	unknown := lagOf("u", 1, time.Second)
	unknown.Shards[0].Messages.N = -1
	for _, test := range []struct {
		max    int64
		maxAge time.Duration
		also   []group
		want   string // "" is nothing
	}{
		{-1, -1, nil, ""},
		{2000, -1, nil, ""},
		{1999, -1, nil, "group b is 2,000 messages behind, the first of them sent 1m0s ago, on news[0] the most"},
		{400, -1, nil, "group b is 2,000 messages behind, the first of them sent 1m0s ago, on news[0] the most, and 2 more are over the limit"},
		{-1, time.Hour, nil, ""},
		{-1, 2 * time.Second, nil, "group c is 1,500 messages behind, the first of them sent 1h0m ago, on news[0] the most, and 1 more are over the limit"},
		{1999, 2 * time.Second, nil, "group c is 1,500 messages behind, the first of them sent 1h0m ago, on news[0] the most, and 1 more are over the limit"},
		{5000, -1, []group{{LagSample: admin.LagSample{Lag: unknown}}}, "group u is behind by a number of messages that is not known, the first of them sent 1s ago"},
	} {
		err := exit.From(over(append(groups, test.also...), options{max: test.max, maxAge: test.maxAge}))
		if err != nil {
			if got := err.Error(); err.Code != exit.Partial || got != test.want {
				t.Errorf("--max %d --max-age %v: %d %q, want %q", test.max, test.maxAge, err.Code, got, test.want)
			}
		} else if test.want != "" {
			t.Errorf("--max %d --max-age %v: nothing, want %q", test.max, test.maxAge, test.want)
		}
	}
}

// Samples that are old are dropped, and so are groups that have gone.
func TestWatcherForgets(t *testing.T) {
	w := &watcher{}
	w.add(start, []admin.Lag{lagOf("gone", 1, 0)})
	var g []group
	for i := range 300 {
		g = w.add(start.Add(time.Duration(i)*time.Second), []admin.Lag{lagOf("a", int64(i), 0)})
	}
	if len(w.past) != 1 || len(g[0].looks) > 5 || cap(g[0].looks) > 10 || g[0].behind.Len() != chart.Looks {
		t.Errorf("%d groups, %d samples in room for %d, %d values", len(w.past), len(g[0].looks), cap(g[0].looks), g[0].behind.Len())
	}
	if over := g[0].Time.Sub(g[0].looks[0].Time); g[0].Produced != 1 || over < 20*time.Second || over > trendOver {
		t.Errorf("%v produced per second over %v", g[0].Produced, over)
	}
}

// What is drawn does not change while the next look is had.
func TestPictureStays(t *testing.T) {
	w := &watcher{each: true}
	o := options{watch: true, each: true, interval: time.Second, max: -1, maxAge: -1, Options: listing.Options{Output: "auto"}}
	draw := func(g []group) string {
		lines, _ := picture(o, g, nil, 0, 200, 50)
		return strings.Join(lines, "\n")
	}
	var was []group
	want := ""
	for i := range 100 {
		g := w.add(start.Add(time.Duration(i)*time.Second), []admin.Lag{lagOf("a", int64(i*i), 0), lagOf("b", 5, 0)})
		if i > 0 && draw(was) != want {
			t.Fatalf("after %d looks:\n%s\nwant\n%s", i, draw(was), want)
		}
		was, want = g, draw(g)
	}
	if !strings.Contains(want, "▇█") {
		t.Errorf("the shard is not drawn:\n%s", want)
	}
}

// Looks that are further apart than a trend is about are compared all the same, of
// a group as of a shard.
func TestTrendOfRareLooks(t *testing.T) {
	w := &watcher{}
	var g []group
	for i := range 4 {
		g = w.add(start.Add(time.Duration(i)*time.Minute), []admin.Lag{lagOf("a", int64(60*i*i), 0)})
	}
	if got := g[0].Trend; got.Direction != admin.Growing || got.Produced != 5 { // 240 to 540 in the last minute
		t.Errorf("%+v", got)
	}
	if got := g[0].of(0).Trend; got.Direction != admin.Growing || got.Produced != 5 {
		t.Errorf("of a shard: %+v", got)
	}
}

// The screen of --watch scrolls, and is never larger than it is.
func TestPicture(t *testing.T) {
	was := time.Local
	time.Local = time.UTC
	defer func() { time.Local = was }()
	o := options{watch: true, interval: time.Second, max: 4500, maxAge: -1, Options: listing.Options{Output: "auto"}}
	lines, from := picture(o, two(t), nil, 99, 100, 5)
	want := `sea streamer lag  03:04:15  every 1s  q quits
✗ group guess is ~1,234,567 messages behind, the first of them sent 1h0m ago, on news[0] the most
GROUP  STATE       BEHIND    AGE  PENDING  TREND         IN    OUT  CATCH_UP  RECENT
done   stable           0      0        3  → steady     0/s    0/s         0                    ··
guess  stable  ~1,234,567   1h0m        3                 -      -         -                     █`
	if got := strings.Join(lines, "\n"); got != want || from != 1 {
		t.Errorf("from %d:\n%s\nwant\n%s", from, got, want)
	}
	o.max = 0
	evil := group{LagSample: admin.LagSample{Lag: lagOf("x\x1b[2J", 1, 0)}}
	if lines, _ := picture(o, []group{evil}, nil, 0, 100, 5); lines[1] != `✗ group x\x1b[2J is 1 message behind, on news[0] the most` {
		t.Errorf("a name that would control the terminal: %q", lines[1])
	}
	lines, from = picture(o, two(t), errors.New("gone\x1b[2J"), -3, 20, 40)
	if got := lines[3]; from != 0 || len(lines) != 6 || got != "late   stable      …" || lines[1] != `✗ gone\x1b[2J` {
		t.Errorf("from %d, %d lines, %q, %q", from, len(lines), got, lines[1])
	}
}
