package top

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	ss "github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/admin"
	"github.com/seastreamer/seastreamer/backend/memory"
	"github.com/seastreamer/seastreamer/internal/cli/listing"
	"github.com/seastreamer/seastreamer/internal/cli/screen"
	"github.com/seastreamer/seastreamer/internal/iostreams"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// flow is a stream that gets so many messages a second of 100 bytes each.
func flow(name string, shards int, now, bytes float64, newest time.Time) admin.StreamRate {
	r := admin.StreamRate{StreamInfo: admin.StreamInfo{Name: name}, Messages: admin.Rate{Now: now, Mean: now}, Bytes: admin.Rate{Now: bytes, Mean: bytes}, Newest: newest, Usual: now}
	for i := range shards {
		r.Shards = append(r.Shards, admin.ShardInfo{Index: int32(i), Bound: ss.Bound{Next: ss.SeqOf(uint64(1000 * (i + 1)))}, Messages: admin.Count{N: 1000}, Bytes: 100_000})
	}
	return r
}

func aLook(at time.Time, n int) *look {
	broken := flow("broken", 1, math.NaN(), math.NaN(), time.Time{})
	broken.Err = errors.New("no leader")
	broken.Shards = append(broken.Shards, admin.ShardInfo{Index: 1, Messages: admin.Count{N: -1}, Bytes: -1})
	burst, idle := flow("burst", 1, 60, 6000, at), flow("idle", 1, 0, 0, at.Add(-72*time.Hour))
	burst.Usual, idle.Gap = 10, time.Minute
	wave := 100 + 90*math.Sin(float64(n)/3)
	l := &look{RateSample: &admin.RateSample{Time: at, Interval: 2 * time.Second, Messages: admin.Rate{Now: wave + 12.3, Mean: wave}, Bytes: admin.Rate{Now: 1234567},
		Streams: []admin.StreamRate{
			flow("news", 4, wave, wave*100, at), idle, burst, broken,
			flow("a-name-that-is-longer-than-there-is-room-for-it-on-most-screens", 12, 12.3, 1<<30, at.Add(-1500*time.Millisecond)),
			flow("evil\x1b[2J", 1, 0, 0, time.Time{}), flow("新闻", 1, 5, 500, at),
		}},
		readers: readers{groups: 3, members: map[string]int{"news": 2}, cluster: "abc",
			worst: admin.Lag{Group: "workers", Shards: []admin.ShardLag{{Messages: admin.Count{N: 4000, Estimated: true}, Age: 90 * time.Second}}}}}
	return l
}

func aView(width, height int) *view {
	v := &view{o: options{interval: 2 * time.Second, broker: "kafka://localhost:9092"}, order: byMessages, width: width, height: height}
	for i := range 40 {
		v.add(aLook(start.Add(time.Duration(i)*2*time.Second), i), nil)
	}
	return v
}

// golden compares with a file in testdata, which UPDATE=1 writes.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s:\n%s\nwant\n%s", name, got, want)
	}
}

func utc(t *testing.T) {
	was := time.Local
	time.Local = time.UTC
	t.Cleanup(func() { time.Local = was })
}

func TestPictures(t *testing.T) {
	utc(t)
	for _, size := range [][2]int{{40, 8}, {80, 12}, {120, 12}, {200, 12}} {
		v := aView(size[0], size[1])
		lines := v.lines()
		for _, l := range lines {
			if n := listing.Cells(l); n > size[0] {
				t.Errorf("%d cells in a line of %d: %q", n, size[0], l)
			}
		}
		if len(lines) != size[1] {
			t.Errorf("%d lines on %d", len(lines), size[1])
		}
		golden(t, fmt.Sprintf("top-%d.txt", size[0]), strings.Join(lines, "\n")+"\n")
	}
	v := aView(80, 12)
	v.colour = true
	golden(t, "top-colour.txt", strings.ReplaceAll(strings.Join(v.lines(), "\n")+"\n", "\x1b", "ESC"))

	empty := &view{o: v.o, width: 80, height: 6, order: byMessages}
	if got := strings.Join(empty.lines(), "\n"); !strings.Contains(got, "looking …") {
		t.Errorf("before the first look: %s", got)
	}
	for _, k := range []screen.Key{'/', 'a', screen.Enter, 'n', screen.Down} { // somebody is quick
		empty.key(k)
		empty.lines()
	}
}

func names(v *view) string { return strings.Join(v.visible(), " ") }

func TestKeys(t *testing.T) {
	v := aView(80, 7) // two rows
	press := func(keys ...screen.Key) {
		for _, k := range keys {
			if !v.key(k) {
				t.Fatalf("key %d ends it", k)
			}
		}
	}
	for _, step := range []struct {
		keys []screen.Key
		want string
	}{
		{nil, "news burst"},
		{[]screen.Key{'n'}, "a-name broken"},
		{[]screen.Key{'n'}, "新闻 news"},
		{[]screen.Key{'b'}, "a-name news"},
		{[]screen.Key{'l'}, "burst news"},
		{[]screen.Key{'n', screen.Down}, "broken burst"},
		{[]screen.Key{screen.PageDown}, "evil idle"},
		{[]screen.Key{screen.End}, "news 新闻"},
		{[]screen.Key{screen.Up}, "idle news"},
		{[]screen.Key{screen.Home}, "a-name broken"},
		{[]screen.Key{'/', 'e', 'q', screen.Backspace}, "a-name broken"}, // q does not end it here
		{[]screen.Key{'w', screen.Enter}, "news"},
		{[]screen.Key{screen.Escape}, "a-name broken"},
		{[]screen.Key{'/', 'x', 'x', 'x'}, ""},
		{[]screen.Key{screen.Escape}, "a-name broken"},
	} {
		press(step.keys...)
		got := strings.NewReplacer("-that-is-longer-than-there-is-room-for-it-on-most-screens", "", "\x1b[2J", "").Replace(names(v))
		if got != step.want {
			t.Errorf("after %v: %q, want %q", step.keys, got, step.want)
		}
	}
	v.add(nil, errors.New("the broker\nhas gone"))
	if got := v.lines()[2]; got != `✗ the broker\nhas gone` {
		t.Errorf("the line of an error: %q", got)
	}
	for _, k := range []screen.Key{'q', screen.Interrupt} {
		if v.key(k) {
			t.Errorf("%d does not end it", k)
		}
	}
}

// Streams that have gone leave nothing behind.
func TestViewForgets(t *testing.T) {
	v := aView(80, 12)
	l := aLook(start.Add(time.Hour), 1)
	l.Streams = l.Streams[:1]
	if v.add(l, nil); len(v.past) != 1 || v.past["news"].Len() != 41 || len(v.all) != 1 {
		t.Errorf("%d histories, %d rows", len(v.past), len(v.all))
	}
}

func TestShow(t *testing.T) {
	utc(t)
	for _, output := range []string{"table", "tsv", "json"} {
		var b bytes.Buffer
		if err := show(&iostreams.Streams{Out: &b}, options{Options: listing.Options{Output: output}, stale: time.Hour}, aLook(start, 0)); err != nil {
			t.Fatal(err)
		}
		golden(t, "show."+output, b.String())
	}
}

// Who reads is not known where groups could not be asked, which differs from
// nobody.
func TestReadersNotKnown(t *testing.T) {
	l := aLook(start, 0)
	l.readers = readers{groups: -1}
	for output, want := range map[string]string{"table": "  -  1000 2000 3000 4000\n", "tsv": "\t\t1000 2000 3000 4000\n", "json": `"next":["1000","2000","3000","4000"],"bursting"`} {
		var b bytes.Buffer
		if err := show(&iostreams.Streams{Out: &b}, options{Options: listing.Options{Output: output}}, l); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(b.String(), want) {
			t.Errorf("%s:\n%s\nwant %q in it", output, b.String(), want)
		}
	}
}

// A thousand streams, of which a hundred change.
func BenchmarkLook(b *testing.B) {
	st := ss.New(memory.NewStore().Driver(memory.Options{}), ss.Options{})
	defer st.Close(b.Context())
	c := admin.New(st)
	for i := range 1000 {
		if _, err := c.Apply(b.Context(), admin.CreateStream{StreamSpec: admin.StreamSpec{Name: fmt.Sprintf("s%03d", i), Shards: 1}}); err != nil {
			b.Fatal(err)
		}
	}
	s, v := admin.NewSampler(c, admin.StreamFilter{}), &view{o: options{interval: time.Second}, order: byMessages, width: 120, height: 40}
	b.ReportAllocs()
	for b.Loop() {
		r, err := s.Sample(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		v.add(&look{r, readers{}}, nil)
		s.Watch(v.visible()...)
		if len(v.lines()) != 40 {
			b.Fatal("lines")
		}
	}
}
