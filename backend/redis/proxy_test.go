package redis

import (
	"bytes"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seastreamer/seastreamer/internal/redistest"
)

// between is a listener that connects each client to a server. Carry takes what
// comes from one to the other, once in each direction; answers says that it is
// from the server. When it returns both connections are closed, as all are at
// the end of the test.
func between(t *testing.T, server string, carry func(to, from net.Conn, answers bool)) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	all.Go(func() {
		for {
			down, err := ln.Accept()
			if err != nil {
				return
			}
			up, err := net.Dial("tcp", server)
			if err != nil {
				down.Close()
				continue
			}
			mu.Lock()
			open = append(open, down, up)
			mu.Unlock()
			way := func(to, from net.Conn, answers bool) {
				all.Go(func() {
					defer to.Close()
					defer from.Close()
					carry(to, from, answers)
				})
			}
			way(up, down, false)
			way(down, up, true)
		}
	})
	t.Cleanup(func() {
		ln.Close()
		mu.Lock()
		for _, c := range open {
			c.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	return ln
}

// losing is a server between which the answer to a command is lost: the next one
// that contains text, when it is armed. The connection is cut when done shows
// elsewhere that the server has carried it out.
func losing(t *testing.T, s *redistest.Servers, text string, done func() bool) (url string, armed, lost *atomic.Bool) {
	t.Helper()
	armed, lost = new(atomic.Bool), new(atomic.Bool)
	cut := make(chan struct{})
	ln := between(t, s.Addr(1), func(to, from net.Conn, answers bool) {
		b := make([]byte, 32<<10)
		for {
			n, err := from.Read(b)
			switch {
			case answers && lost.Load():
				<-cut
			case !answers && bytes.Contains(b[:n], []byte(text)) && armed.CompareAndSwap(true, false):
				lost.Store(true)
				_, _ = to.Write(b[:n])
				for end := time.Now().Add(time.Minute); !done() && time.Now().Before(end); {
					time.Sleep(time.Millisecond)
				}
				_, _ = to.Close(), from.Close()
				close(cut)
				return
			}
			if _, werr := to.Write(b[:n]); err != nil || werr != nil {
				return
			}
		}
	})
	return "redis://" + ln.Addr().String(), armed, lost
}
