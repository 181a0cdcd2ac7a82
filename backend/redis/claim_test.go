package redis

import (
	"testing"
	"time"

	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

// What somebody else has taken, acknowledged and deleted since it was listed as
// idle is not missing. What does not exist, and nobody has taken, is.
func TestTakenByAnotherSinceItWasListed(t *testing.T) {
	t.Parallel()
	s := redistest.ForTest(t, redistest.Options{})
	addNumbers(t, s, "s", numbers(1, 3)...)
	c := open(t, s.URL(), Options{})
	opened, err := c.Consumer(t.Context(), driver.ConsumerConfig{Streams: []string{"s"}, Group: "g", Start: driver.Earliest})
	if err != nil {
		t.Fatal(err)
	}
	m := opened.(*member) // whose lane does not run before the first Fetch
	defer m.Close(t.Context())
	s.Call(t, 1, "XREADGROUP", "GROUP", "g", "dead", "STREAMS", "s", ">")
	s.Call(t, 1, "XCLAIM", "s", "g", "dead", "0", "1-0", "2-0", "3-0", "IDLE", "3600000", "JUSTID")
	l := m.lanes[0]
	rc, err := c.connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	answers, err := c.ask(t.Context(), rc, rc.B().Xpending().Key("s").Group("g").Start("-").End("+").Count(10).Build())
	if err != nil {
		t.Fatal(err)
	}
	listed, err := pendingOf(answers[0].ToMessage())
	if err != nil || len(listed) != 3 {
		t.Fatalf("%d are listed as idle, %v, want 3", len(listed), err)
	}
	s.Call(t, 1, "XCLAIM", "s", "g", "other", "0", "1-0")
	s.Call(t, 1, "XACK", "s", "g", "1-0")
	s.Call(t, 1, "XDEL", "s", "1-0", "2-0")
	if err := l.take(t.Context(), rc, l.posts[0], listed, time.Now()); err != nil {
		t.Fatal(err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	want := driver.GapError{Shard: driver.Shard{Stream: "s"}, From: driver.Seq{Hi: 2}, To: driver.Seq{Hi: 2, Lo: 1}, Cause: driver.GapTrimmed}
	if len(m.queue) != 2 || m.queue[0].gap == nil || *m.queue[0].gap != want || m.queue[1].d == nil || m.queue[1].d.Len() != 1 {
		for _, it := range m.queue {
			t.Logf("gap %v, batch %v", it.gap, it.d != nil)
		}
		t.Errorf("want %v, and one message", &want)
	}
}

// A member that is being closed takes nothing more: what it took would be handed
// back at best, and the answer may come too late for that.
func TestNothingIsTakenByWhoCloses(t *testing.T) {
	s, c := single(t)
	addNumbers(t, s, "s", "1")
	m := newMate(t, c, "g", "s") // whose lane does not run before the first Fetch
	s.Call(t, 1, "XREADGROUP", "GROUP", "g", "dead", "STREAMS", "s", ">")
	rc, err := c.connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	m.leaveGroup()
	l := m.lanes[0]
	if err := l.take(t.Context(), rc, l.posts[0], []pending{{id: driver.Seq{Hi: 1}, consumer: "dead", count: 1}}, time.Now()); err != nil {
		t.Fatal(err)
	}
	if list := s.Call(t, 1, "XPENDING", "s", "g", "-", "+", "1", "dead"); list == "" {
		t.Error("it was taken")
	}
}
