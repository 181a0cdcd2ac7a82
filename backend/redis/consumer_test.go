package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

func TestReadAndWait(t *testing.T) {
	s, c := single(t)
	addTo(t, s, "1-0", "2-0")
	r := consume(t, c, earliest)
	r.wants("1-0", "2-0")
	addTo(t, s, "3-0")
	r.wants("3-0")
	r.quiet(200 * time.Millisecond)
	addTo(t, s, "4-0", "5-0")
	r.wants("4-0", "5-0")
}

func TestStarts(t *testing.T) {
	s, c := single(t)
	addTo(t, s, "10-0", "20-0", "30-0")
	at := func(how driver.Start) driver.ConsumerConfig {
		return driver.ConsumerConfig{Streams: []string{"k"}, Start: how}
	}
	from := func(id string) driver.Start { return driver.From(seqOf(t, id)) }
	for _, x := range []struct {
		how   driver.Start
		begin string
		want  []string
	}{
		{driver.Earliest, "10-0", []string{"10-0", "20-0", "30-0"}},
		{driver.Latest, "30-1", nil},
		{from("0-0"), "10-0", []string{"10-0", "20-0", "30-0"}},
		{from("20-0"), "20-0", []string{"20-0", "30-0"}},
		{from("15-0"), "15-0", []string{"20-0", "30-0"}},
		{from("30-1"), "30-1", nil},
		{from("45-0"), "45-0", nil}, // 40-0 comes first, and is not wanted
		{driver.Since(time.UnixMilli(11)), "20-0", []string{"20-0", "30-0"}},
		{driver.Since(time.UnixMilli(31)), "30-1", nil},
	} {
		r := consume(t, c, at(x.how))
		if want := []string{"assigned k[0] at " + x.begin}; !slices.Equal(r.events, want) {
			t.Errorf("%v: got %q, want %q", x.how, r.events, want)
		}
		r.wants(x.want...)
		defer func() {
			rest := []string{"40-0", "50-0"}
			if x.begin == "45-0" {
				rest = rest[1:]
			}
			r.wants(rest...)
		}()
	}
	addTo(t, s, "40-0", "50-0")
}

func TestOwnTimes(t *testing.T) {
	s, c := single(t)
	day := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	for i, minute := range []int{0, 10, 10, 5, 20} {
		ts := strconv.FormatInt(day.Add(time.Duration(minute)*time.Minute).UnixMilli(), 10)
		s.Call(t, 1, "XADD", "k", fmt.Sprintf("1800000000000-%d", i), "msg", "x", "ts", ts)
	}
	r := consume(t, c, driver.ConsumerConfig{Streams: []string{"k"}, Start: driver.Since(day.Add(time.Minute))})
	r.wants("1800000000000-1", "1800000000000-2", "1800000000000-3", "1800000000000-4")
	sh := driver.Shard{Stream: "k"}
	r.seek(map[driver.Shard]driver.Start{sh: driver.Since(day.Add(11 * time.Minute))}, "1800000000000-4")
	r.wants("1800000000000-4")
}

func TestSeek(t *testing.T) {
	s, c := single(t)
	addTo(t, s, "1-0", "2-0", "3-0")
	r := consume(t, c, earliest)
	r.wants("1-0", "2-0", "3-0")
	sh := driver.Shard{Stream: "k"}
	for range 3 {
		r.seek(map[driver.Shard]driver.Start{sh: driver.From(driver.Seq{Hi: 2})}, "2-0")
		r.wants("2-0", "3-0")
		r.quiet(30 * time.Millisecond) // it waits at the server
		r.seek(map[driver.Shard]driver.Start{sh: driver.Earliest}, "1-0")
		r.wants("1-0", "2-0", "3-0")
	}
	r.seek(map[driver.Shard]driver.Start{sh: driver.Latest, {Stream: "other"}: driver.Earliest}, "3-1")
	r.quiet(30 * time.Millisecond)
}

// TestSeekThatFails: where one of the shards cannot be moved none is, whichever
// is looked at first.
func TestSeekThatFails(t *testing.T) {
	s, c := single(t)
	s.Call(t, 1, "XADD", "j", "1-0", "msg", "x")
	addTo(t, s, "1-0")
	r := consume(t, c, driver.ConsumerConfig{Streams: []string{"k", "j"}, Start: driver.Earliest})
	s.Call(t, 1, "DEL", "j")
	for range 20 {
		r.gen++
		to := map[driver.Shard]driver.Start{{Stream: "k"}: driver.Latest, {Stream: "j"}: driver.Earliest}
		if _, err := r.cons.Seek(t.Context(), r.gen, to); !errors.Is(err, driver.ErrNotFound) {
			t.Fatalf("got %v, want ErrNotFound", err)
		}
	}
	for len(r.got) == 0 {
		if err := r.fetch(time.Minute); err != nil && !errors.Is(err, driver.ErrUnavailable) {
			t.Fatal(err)
		}
		r.got = slices.DeleteFunc(r.got, func(id string) bool { return id != "1-0" })
	}
}

// soon has something done that takes blockFor where the read at the server is
// not woken. Since a machine may stall, once in five times is enough.
func soon(t *testing.T, what string, do func()) {
	t.Helper()
	var took []time.Duration
	for len(took) < 5 {
		began := time.Now()
		do()
		d := time.Since(began)
		if d < blockFor/2 {
			return
		}
		took = append(took, d)
	}
	t.Errorf("%s took %v", what, took)
}

func TestCloseIdle(t *testing.T) {
	s, c := single(t)
	addTo(t, s, "1-0")
	soon(t, "Close", func() {
		r := consume(t, c, earliest)
		r.wants("1-0")
		r.quiet(50 * time.Millisecond)
		fetched := make(chan error, 1)
		go func() { fetched <- r.fetch(30 * time.Second) }()
		if err := r.cons.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := <-fetched; !errors.Is(err, driver.ErrClosed) {
			t.Errorf("got %v, want ErrClosed", err)
		}
		if want := []string{"assigned k[0] at 1-0", "revoked [k[0]] false"}; !slices.Equal(r.events, want) {
			t.Errorf("got %q, want %q", r.events, want)
		}
	})
}

// TestCloseOfASilentServer: nobody answers CLIENT UNBLOCK.
func TestCloseOfASilentServer(t *testing.T) {
	s, c := single(t)
	addTo(t, s, "1-0")
	soon(t, "Close", func() {
		r := consume(t, c, earliest)
		r.wants("1-0")
		r.quiet(50 * time.Millisecond)
		if err := s.Pause(1); err != nil {
			t.Fatal(err)
		}
		defer s.Continue(1)
		if err := r.cons.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

// TestHoleAtTheEnd: a bounded read ends although its last entries are deleted.
func TestHoleAtTheEnd(t *testing.T) {
	s, c := single(t)
	addTo(t, s, "1-0", "2-0", "3-0")
	s.Call(t, 1, "XDEL", "k", "3-0")
	r := consume(t, c, earliest)
	r.standsAt("3-1")
	addTo(t, s, "4-0", "5-0")
	r.wants("1-0", "2-0", "4-0", "5-0")
	addTo(t, s, "6-0")
	r.wants("6-0")
	s.Pipe(1, []string{"MULTI"}, []string{"XADD", "k", "7-0", "msg", "x"}, []string{"XDEL", "k", "7-0"}, []string{"EXEC"})
	r.standsAt("7-1") // when watch has looked
	r.wants()
}

func TestForeignEntriesAreDelivered(t *testing.T) {
	s, c := single(t)
	s.Call(t, 1, "XADD", "k", "1-0", "temp", "21", "unit", "C")
	s.Call(t, 1, "XADD", "k", "2-0", "msg", "a", "msg", "b", "key", "c")
	s.Call(t, 1, "XADD", "k", "3-0", "", "")
	r := consume(t, c, earliest)
	r.wants("1-0", "2-0", "3-0")
}

func TestWrongType(t *testing.T) {
	t.Parallel()
	s, c := single(t)
	s.Call(t, 1, "SET", "k", "x")
	_, err := c.Consumer(t.Context(), driver.ConsumerConfig{Streams: []string{"k"}})
	if !errors.Is(err, driver.ErrInvalid) {
		t.Errorf("open: got %v, want ErrInvalid", err)
	}
	s.Call(t, 1, "DEL", "k")
	addTo(t, s, "1-0")
	s.Call(t, 1, "XADD", "other", "1-0", "msg", "x")
	r := consume(t, c, driver.ConsumerConfig{Streams: []string{"k", "other"}, Start: driver.Earliest})
	r.wants("1-0", "1-0")
	s.Call(t, 1, "SET", "k", "x")
	for {
		err := r.fetch(20 * time.Second)
		if err == nil || errors.Is(err, driver.ErrUnavailable) {
			continue
		}
		if !errors.Is(err, driver.ErrInvalid) {
			t.Errorf("got %v, want ErrInvalid", err)
		}
		t.Log(err)
		break
	}
}

func TestMissingStream(t *testing.T) {
	_, c := single(t)
	if _, err := c.Consumer(t.Context(), earliest); !errors.Is(err, driver.ErrNotFound) {
		t.Errorf("got %v, want ErrNotFound", err)
	}
}

// TestNewShardBehindItsProgress: a shard that is found while Fetch waits has
// less than somebody has read of it before, and nothing else comes.
func TestNewShardBehindItsProgress(t *testing.T) {
	s, c := single(t)
	s.Call(t, 1, "XADD", "k:0", "1-0", "msg", "x")
	r := consume(t, c, driver.ConsumerConfig{Streams: []string{"k"}})
	r.quiet(10 * time.Millisecond)
	r.mu.Lock()
	r.from = func(driver.Position) (driver.Seq, bool) { return driver.Seq{Hi: 5}, true }
	r.mu.Unlock()
	s.Call(t, 1, "XADD", "k:1", "2-0", "msg", "x")
	r.wants("gap 5-0 2-1 truncated")
}

// TestNewShards reads shards that come while it runs, from their start.
func TestNewShards(t *testing.T) {
	for name, o := range map[string]Options{"exists": {}, "scan": {Discover: "scan"}} {
		t.Run(name, func(t *testing.T) {
			s := redistest.ForTest(t, redistest.Options{})
			o.DiscoverEvery = 100 * time.Millisecond
			c := open(t, s.URL(), o)
			s.Call(t, 1, "XADD", "k:0", "1-0", "msg", "x")
			r := consume(t, c, driver.ConsumerConfig{Streams: []string{"k"}})
			r.quiet(10 * time.Millisecond)
			s.Call(t, 1, "XADD", "k:1", "2-0", "msg", "x")
			r.wants("2-0")
			last := "k:2"
			if o.Discover == "scan" {
				last = "k:7"
			}
			s.Call(t, 1, "XADD", last, "3-0", "msg", "x")
			r.wants("3-0")
			s.Call(t, 1, "XADD", "k:0", "4-0", "msg", "x")
			r.wants("4-0")
			want := []string{"assigned k[0] at 1-1", "assigned k[1] at 2-0", fmt.Sprintf("assigned k[%s] at 3-0", last[2:])}
			if !slices.Equal(r.events, want) {
				t.Errorf("got %q, want %q", r.events, want)
			}
		})
	}
}

// TestNewShardIsClaimedSlowly: who is told of a new shard, and asks somebody else
// where to begin there, may take longer than a request to the server.
func TestNewShardIsClaimedSlowly(t *testing.T) {
	t.Parallel()
	s := redistest.ForTest(t, redistest.Options{})
	c := open(t, s.URL(), Options{DiscoverEvery: 100 * time.Millisecond, RequestTimeout: time.Second})
	s.Call(t, 1, "XADD", "k:0", "1-0", "msg", "x")
	r := &sink{t: t, gens: map[driver.Shard]uint64{}, next: map[driver.Shard]driver.Seq{}}
	r.claim = func(ctx context.Context) error {
		if _, bounded := ctx.Deadline(); bounded {
			<-ctx.Done()
		}
		return ctx.Err()
	}
	r.open(c, driver.ConsumerConfig{Streams: []string{"k"}})
	r.quiet(10 * time.Millisecond)
	s.Call(t, 1, "XADD", "k:1", "2-0", "msg", "x")
	r.wants("2-0")
}

// TestFetchUnderChurn ends the context of most Fetches, and seeks, while
// entries come: nothing is lost and nothing comes twice.
func TestFetchUnderChurn(t *testing.T) {
	s, c := single(t)
	addTo(t, s, "1-0")
	r := consume(t, c, earliest)
	const n = 400
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for i := 2; i <= n; i++ {
			s.Call(t, 1, "XADD", "k", fmt.Sprintf("%d-0", i), "msg", "x")
		}
	}()
	sh := driver.Shard{Stream: "k"}
	want := 1
	for i := 0; want <= n; i++ {
		_ = r.fetch(time.Duration(i%5) * 100 * time.Microsecond)
		for _, g := range r.got {
			if g != fmt.Sprintf("%d-0", want) {
				t.Fatalf("got %s, want %d-0", g, want)
			}
			want++
		}
		r.got = nil
		if i%7 == 0 {
			r.seek(map[driver.Shard]driver.Start{sh: driver.From(driver.Seq{Hi: uint64(max(want-2, 1))})}, fmt.Sprintf("%d-0", max(want-2, 1))) //nolint:gosec // positive
			want = max(want-2, 1)
		}
	}
	<-ended
}

// TestWithoutTheRightToUnblock: who may not use CLIENT UNBLOCK seeks and closes
// as fast, by another connection.
func TestWithoutTheRightToUnblock(t *testing.T) {
	s := redistest.ForTest(t, redistest.Options{Users: map[string]string{"reader": "on >secret ~* +@read +@connection +@transaction +xadd -client|unblock"}})
	addTo(t, s, "1-0", "2-0")
	c := open(t, s.URL(), Options{User: "reader", Password: "secret"})
	soon(t, "Close", func() {
		r := consume(t, c, earliest)
		r.wants("1-0", "2-0")
		for range 3 {
			soon(t, "Seek", func() {
				r.quiet(30 * time.Millisecond)
				r.seek(map[driver.Shard]driver.Start{{Stream: "k"}: driver.From(driver.Seq{Hi: 2})}, "2-0")
				r.wants("2-0")
			})
		}
		r.quiet(30 * time.Millisecond)
		if err := r.cons.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestLargeAndSmall: the number of messages in a read follows their size, and
// what is fetched ahead is bounded by MaxBytes, about: a read that is asked for
// before there was a large one may bring some of those.
func TestLargeAndSmall(t *testing.T) {
	t.Parallel()
	s, c := single(t)
	want := 0
	for i, size := range []int{10, 10, 300_000, 1_000_000, 10} {
		for j := range 40 {
			s.Call(t, 1, "XADD", "k", fmt.Sprintf("%d-%d", i+1, j), "msg", strings.Repeat("x", size))
			want++
		}
	}
	conf := earliest
	conf.MaxBytes = 1 << 20
	r := consume(t, c, conf)
	m := r.cons.(*reader)
	most := 0
	for len(r.got) < want {
		if err := r.fetch(20 * time.Second); err != nil && !errors.Is(err, driver.ErrUnavailable) {
			t.Fatal(err)
		}
		until(t, "it has fetched ahead", func() bool {
			m.mu.Lock()
			defer m.mu.Unlock()
			most = max(most, m.queued)
			ahead := 0
			for _, it := range m.queue {
				if it.batch != nil {
					ahead += it.batch.Len()
				}
			}
			return m.queued >= m.budget/2 || len(r.got)+ahead == want
		})
	}
	t.Logf("%d bytes at most", most)
	if most > 8<<20 {
		t.Errorf("%d bytes are fetched ahead", most)
	}
	if len(r.got) != want {
		t.Errorf("got %d, want %d", len(r.got), want)
	}
}
