//go:build unix

package redis

import (
	"net"
	"strconv"
	"syscall"
	"testing"
)

// blackhole is an address that answers no SYN: a listener whose queue is full
// and which accepts nobody.
func blackhole(t *testing.T) string {
	t.Helper()
	fd, addr := boundSocket(t)
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", addr) // a queue of none has room for one
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return addr
}

// refusing is an address that refuses connections: it is taken, so that nobody
// else listens there, and nobody does.
func refusing(t *testing.T) string {
	t.Helper()
	_, addr := boundSocket(t)
	return addr
}

// boundSocket is a socket on a port of its own, until the end of the test.
func boundSocket(t *testing.T) (fd int, addr string) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	syscall.CloseOnExec(fd)
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	sa, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return fd, net.JoinHostPort("127.0.0.1", strconv.Itoa(sa.(*syscall.SockaddrInet4).Port))
}
