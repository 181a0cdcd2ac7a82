package redis

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

func TestGroupStarts(t *testing.T) {
	t.Parallel()
	s, c := single(t)
	addNumbers(t, s, "s", "1", "2", "3")
	for name, x := range map[string]struct {
		start driver.Start
		want  []string
	}{
		"earliest": {driver.Earliest, []string{"1 1", "2 1", "3 1", "4 1"}},
		"latest":   {driver.Latest, []string{"4 1"}},
		"from":     {driver.From(seqOf(t, "2-0")), []string{"2 1", "3 1", "4 1"}},
		"beyond":   {driver.From(seqOf(t, "4-0")), []string{"4 1"}},
		"since":    {driver.Since(time.UnixMilli(3)), []string{"3 1", "4 1"}},
	} {
		w := mateOf(t, c, driver.ConsumerConfig{Group: name, Streams: []string{"s"}, Start: x.start})
		defer func() {
			m := w.wants(x.want...)
			w.verdict(driver.VerdictAck, 0, m...)
			w.leaveGroup()
			// It has its place now, whatever Start says.
			mateOf(t, c, driver.ConsumerConfig{Group: name, Streams: []string{"s"}, Start: driver.Earliest}).quiet(100 * time.Millisecond)
		}()
	}
	addNumbers(t, s, "s", "4")
	if _, err := c.Consumer(t.Context(), driver.ConsumerConfig{Group: "g", Streams: []string{"s", "missing"}}); !errors.Is(err, driver.ErrNotFound) {
		t.Errorf("a missing stream: got %v, want ErrNotFound", err)
	}
	if n := s.Call(t, 1, "EXISTS", "missing"); n != "0" {
		t.Error("the missing stream was created")
	}
}

func TestManyMembersMakeOneGroup(t *testing.T) {
	s, c := single(t)
	addNumbers(t, s, "s", "1", "2", "3")
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			m, err := c.Consumer(t.Context(), driver.ConsumerConfig{Group: "g", Streams: []string{"s"}, Start: driver.Earliest})
			if err != nil {
				t.Error(err)
				return
			}
			if err := m.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	newMate(t, c, "g", "s").wants("1 1", "2 1", "3 1")
}

// TestDeadMember: what a member has that has died is taken by another when it
// was idle for the time-out, and not before.
func TestDeadMember(t *testing.T) {
	t.Parallel()
	s := redistest.ForTest(t, redistest.Options{})
	c := open(t, with(s.URL(), "ack_timeout=1s"), Options{})
	addNumbers(t, s, "s", "1", "2", "3", "4")
	a, b := newMate(t, c, "g", "s"), newMate(t, c, "g", "s")
	began := time.Now()
	m := a.wants("1 1", "2 1", "3 1", "4 1")
	a.verdict(driver.VerdictAck, 0, m[1])
	a.die()
	m = b.wants("1 2", "3 2", "4 2")
	if d := time.Since(began); d < time.Second {
		t.Errorf("taken after %v, before the time-out", d)
	}
	b.verdict(driver.VerdictAck, 0, m...)
	if n := pendingIn(t, s, "s", "g"); n != "0" {
		t.Errorf("%s entries are pending", n)
	}
}

// TestZombie: a member was too late, and another has what it had.
func TestZombie(t *testing.T) {
	t.Parallel()
	s := redistest.ForTest(t, redistest.Options{})
	// Long enough that whoever extends every 20 ms is in time.
	const timeout = 3 * time.Second
	c := open(t, with(s.URL(), "ack_timeout="+timeout.String()), Options{})
	addNumbers(t, s, "s", "1", "2")
	a, b := newMate(t, c, "g", "s"), newMate(t, c, "g", "s")
	old := a.wants("1 1", "2 1")
	now := b.wants("1 2", "2 2")
	stop := make(chan struct{})
	var extending sync.WaitGroup
	extending.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
				_ = b.Settle(context.Background(), []driver.Settlement{{Batch: now[0].d, To: 2, Verdict: driver.VerdictExtend}})
			}
		}
	})
	for _, v := range []driver.Verdict{driver.VerdictExtend, driver.VerdictReturn, driver.VerdictNack} {
		a.verdict(v, 0, old[0])
	}
	a.quiet(timeout + passEvery)
	// A late acknowledgement counts: the message was processed.
	a.verdict(driver.VerdictAck, 0, old[1])
	close(stop)
	extending.Wait()
	b.verdict(driver.VerdictNack, 0, now[1])
	b.verdict(driver.VerdictNack, 0, now[0])
	b.wants("1 3")
	b.quiet(50 * time.Millisecond)
}

// TestNackWaits: nobody gets a nacked message early, however long it waits.
func TestNackWaits(t *testing.T) {
	s := redistest.ForTest(t, redistest.Options{})
	c := open(t, with(s.URL(), quickly), Options{})
	addNumbers(t, s, "s", "1", "2", "3")
	a, b := newMate(t, c, "g", "s"), newMate(t, c, "g", "s")
	m := a.wants("1 1", "2 1", "3 1")
	began := time.Now()
	a.verdict(driver.VerdictNack, 1200*time.Millisecond, m[0])
	a.verdict(driver.VerdictNack, 100*time.Millisecond, m[1])
	a.verdict(driver.VerdictNack, 0, m[2])
	after := map[string]time.Duration{"1": 1200 * time.Millisecond, "2": 100 * time.Millisecond, "3": 0}
	var mu sync.Mutex
	var both sync.WaitGroup
	for _, w := range []*mate{a, b} {
		both.Go(func() {
			for {
				w.fetch(50 * time.Millisecond)
				mu.Lock()
				for _, m := range w.got {
					if d := time.Since(began); d < after[m.value] {
						t.Errorf("%v came after %v", m, d)
					}
					w.verdict(driver.VerdictAck, 0, m)
					delete(after, m.value)
				}
				w.got = nil
				done := len(after) == 0 || time.Since(began) > time.Minute
				mu.Unlock()
				if done {
					return
				}
			}
		})
	}
	both.Wait()
	if len(after) > 0 {
		t.Errorf("%v did not come", after)
	}
}

// TestNamedMember: what a member had that had the same name comes first, and
// nothing comes twice.
func TestNamedMember(t *testing.T) {
	s := redistest.ForTest(t, redistest.Options{})
	c := open(t, with(s.URL(), "consumer=one"), Options{})
	values := make([]string, 3000)
	want := make([]string, 3001)
	for i := range values {
		values[i] = strconv.Itoa(i + 1)
		want[i] = values[i] + " 2"
	}
	want[3000] = "3001 1"
	addNumbers(t, s, "s", values...)
	a := newMate(t, c, "g", "s")
	a.until("all", func() bool { return len(a.got) == 3000 })
	a.die()
	addNumbers(t, s, "s", "3001")
	b := newMate(t, c, "g", "s")
	m := b.wants(want...)
	b.verdict(driver.VerdictAck, 0, m...)
	b.leaveGroup()
	if n := pendingIn(t, s, "s", "g"); n != "0" {
		t.Errorf("%s entries are pending", n)
	}
	if got := s.Call(t, 1, "XINFO", "CONSUMERS", "s", "g"); !strings.Contains(got, "one") {
		t.Error("a consumer that was named by the application was deleted")
	}
}

// TestConnectionsAreCut: answers are lost under way. What they had is pending
// for the member, which finds it there: nothing is lost, and nothing comes
// twice, though no time-out passes.
func TestConnectionsAreCut(t *testing.T) {
	t.Parallel()
	s := redistest.ForTest(t, redistest.Options{})
	c := open(t, s.URL(), Options{})
	const n = 20_000
	s.Call(t, 1, "XGROUP", "CREATE", "s", "other", "0", "MKSTREAM")
	w := newMate(t, c, "g", "s")
	stop := make(chan struct{})
	var came atomic.Int64
	var others sync.WaitGroup
	others.Go(func() {
		value := strings.Repeat("x", 200)
		for i := 0; i < n; i += 100 {
			cmds := make([][]string, 100)
			for j := range cmds {
				cmds[j] = []string{"XADD", "s", "*", "msg", strconv.Itoa(i+j) + " " + value}
			}
			if _, err := s.Pipe(1, cmds...); err != nil {
				t.Error(err)
				return
			}
		}
	})
	others.Go(func() {
		for before := int64(0); ; {
			select {
			case <-stop:
				return
			case <-time.After(30 * time.Millisecond):
				n := came.Load()
				if n == before { // a slow machine is to get on, too
					continue
				}
				before = n
				for line := range strings.Lines(s.Call(t, 1, "CLIENT", "LIST")) {
					if id, rest, _ := strings.Cut(strings.TrimPrefix(line, "id="), " "); strings.Contains(rest, " name=sea-streamer") {
						_, _ = s.Do(1, "CLIENT", "KILL", "ID", id)
					}
				}
			}
		}
	})
	seen := map[string]int{}
	for end := time.Now().Add(60 * time.Second); len(seen) < n && time.Now().Before(end) && !t.Failed(); {
		w.fetch(time.Second)
		for _, m := range w.got {
			seen[m.value]++
			came.Add(1)
			if seen[m.value] > 1 {
				t.Errorf("message %.10s came %d times", m.value, seen[m.value])
			}
		}
		var all []driver.Settlement
		for _, m := range w.got {
			all = append(all, driver.Settlement{Batch: m.d, From: m.i, To: m.i + 1})
		}
		w.got = nil
		for w.Settle(t.Context(), all) != nil && time.Now().Before(end) {
			time.Sleep(time.Millisecond) // as the core gives verdicts again
		}
	}
	close(stop)
	others.Wait()
	if len(seen) != n {
		t.Errorf("%d messages of %d have come", len(seen), n)
	}
	if n := pendingIn(t, s, "s", "g"); n != "0" {
		t.Errorf("%s entries are pending", n)
	}
}

// TestNewShardsOfAGroup: a group gets what is in shards that appear later from
// their start.
func TestNewShardsOfAGroup(t *testing.T) {
	s := redistest.ForTest(t, redistest.Options{})
	c := open(t, with(s.URL(), "discover_every=100ms"), Options{})
	addNumbers(t, s, "s:0", "1")
	w := mateOf(t, c, driver.ConsumerConfig{Group: "g", Streams: []string{"s"}, Start: driver.Latest})
	w.quiet(10 * time.Millisecond)
	addNumbers(t, s, "s:1", "2", "3")
	m := w.wants("2 1", "3 1")
	if got := m[0].d.Shard(); got != (driver.Shard{Stream: "s", Index: 1}) {
		t.Errorf("shard %v", got)
	}
}

// TestNewShardsOfAGroupLater: they are found also where a request may take less
// time than there is between two looks.
func TestNewShardsOfAGroupLater(t *testing.T) {
	t.Parallel()
	s := redistest.ForTest(t, redistest.Options{})
	c := open(t, with(s.URL(), "request_timeout=2s&discover_every=2100ms&ack_timeout=10m"), Options{})
	addNumbers(t, s, "s:0", "1")
	conf := driver.ConsumerConfig{Group: "g", Streams: []string{"s"}, Start: driver.Earliest}
	w := &mate{t: t}
	until(t, "a member", func() bool { // a busy machine may take longer for a request, once
		m, err := c.Consumer(t.Context(), conf)
		if err != nil {
			wantKind(t, "open", err, driver.ErrUnavailable)
			return false
		}
		w.member = m.(*member)
		return true
	})
	t.Cleanup(w.leaveGroup)
	w.wants("1 1")
	addNumbers(t, s, "s:1", "2")
	w.wants("2 1")
}

func TestCloseOfAnIdleMember(t *testing.T) {
	s, c := single(t)
	addNumbers(t, s, "s", "1", "2")
	w := newMate(t, c, "g", "s")
	m := w.wants("1 1", "2 1")
	w.verdict(driver.VerdictAck, 0, m...)
	fetched := make(chan error, 1)
	go func() {
		_, err := w.Fetch(t.Context(), nil)
		fetched <- err
	}()
	w.lanes[0].w.waiting(t)
	began := time.Now()
	w.leaveGroup()
	if d := time.Since(began); d > blockFor+deadAfter {
		t.Errorf("closed after %v", d)
	}
	if err := <-fetched; !errors.Is(err, driver.ErrClosed) {
		t.Errorf("Fetch: got %v, want ErrClosed", err)
	}
	if err := w.Settle(t.Context(), nil); !errors.Is(err, driver.ErrClosed) {
		t.Errorf("Settle: got %v, want ErrClosed", err)
	}
	if got := s.Call(t, 1, "XINFO", "CONSUMERS", "s", "g"); got != "" {
		t.Errorf("there is still the consumer %q", got)
	}
}

// TestConsumersAreNotDeletedWithTheirEntries: one that leaves has something
// that somebody has to take first.
func TestConsumersAreNotDeletedWithTheirEntries(t *testing.T) {
	s, c := single(t)
	addNumbers(t, s, "s", "1")
	a := newMate(t, c, "g", "s")
	a.wants("1 1")
	a.leaveGroup()
	if n := pendingIn(t, s, "s", "g"); n != "1" {
		t.Fatalf("%s entries are pending, want 1", n)
	}
	b := newMate(t, c, "g", "s")
	b.wants("1 2")
	s.Call(t, 1, "XGROUP", "CREATECONSUMER", "s", "g", "sea-dead")
	s.Call(t, 1, "XGROUP", "CREATECONSUMER", "s", "g", "somebody else's")
	rc, err := c.connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	n, err := rc.Do(t.Context(), dropConsumers.build(rc.B(), "s", "g", "", memberPrefix, "-1")).AsInt64()
	if err != nil || n != 2 {
		t.Errorf("deleted %d consumers, %v; want a's and the dead one", n, err)
	}
	left := s.Call(t, 1, "XINFO", "CONSUMERS", "s", "g")
	if !strings.Contains(left, b.name) || !strings.Contains(left, "somebody else's") {
		t.Errorf("left are %q", left)
	}
}

func TestSeekOfAMember(t *testing.T) {
	s, c := single(t)
	addNumbers(t, s, "s", "1")
	w := newMate(t, c, "g", "s")
	_, err := w.Seek(t.Context(), 1, map[driver.Shard]driver.Start{{Stream: "s"}: driver.Earliest})
	if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "administration") {
		t.Errorf("got %v", err)
	}
}

func TestVerdictsInAnyOrder(t *testing.T) {
	d := &delivery{batch: &batch{ids: make([]driver.Seq, 200)}, open: 200}
	want := map[int]bool{}
	for i := range 200 {
		want[i] = true
	}
	for _, r := range [][2]int{{0, 10}, {10, 11}, {100, 130}, {50, 51}, {11, 50}, {199, 200}, {51, 100}} {
		d.release(r[0], r[1])
		for i := r[0]; i < r[1]; i++ {
			delete(want, i)
		}
		got := map[int]bool{}
		d.runs(0, 200, 7, func(from, to int) {
			if to-from > 7 {
				t.Errorf("a run of %d", to-from)
			}
			for i := from; i < to; i++ {
				got[i] = true
			}
		})
		if len(want) != d.open {
			t.Errorf("open %d, want %d", d.open, len(want))
		}
		if df := cmp.Diff(want, got); df != "" {
			t.Fatalf("after %v (-want +got):\n%s", r, df)
		}
	}
}

func FuzzPending(f *testing.F) {
	f.Add(resp(list{list{"5-0", "a", 10, 2}, list{"6-0", "", 0, 1}}))
	f.Add(resp(list{0, nil, nil, nil}))
	f.Add(resp(list{3, "1-0", "9-0", list{list{"a", "2"}, list{"b", "1"}}}))
	f.Add(resp(list{1, "5-0", "7-0"}))
	f.Add(resp(list{0, "5-0"}))
	f.Fuzz(func(t *testing.T, reply []byte) {
		if len(reply) > 4096 || hugeLength(reply) {
			return // rueidis allocates what a length says
		}
		m, err := parsed(t, reply)
		if err != nil {
			return
		}
		if all, err := pendingOf(m, nil); err == nil && slices.ContainsFunc(all, func(p pending) bool { return p.id.IsZero() && p.consumer == "?" }) {
			t.Error("an entry that nobody has listed")
		}
		if s, err := summaryOf(m, nil); err == nil && s.count > 0 {
			p := &post{}
			for range 3 {
				for _, k := range p.looks(&s) {
					if k.from == "" || k.to == "" {
						t.Error("a look at nothing")
					}
				}
			}
		}
		if r := createdBy(m, nil); r.err != nil && r.made {
			t.Error("made, and an error")
		}
	})
}
