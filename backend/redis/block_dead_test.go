package redis

import (
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

// A freezer forwards connections to a server. Those that are frozen stay open,
// and nothing goes over them any more, as when the machine at the other end has
// gone without a word: no reset, no end.
type freezer struct {
	net.Listener
	mu     sync.Mutex
	frozen chan struct{} // of the connections from now on
}

// freezable passes rate bytes a second to the client; zero is as many as there
// are.
func freezable(t *testing.T, to string, rate int) *freezer {
	t.Helper()
	f := &freezer{frozen: make(chan struct{})}
	f.Listener = between(t, to, func(to, from net.Conn, answers bool) {
		f.mu.Lock()
		frozen := f.frozen
		f.mu.Unlock()
		if answers {
			forward(to, from, frozen, rate)
		} else {
			forward(to, from, frozen, 0)
		}
	})
	return f
}

func forward(to, from net.Conn, frozen chan struct{}, rate int) {
	b := make([]byte, 8<<10)
	for {
		n, err := from.Read(b)
		select {
		case <-frozen:
			_, _ = io.Copy(io.Discard, from) // it is taken, as a kernel does, and goes nowhere
			return
		default:
		}
		if rate > 0 {
			time.Sleep(time.Duration(n) * time.Second / time.Duration(rate)) // what a slow line is
		}
		if _, werr := to.Write(b[:n]); err != nil || werr != nil {
			return
		}
	}
}

// freeze ends the traffic of all connections there are. New ones work.
func (f *freezer) freeze() {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.frozen)
	f.frozen = make(chan struct{})
}

// TestHalfOpen: the server is gone without a word while a read waits there. A
// reader finds out when the answer to its BLOCK is overdue, and goes on over
// another connection; a member of a group finds out when an answer is.
func TestHalfOpen(t *testing.T) {
	t.Parallel()
	const request = 2 * time.Second
	for _, c := range []struct{ name, group string }{{"reader", ""}, {"member", "g"}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := redistest.ForTest(t, redistest.Options{})
			f := freezable(t, s.Addr(1), 0)
			cl := open(t, "redis://"+f.Addr().String(), Options{RequestTimeout: request, ConnectTimeout: request})
			s.Call(t, 1, "XADD", "s", "1-0", "msg", "x")
			k, err := cl.Consumer(t.Context(), driver.ConsumerConfig{Streams: []string{"s"}, Group: c.group, Start: driver.Earliest, Events: allOf()})
			if err != nil {
				t.Fatal(err)
			}
			defer k.Close(t.Context())
			fetch := func(ctx context.Context) (id driver.Seq) {
				for {
					batches, err := k.Fetch(ctx, nil)
					switch {
					case err != nil && !errors.Is(err, driver.ErrUnavailable):
						t.Error(err)
						return id
					case len(batches) > 0:
						b := batches[len(batches)-1]
						return b.Seq(b.Len() - 1)
					}
				}
			}
			if id := fetch(t.Context()); id.Hi != 1 {
				t.Fatalf("got %v", id)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			got := make(chan driver.Seq, 1)
			go func() { got <- fetch(ctx) }()
			until(t, "a read that waits", func() bool { return blockedClients(t, s) == 1 })
			f.freeze()
			s.Call(t, 1, "XADD", "s", "2-0", "msg", "x")
			began := time.Now()
			if id := <-got; id.Hi != 2 {
				t.Errorf("got %v", id)
			}
			t.Logf("after %v", time.Since(began))
			if d := time.Since(began); d > 6*(blockFor+deadAfter) {
				t.Errorf("a dead connection was found out after %v", d)
			}
		})
	}
}

func blockedClients(t *testing.T, s *redistest.Servers) int {
	t.Helper()
	for line := range strings.Lines(s.Call(t, 1, "INFO", "clients")) {
		if text, ok := strings.CutPrefix(strings.TrimSpace(line), "blocked_clients:"); ok {
			n, err := strconv.Atoi(text)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("INFO says nothing of clients")
	return 0
}

// TestSlowLineOfAGroup: a member whose line is too slow for what it has asked
// for asks for less, until it comes through.
func TestSlowLineOfAGroup(t *testing.T) {
	t.Parallel()
	s := redistest.ForTest(t, redistest.Options{})
	const n = 64
	for i := range n {
		s.Call(t, 1, "XADD", "s", strconv.Itoa(i+1)+"-0", "msg", strings.Repeat("x", 20_000))
	}
	f := freezable(t, s.Addr(1), 200_000)
	c := open(t, "redis://"+f.Addr().String(), Options{RequestTimeout: deadAfter})
	k, err := c.Consumer(t.Context(), driver.ConsumerConfig{Streams: []string{"s"}, Group: "g", Start: driver.Earliest, Events: allOf()})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close(t.Context())
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	for got := map[driver.Seq]bool{}; len(got) < n; {
		batches, err := k.Fetch(ctx, nil)
		if err != nil && !errors.Is(err, driver.ErrUnavailable) {
			t.Fatalf("after %d messages: %v", len(got), err)
		}
		for _, b := range batches {
			for i := range b.Len() {
				got[b.Seq(i)] = true
			}
		}
	}
}

// TestCloseUnderClose: the connections are being closed while a consumer is,
// whose read waits at the server.
func TestCloseUnderClose(t *testing.T) {
	s := redistest.ForTest(t, redistest.Options{})
	s.Call(t, 1, "XADD", "s", "1-0", "msg", "x")
	for _, group := range []string{"", "g"} {
		c := open(t, s.URL(), Options{})
		k, err := c.Consumer(t.Context(), driver.ConsumerConfig{Streams: []string{"s"}, Group: group, Start: driver.Latest, Events: allOf()})
		if err != nil {
			t.Fatal(err)
		}
		fetched := make(chan struct{})
		go func() { defer close(fetched); _, _ = k.Fetch(t.Context(), nil) }()
		until(t, "a read that waits", func() bool { return blockedClients(t, s) == 1 })
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		closed := make(chan error, 1)
		go func() { closed <- c.Close(ctx) }()
		until(t, "Close has begun", func() bool { return c.check() != nil })
		if err := k.Close(ctx); err != nil {
			t.Errorf("group %q: the consumer: %v", group, err)
		}
		if err := <-closed; err != nil {
			t.Errorf("group %q: the driver: %v", group, err)
		}
		<-fetched
	}
}

// allOf are events of a consumer that begins where the driver says.
func allOf() driver.Events {
	return driver.Events{
		Assigned: func(context.Context, []driver.Position) (uint64, []driver.Position, error) { return 0, nil, nil },
		Revoked:  func(context.Context, []driver.Shard, bool) {},
	}
}
