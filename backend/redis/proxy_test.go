package redis

import (
	"net"
	"sync"
	"testing"
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
