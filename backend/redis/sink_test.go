package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
	claim  func(context.Context) error // of a shard that is assigned, where it is not nil
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
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := cons.Close(ctx); err != nil {
			s.t.Errorf("Close: %v", err)
		}
	})
}

func (s *sink) assigned(ctx context.Context, at []driver.Position) (uint64, []driver.Position, error) {
	if s.claim != nil {
		if err := s.claim(ctx); err != nil {
			return 0, nil, err
		}
	}
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
		if err := s.fetch(time.Minute); err != nil && !errors.Is(err, driver.ErrUnavailable) {
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
		if err := s.fetch(time.Minute); err != nil && !errors.Is(err, driver.ErrUnavailable) {
			s.t.Fatalf("at %v: %v", s.next, err)
		}
	}
}

// readTo waits until stream k is read ahead of Fetch up to id.
func (s *sink) readTo(id string) {
	s.t.Helper()
	m := s.cons.(*reader)
	until(s.t, "reading up to "+id, func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		return !m.at[driver.Shard{Stream: "k"}].place.next.Less(seqOf(s.t, id))
	})
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

func (s *sink) seek(to map[driver.Shard]driver.Start, want ...string) {
	s.t.Helper()
	var at []driver.Position
	for slow := 0; ; { // which a busy machine is once, and one that waits again and again
		s.gen++
		began := time.Now()
		var err error
		if at, err = s.cons.Seek(s.t.Context(), s.gen, to); err != nil {
			s.t.Fatal(err)
		}
		d := time.Since(began)
		if d <= blockFor/2 {
			break
		}
		if slow++; slow == 3 {
			s.t.Errorf("Seek took %v, and as long twice before", d)
			break
		}
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
