package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

// sink reads a consumer as the core does and keeps what comes, by key.
type sink struct {
	t    *testing.T
	cons driver.Consumer

	mu     sync.Mutex
	gens   map[driver.Shard]uint64
	gen    uint64
	next   map[driver.Shard]driver.Seq
	events []string
	got    []string // id or "gap …", in order
	from   func(driver.Position) (driver.Seq, bool)
}

// consume opens a consumer of c.
func consume(t *testing.T, c *client, conf driver.ConsumerConfig) *sink {
	t.Helper()
	s := &sink{t: t, gens: map[driver.Shard]uint64{}, next: map[driver.Shard]driver.Seq{}}
	s.open(c, conf)
	return s
}

func (s *sink) open(c *client, conf driver.ConsumerConfig) {
	s.t.Helper()
	conf.Events = driver.Events{Assigned: s.assigned, Revoked: s.revoked}
	cons, err := c.Consumer(s.t.Context(), conf)
	if err != nil {
		s.t.Fatal(err)
	}
	s.cons = cons
	s.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := cons.Close(ctx); err != nil {
			s.t.Errorf("Close: %v", err)
		}
	})
}

func (s *sink) assigned(_ context.Context, at []driver.Position) (uint64, []driver.Position, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gen++
	var from []driver.Position
	for _, p := range at {
		s.events = append(s.events, fmt.Sprintf("assigned %v at %s", p.Shard, idText(p.Next)))
		s.gens[p.Shard], s.next[p.Shard] = s.gen, p.Next
		if s.from != nil {
			if q, ok := s.from(p); ok {
				from = append(from, driver.Position{Shard: p.Shard, Next: q})
				s.next[p.Shard] = q
			}
		}
	}
	return s.gen, from, nil
}

func (s *sink) revoked(_ context.Context, shards []driver.Shard, lost bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.SortFunc(shards, driver.Shard.Compare)
	s.events = append(s.events, fmt.Sprintf("revoked %v %v", shards, lost))
}

// fetch takes what one Fetch returns, within the time given.
func (s *sink) fetch(within time.Duration) error {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), within)
	defer cancel()
	batches, err := s.cons.Fetch(ctx, nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range batches {
		if b.Gen() != s.gens[b.Shard()] {
			continue
		}
		for i := range b.Len() {
			if b.Seq(i).Less(s.next[b.Shard()]) {
				s.t.Errorf("%v: %s comes where %s is next", b.Shard(), idText(b.Seq(i)), idText(s.next[b.Shard()]))
			}
			s.got = append(s.got, idText(b.Seq(i)))
			s.next[b.Shard()] = b.Seq(i).Succ()
		}
		if b.Next().Less(s.next[b.Shard()]) {
			s.t.Errorf("%v: batch.Next %s after %s", b.Shard(), idText(b.Next()), idText(s.next[b.Shard()]))
		}
		s.next[b.Shard()] = b.Next()
	}
	var gap *driver.GapError
	if errors.As(err, &gap) {
		if gap.From != s.next[gap.Shard] && gap.Cause == driver.GapTrimmed {
			s.t.Errorf("%v: the position is %s", gap, idText(s.next[gap.Shard]))
		}
		s.got = append(s.got, fmt.Sprintf("gap %s %s %v", idText(gap.From), idText(gap.To), gap.Cause))
		s.next[gap.Shard] = gap.To
		return nil
	}
	return err
}

// wants reads until what has come is want.
func (s *sink) wants(want ...string) {
	s.t.Helper()
	for len(s.got) < len(want) {
		if err := s.fetch(20 * time.Second); err != nil && !errors.Is(err, driver.ErrUnavailable) {
			s.t.Fatalf("after %q: %v", s.got, err)
		}
	}
	if d := cmp.Diff(want, s.got); d != "" {
		s.t.Fatalf("(-want +got):\n%s", d)
	}
	s.got = nil
}

// quiet fails where something comes within the time.
func (s *sink) quiet(within time.Duration) {
	s.t.Helper()
	for end := time.Now().Add(within); time.Now().Before(end); {
		_ = s.fetch(time.Until(end))
	}
	if len(s.got) > 0 {
		s.t.Fatalf("got %q, want nothing", s.got)
	}
}

// standsAt reads until the position in stream k is at.
func (s *sink) standsAt(at string) {
	s.t.Helper()
	for s.next[driver.Shard{Stream: "k"}] != seqOf(s.t, at) {
		if err := s.fetch(20 * time.Second); err != nil {
			s.t.Fatalf("at %v: %v", s.next, err)
		}
	}
}

func seqOf(t testing.TB, id string) driver.Seq {
	t.Helper()
	q, ok := parseID(id)
	if !ok {
		t.Fatalf("%q is no id", id)
	}
	return q
}

// single is a server, and a client of it that looks around often.
func single(t *testing.T) (*redistest.Servers, *client) {
	t.Helper()
	s := redistest.ForTest(t, redistest.Options{})
	return s, open(t, s.URL(), Options{DiscoverEvery: 100 * time.Millisecond})
}

// addTo adds entries with these ids to stream k.
func addTo(t *testing.T, s *redistest.Servers, ids ...string) {
	t.Helper()
	for _, id := range ids {
		s.Call(t, 1, "XADD", "k", id, "msg", "x"+id)
	}
}

var earliest = driver.ConsumerConfig{Streams: []string{"k"}, Start: driver.Earliest}

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

func (s *sink) seek(to map[driver.Shard]driver.Start, want ...string) {
	s.t.Helper()
	s.gen++
	began := time.Now()
	at, err := s.cons.Seek(s.t.Context(), s.gen, to)
	if err != nil {
		s.t.Fatal(err)
	}
	if d := time.Since(began); d > blockFor/2 {
		s.t.Errorf("Seek took %v", d)
	}
	slices.SortFunc(at, func(a, b driver.Position) int { return a.Shard.Compare(b.Shard) })
	var got []string
	for _, p := range at {
		got = append(got, idText(p.Next))
		s.gens[p.Shard], s.next[p.Shard] = s.gen, p.Next
	}
	if !slices.Equal(got, want) {
		s.t.Errorf("Seek(%v): got %q, want %q", to, got, want)
	}
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

func TestCloseIdle(t *testing.T) {
	s, c := single(t)
	addTo(t, s, "1-0")
	r := consume(t, c, earliest)
	r.wants("1-0")
	r.quiet(50 * time.Millisecond)
	fetched := make(chan error, 1)
	go func() { fetched <- r.fetch(10 * time.Second) }()
	began := time.Now()
	if err := r.cons.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-fetched; !errors.Is(err, driver.ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
	if d := time.Since(began); d > blockFor/2 {
		t.Errorf("Close took %v", d)
	}
	if want := []string{"assigned k[0] at 1-0", "revoked [k[0]] false"}; !slices.Equal(r.events, want) {
		t.Errorf("got %q, want %q", r.events, want)
	}
}

// TestCloseOfASilentServer: nobody answers CLIENT UNBLOCK.
func TestCloseOfASilentServer(t *testing.T) {
	s, c := single(t)
	addTo(t, s, "1-0")
	r := consume(t, c, earliest)
	r.wants("1-0")
	r.quiet(50 * time.Millisecond)
	if err := s.Pause(1); err != nil {
		t.Fatal(err)
	}
	defer s.Continue(1)
	began := time.Now()
	if err := r.cons.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(began); d > blockFor/2 {
		t.Errorf("Close took %v", d)
	}
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

// TestClusterReader reads shards all over a cluster while a slot moves and
// masters change.
func TestClusterReader(t *testing.T) {
	t.Parallel()
	s := redistest.ClusterForTest(t, redistest.Options{})
	c := open(t, s.URL(), Options{DiscoverEvery: 200 * time.Millisecond})
	const shards = 12
	write := func(i, n int) {
		t.Helper()
		until(t, "a write", func() bool {
			rc, err := c.connect(t.Context())
			return err == nil && rc.Do(t.Context(), rc.B().Xadd().Key(fmt.Sprintf("k:%d", i)).Id(fmt.Sprintf("%d-0", n)).FieldValue().FieldValue("msg", "x").Build()).Error() == nil
		})
	}
	n := 0
	var r *sink
	all := func() {
		t.Helper()
		n++
		for i := range shards {
			write(i, n)
		}
		if r == nil {
			r = consume(t, c, earliest)
		}
		for len(r.got) < shards {
			if err := r.fetch(30 * time.Second); err != nil && !errors.Is(err, driver.ErrUnavailable) {
				t.Fatalf("round %d, got %q: %v", n, r.got, err)
			}
		}
		for _, g := range r.got {
			if g != fmt.Sprintf("%d-0", n) {
				t.Fatalf("round %d: got %q", n, r.got)
			}
		}
		r.got = nil
	}
	all()
	all()
	master, err := s.Master(int(slot("k:3")))
	if err != nil {
		t.Fatal(err)
	}
	if master, err = s.Failover(t.Context(), master); err != nil {
		t.Fatal(err)
	}
	all()
	s.Kill(master)
	all()
	if lanes := len(r.cons.(*reader).lanes); lanes != shards {
		t.Errorf("got %d lanes, want %d", lanes, shards)
	}
	began := time.Now()
	if err := r.cons.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if d := time.Since(began); d > blockFor/2 {
		t.Errorf("Close took %v", d)
	}
}

// TestClusterGone: all nodes of a cluster die, and come back.
func TestClusterGone(t *testing.T) {
	t.Parallel()
	s := redistest.ClusterForTest(t, redistest.Options{AppendOnly: true})
	c := open(t, s.URL(), Options{DiscoverEvery: 200 * time.Millisecond})
	rc, err := c.connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	write := func(id string) error {
		return rc.Do(t.Context(), rc.B().Xadd().Key("k").Id(id).FieldValue().FieldValue("msg", "x").Build()).Error()
	}
	if err := write("1-0"); err != nil {
		t.Fatal(err)
	}
	r := consume(t, c, earliest)
	r.wants("1-0")
	r.quiet(20 * time.Millisecond)
	for i := range 6 {
		s.Kill(i + 1)
	}
	for range 5 {
		if err := r.fetch(20 * time.Second); !errors.Is(err, driver.ErrUnavailable) {
			t.Errorf("got %v, want ErrUnavailable", err)
		}
	}
	for i := range 6 {
		if err := s.Restart(t.Context(), i+1); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "a write", func() bool { return write("2-0") == nil })
	r.wants("2-0")
}

// TestSentinelReader reads on behind a fail-over. What the old master had and
// its replicas had not is lost, which is noticed.
func TestSentinelReader(t *testing.T) {
	t.Parallel()
	s := redistest.SentinelForTest(t, redistest.Options{})
	c := open(t, s.URL(), Options{DiscoverEvery: 200 * time.Millisecond})
	addTo(t, s, "1-0", "2-0")
	r := consume(t, c, earliest)
	r.wants("1-0", "2-0")
	s.Call(t, 1, "WAIT", "2", "5000")
	s.Kill(1)
	master := 1
	until(t, "another master", func() bool {
		m, err := s.Master(0)
		if err == nil {
			master = m
		}
		return master != 1
	})
	until(t, "a write", func() bool { _, err := s.Do(master, "XADD", "k", "3-0", "msg", "x"); return err == nil })
	r.wants("3-0")
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
	r := consume(t, c, earliest)
	r.wants("1-0", "2-0")
	for range 3 {
		r.quiet(30 * time.Millisecond)
		began := time.Now()
		r.seek(map[driver.Shard]driver.Start{{Stream: "k"}: driver.From(driver.Seq{Hi: 2})}, "2-0")
		r.wants("2-0")
		if d := time.Since(began); d > blockFor/2 {
			t.Errorf("it came after %v", d)
		}
	}
	r.quiet(30 * time.Millisecond)
	began := time.Now()
	if err := r.cons.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if d := time.Since(began); d > blockFor/2 {
		t.Errorf("Close took %v", d)
	}
}

// TestLargeAndSmall: the number of messages in a read follows their size, and
// what is fetched ahead is bounded by MaxBytes, about.
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
	for got := 0; got < want; {
		before := len(r.got)
		if err := r.fetch(20 * time.Second); err != nil {
			t.Fatal(err)
		}
		got += len(r.got) - before
		m.mu.Lock()
		queued := m.queued
		m.mu.Unlock()
		if queued > 32<<20 {
			t.Errorf("%d bytes are fetched ahead", queued)
		}
	}
	if len(r.got) != want {
		t.Errorf("got %d, want %d", len(r.got), want)
	}
}

// TestMigratingSlotReader reads a stream that keeps one entry, so that each
// read has to be looked at, while its slot moves from node to node.
func TestMigratingSlotReader(t *testing.T) {
	t.Parallel()
	s := redistest.ClusterForTest(t, redistest.Options{})
	c := open(t, s.URL(), Options{DiscoverEvery: 200 * time.Millisecond})
	const key = "k"
	from, err := s.Master(int(slot(key)))
	if err != nil {
		t.Fatal(err)
	}
	rc, err := c.connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	var r *sink
	step := func() {
		t.Helper()
		for range 3 {
			n++
			until(t, "a write", func() bool {
				return rc.Do(t.Context(), rc.B().Arbitrary("XADD").Keys(key).Args("MAXLEN", "1", fmt.Sprintf("%d-0", n), "msg", "x").Build()).Error() == nil
			})
			if r == nil {
				r = consume(t, c, earliest)
			}
			r.wants(fmt.Sprintf("%d-0", n))
		}
	}
	step()
	for range 3 {
		to := from%3 + 1
		m, err := s.BeginMove(int(slot(key)), to)
		if err != nil {
			t.Fatal(err)
		}
		step()
		if err := m.Keys(); err != nil {
			t.Fatal(err)
		}
		step() // by ASK
		if err := m.End(t.Context()); err != nil {
			t.Fatal(err)
		}
		step() // by MOVED
		from = to
	}
}
