package redis

import (
	"bytes"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/redistest"
)

// What was written and not answered is sent again, exactly once. Where that does
// not succeed its outcome is unknown: who was told that it was not written would
// send it anew, and double it.
func TestProduceMaybeWritten(t *testing.T) {
	t.Parallel()
	const brief = "/?delivery_timeout=1s&shards=1"
	rec := driver.Record{Stream: "s", Value: []byte("v")}
	exactly := driver.ProducerConfig{Durability: driver.ExactlyOnce}
	want := func(t *testing.T, err error, entries int) {
		t.Helper()
		if !errors.Is(err, driver.ErrUnknown) || errors.Is(err, driver.ErrUnavailable) || entries != 1 {
			t.Errorf("%v, and there are %d entries; want %v, and one", err, entries, driver.ErrUnknown)
		}
		t.Log(err)
	}
	for _, c := range []struct {
		name   string
		then   []string // is done before the second try
		refuse bool     // there is no second try
		key    string   // where the record is
	}{
		{name: "no server", refuse: true, key: "s:0"},
		{name: "no right", then: []string{"ACL", "SETUSER", "default", "-eval", "-evalsha"}, key: "s:0"},
		{name: "no stream", then: []string{"RENAME", "s:0", "elsewhere"}, key: "elsewhere"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := redistest.ForTest(t, redistest.Options{})
			var ln net.Listener
			var cut atomic.Bool
			ln = between(t, r.Addr(1), func(to, from net.Conn, answers bool) {
				b := make([]byte, 4096)
				for {
					n, err := from.Read(b)
					if err != nil {
						return
					}
					// The answer of the script that adds.
					if answers && bytes.Equal(b[:n], []byte("$2\r\nOK\r\n")) && cut.CompareAndSwap(false, true) {
						if c.refuse {
							_ = ln.Close()
						}
						if c.then != nil {
							r.Call(t, 1, c.then...)
						}
						return
					}
					if _, err := to.Write(b[:n]); err != nil {
						return
					}
				}
			})
			p := producerForTest(t, "redis://"+ln.Addr().String()+brief+"&no_autocreate", exactly)
			r.Call(t, 1, "XGROUP", "CREATE", "s:0", "g", "0", "MKSTREAM")
			_, err := produce(t, p, rec)
			want(t, err, len(entries(t, r, 1)(c.key)))
		})
	}
	t.Run("no server, with IDMP", func(t *testing.T) {
		s := &scriptedServer{seen: map[string]string{}, cut: func(int) bool { return true }}
		p := producerForTest(t, "redis://"+unreachable(t, s)+brief, exactly)
		_, err := produce(t, p, rec)
		want(t, err, s.added())
	})
	t.Run("no right, with IDMP", func(t *testing.T) {
		s := &scriptedServer{seen: map[string]string{}, cut: func(n int) bool { return n == 1 }, refusal: "-NOPERM this user has no permissions to run the 'xadd' command\r\n"}
		p := producerForTest(t, "redis://"+scripted(t, s.talk)+brief, exactly)
		_, err := produce(t, p, rec)
		want(t, err, s.added())
	})
}

// With IDMP a server remembers what it has seen for a hundred seconds. What has
// waited for longer than that is not sent again, also where it has waited for a
// connection.
func TestProduceIDMPForgotten(t *testing.T) {
	t.Parallel()
	s := &scriptedServer{seen: map[string]string{}, cut: func(int) bool { return true }}
	p := producerForTest(t, "redis://"+unreachable(t, s)+"/?shards=1", driver.ProducerConfig{Durability: driver.ExactlyOnce})
	outcome := make(chan error, 1)
	if err := p.Produce(t.Context(), driver.Record{Stream: "s", Value: []byte("v")}, func(_ driver.Receipt, err error) { outcome <- err }); err != nil {
		t.Fatal(err)
	}
	until(t, "a connection is tried in vain", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		l := p.links[""]
		return l != nil && l.tries > 0
	})
	p.mu.Lock()
	age := func(sd *send) { sd.born = sd.born.Add(-idmpWindow) }
	for _, sh := range p.streams["s"].shards {
		for i := range sh.held {
			age(&sh.held[i].send)
		}
	}
	for _, c := range append(p.links[""].ready, p.links[""].cur) {
		for i := 0; c != nil && i < len(c.entries); i++ {
			age(&c.entries[i].send)
		}
	}
	p.mu.Unlock()
	select {
	case err := <-outcome:
		if !errors.Is(err, driver.ErrUnknown) {
			t.Errorf("%v, want %v", err, driver.ErrUnknown)
		}
	case <-time.After(20 * time.Second):
		t.Error("it waits to be sent again")
	}
}

// unreachable is the address of a scripted server that takes no more
// connections after it has cut one.
func unreachable(t *testing.T, s *scriptedServer) string {
	var gone atomic.Bool
	return scripted(t, func(c net.Conn) {
		if gone.Load() {
			c.Close()
			return
		}
		s.talk(c)
		s.mu.Lock()
		gone.Store(s.n > 0)
		s.mu.Unlock()
	})
}
