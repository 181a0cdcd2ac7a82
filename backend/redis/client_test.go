package redis

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/rueidis"

	"github.com/seastreamer/seastreamer"
	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

// open opens a broker URL for the test, which closes it.
func open(t testing.TB, url string, o Options) *client {
	t.Helper()
	u, err := driver.ParseBroker(url)
	if err != nil {
		t.Fatal(err)
	}
	d, err := OpenDriver(t.Context(), u, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := d.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return d.(*client)
}

// run sends one command, whose words before the key are in one string, and
// fails the test where it fails.
func run(t *testing.T, c *client, command, key string, args ...string) string {
	t.Helper()
	rc, err := c.connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	m, err := rc.Do(t.Context(), rc.B().Arbitrary(strings.Fields(command)...).Keys(key).Args(args...).Build()).ToMessage()
	if err != nil {
		t.Fatalf("%s %s %q: %v", command, key, args, err)
	}
	s, _ := m.ToString()
	return s
}

// with is a URL with more options.
func with(url, options string) string {
	if strings.Contains(url, "?") {
		return url + "&" + options
	}
	return url + "/?" + options
}

// topologies are the ways in which Redis is run.
var topologies = []struct {
	name  string
	start func(testing.TB, redistest.Options) *redistest.Servers
}{
	{"single", redistest.ForTest},
	{"sentinel", redistest.SentinelForTest},
	{"cluster", redistest.ClusterForTest},
}

func TestBounds(t *testing.T) {
	t.Parallel()
	for _, top := range topologies {
		t.Run(top.name, func(t *testing.T) {
			c := open(t, top.start(t, redistest.Options{NodeTimeout: redistest.Patient}).URL(), Options{})
			if err := c.Ping(t.Context()); err != nil {
				t.Fatal(err)
			}
			run(t, c, "XADD", "bare", "7-1", "msg", "x")
			run(t, c, "XADD", "bare", "9-3", "msg", "x")
			run(t, c, "XGROUP CREATE", "empty", "g", "0", "MKSTREAM")
			run(t, c, "XADD", "trimmed", "5-5", "msg", "x")
			run(t, c, "XTRIM", "trimmed", "MAXLEN", "0")
			const shards = 1200
			want := map[driver.Shard]driver.Bound{}
			for i := range shards {
				run(t, c, "XADD", "many:"+strconv.Itoa(i), strconv.Itoa(i+1)+"-0", "msg", "x")
				ms := uint64(i + 1)
				want[driver.Shard{Stream: "many", Index: int32(i)}] = driver.Bound{First: driver.Seq{Hi: ms}, Next: driver.Seq{Hi: ms, Lo: 1}}
			}
			run(t, c, "XADD", "many", "1-0", "msg", "not read: there are shards")
			want[driver.Shard{Stream: "bare"}] = driver.Bound{First: driver.Seq{Hi: 7, Lo: 1}, Next: driver.Seq{Hi: 9, Lo: 4}}
			want[driver.Shard{Stream: "empty"}] = driver.Bound{}
			want[driver.Shard{Stream: "trimmed"}] = driver.Bound{First: driver.Seq{Hi: 5, Lo: 6}, Next: driver.Seq{Hi: 5, Lo: 6}}
			want[driver.Shard{Stream: "many:7"}] = driver.Bound{First: driver.Seq{Hi: 8}, Next: driver.Seq{Hi: 8, Lo: 1}}
			got, err := c.Bounds(t.Context(), []string{"bare", "empty", "trimmed", "many", "many:7"})
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("bounds (-want +got):\n%s", d)
			}
			if _, err := c.Bounds(t.Context(), []string{"bare", "missing"}); !errors.Is(err, driver.ErrNotFound) || !strings.Contains(err.Error(), `"missing"`) {
				t.Errorf("a missing stream: got %v, want ErrNotFound that names it", err)
			}
			if _, err := c.Bounds(t.Context(), []string{"missing:3"}); !errors.Is(err, driver.ErrNotFound) {
				t.Errorf("a missing key: got %v, want ErrNotFound", err)
			}
		})
	}
}

func TestSparseShards(t *testing.T) {
	t.Parallel()
	for _, top := range topologies {
		t.Run(top.name, func(t *testing.T) {
			s := top.start(t, redistest.Options{NodeTimeout: redistest.Patient})
			for _, tag := range hashTags {
				c := open(t, with(s.URL(), "discover=scan&hash_tag="+tag), Options{})
				for _, i := range []int32{3, 7, 70000} {
					run(t, c, "XADD", c.o.shardKey("a*[b]"+tag, i), "1-0", "msg", "x")
				}
				run(t, c, "XADD", c.o.shardKey("axxb"+tag, 1), "1-0", "msg", "another stream")
				run(t, c, "XADD", c.o.shardKey("a*[b]"+tag, 1)+"x", "1-0", "msg", "no shard")
				l, err := c.discover(t.Context(), "a*[b]"+tag)
				if err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff([]int32{3, 7, 70000}, l.shards); d != "" || !l.sharded {
					t.Errorf("hash_tag=%s: sharded %v, shards (-want +got):\n%s", tag, l.sharded, d)
				}
				if l, err = c.discover(t.Context(), "nothing"); err != nil || l.exists() {
					t.Errorf("a missing stream: got %v, %v", l, err)
				}
			}
		})
	}
}

func TestKeys(t *testing.T) {
	for _, c := range []struct{ tag, stream, bare, shard string }{
		{"none", "s", "s", "s:2"},
		{"none", "s:4", "s:4", "s:4:2"},
		{"stream", "s", "{s}", "{s}:2"},
		{"stream", "s:4", "{s}:4", ""},
		{"stream", "a{b}c", "a{b}c", "a{b}c:2"},
		{"stream", "a{b}c:4", "a{b}c:4", ""},
		{"shard", "s", "s", "s:{2}"},
		{"shard", "s:4", "s:{4}", ""},
		{"shard", "a{b}c", "a{b}c", "a{b}c:2"},
		{"shard", "a{b}c:4", "a{b}c:4", ""},
		{"none", "s:04", "s:04", "s:04:2"},
		{"none", ":4", ":4", ":4:2"},
	} {
		o := &Options{HashTag: c.tag}
		if got := o.bareKey(c.stream); got != c.bare {
			t.Errorf("hash_tag=%s, stream %s: key %q, want %q", c.tag, c.stream, got, c.bare)
		}
		if got := o.shardKey(c.stream, 2); c.shard != "" && got != c.shard {
			t.Errorf("hash_tag=%s, stream %s, shard 2: key %q, want %q", c.tag, c.stream, got, c.shard)
		}
	}
}

// TestSlots compares with what a server computes.
func TestSlots(t *testing.T) {
	t.Parallel()
	s := redistest.ClusterForTest(t, redistest.Options{NodeTimeout: redistest.Patient})
	for _, key := range []string{"", "a", "news:0", "{a}b", "a{b}c{d}", "a{}b", "{", "}{", "a{{b}}c", "\x00\xff", strings.Repeat("x", 300)} {
		want := s.Call(t, 1, "CLUSTER", "KEYSLOT", key)
		if got := strconv.Itoa(int(slot(key))); got != want {
			t.Errorf("slot of %q: got %s, want %s", key, got, want)
		}
	}
}

func TestAs(t *testing.T) {
	s := redistest.ForTest(t, redistest.Options{})
	st, err := Open(t.Context(), s.URL(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close(t.Context())
	if _, ok := seastreamer.As[rueidis.Client](st); ok {
		t.Error("there is a client before a server has answered")
	}
	p, ok := seastreamer.As[interface{ Ping(context.Context) error }](st)
	if !ok {
		t.Fatal("there is no Ping")
	}
	if err := p.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	rc, ok := seastreamer.As[rueidis.Client](st)
	if !ok {
		t.Fatal("there is no rueidis.Client")
	}
	if err := rc.Do(t.Context(), rc.B().Ping().Build()).Error(); err != nil {
		t.Error(err)
	}
}

func TestClosed(t *testing.T) {
	c := open(t, redistest.ForTest(t, redistest.Options{}).URL(), Options{})
	if err := c.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	for name, err := range map[string]error{
		"Ping":     c.Ping(t.Context()),
		"Bounds":   second(c.Bounds(t.Context(), []string{"s"})),
		"Consumer": second(c.Consumer(t.Context(), driver.ConsumerConfig{Streams: []string{"s"}})),
		"Producer": second(c.Producer(t.Context(), driver.ProducerConfig{})),
		"connect":  second(c.connect(t.Context())),
	} {
		if !errors.Is(err, driver.ErrClosed) {
			t.Errorf("%s: got %v, want ErrClosed", name, err)
		}
	}
}

// Who waits for a connection when the driver is closed is told that, and not that
// the server is away: it is not to be tried again.
func TestClosedWhileConnecting(t *testing.T) {
	t.Parallel()
	r := redistest.ForTest(t, redistest.Options{})
	if err := r.Pause(1); err != nil {
		t.Fatal(err)
	}
	c := open(t, r.URL(), Options{})
	asked := make(chan error, 1)
	go func() { asked <- c.Ping(t.Context()) }()
	until(t, "it waits for the server", func() bool { return c.open.Load() > 0 })
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantKind(t, "what was asked before", <-asked, driver.ErrClosed)
}

func second[T any](_ T, err error) error { return err }

func TestNumericStreamWarns(t *testing.T) {
	var text strings.Builder
	o := Options{Options: seastreamer.Options{Logger: slog.New(slog.NewTextHandler(&text, nil))}}
	c := open(t, redistest.ForTest(t, redistest.Options{}).URL(), o)
	for range 2 {
		if _, err := c.Bounds(t.Context(), []string{"1"}); !errors.Is(err, driver.ErrNotFound) {
			t.Fatal(err)
		}
	}
	if got := text.String(); strings.Count(got, "?db=1") != 1 {
		t.Errorf("logged %q, want one line with ?db=1", got)
	}
}

func TestDatabases(t *testing.T) {
	s := redistest.ForTest(t, redistest.Options{})
	c := open(t, with(s.URL(), "db=3"), Options{})
	run(t, c, "XADD", "s", "1-0", "msg", "x")
	if got := s.Call(t, 1, "EXISTS", "s"); got != "0" {
		t.Error("database 0 has what was written to 3")
	}
}
