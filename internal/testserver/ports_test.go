package testserver

import (
	"net"
	"strconv"
	"testing"
)

// A port that was taken is nobody else's, though nobody listens on it, until it
// is given back.
func TestPorts(t *testing.T) {
	const host = "127.0.0.1"
	var ours, theirs Ports
	defer ours.Close()
	defer theirs.Close()
	port := ours.Free(host, 7)
	for _, n := range []int{port, port + 7} {
		if theirs.Take(host, n) {
			t.Errorf("port %d goes to two", n)
		}
		l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(n)))
		if err != nil {
			t.Fatalf("whoever has a port cannot listen there: %v", err)
		}
		defer l.Close()
	}
	ours.Close()
	if theirs.Take(host, port) {
		t.Errorf("port %d is given although somebody listens there", port)
	}
	port = ours.Free(host)
	ours.Close()
	if !theirs.Take(host, port) {
		t.Errorf("port %d is not to be had again", port)
	}
}
