package redistest

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"
)

// doLimit bounds one command, the connection included. A server whose disk is
// busy may answer after seconds.
const doLimit = 30 * time.Second

// ServerError is what a server answered in place of a result, such as
// "READONLY You can't write against a read only replica."
type ServerError string

// Error is the server's text.
func (e ServerError) Error() string { return string(e) }

// Do has a node execute one command, as a user who may do everything, on a
// connection of its own, within 30 seconds. The result is what redis-cli
// prints without a terminal: integers as text, nothing for nil, the elements
// of (nested) arrays one a line.
func (s *Servers) Do(node int, args ...string) (string, error) {
	replies, err := s.Pipe(node, args)
	if err != nil {
		return "", err
	}
	return replies[0], nil
}

// Call is Do for tests: an error fails the test.
func (s *Servers) Call(t testing.TB, node int, args ...string) string {
	t.Helper()
	reply, err := s.Do(node, args...)
	if err != nil {
		t.Fatalf("%s: %v", strings.Join(args, " "), err)
	}
	return reply
}

// Pipe has a node execute commands one after the other on one connection,
// within 30 seconds, and returns their results. It ends at the first error.
func (s *Servers) Pipe(node int, commands ...[]string) ([]string, error) {
	n := s.nodes[node-1]
	conn, err := s.dial(n)
	if err != nil {
		return nil, fmt.Errorf("redistest: node %d: %w", node, err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(doLimit)); err != nil {
		return nil, fmt.Errorf("redistest: node %d: %w", node, err)
	}
	out := command(nil, "AUTH", admin, s.secret)
	for _, args := range commands {
		out = command(out, args...)
	}
	// Written beside reading: a server that cannot send what it answers stops
	// reading, and both would wait.
	written := make(chan error, 1)
	go func() {
		_, err := conn.Write(out)
		written <- err
	}()
	replies := make([]string, len(commands))
	r := bufio.NewReader(conn)
	_, err = readReply(r)
	for i := 0; err == nil && i < len(commands); i++ {
		replies[i], err = readReply(r)
	}
	if err != nil {
		_ = conn.Close() // ends the writer too
		<-written        //nolint:errcheck // it failed because reading did
		if e := ServerError(""); errors.As(err, &e) {
			return nil, e
		}
		return nil, fmt.Errorf("redistest: node %d: %w", node, err)
	}
	return replies, <-written
}

func (s *Servers) dial(n *node) (net.Conn, error) {
	d := &net.Dialer{Timeout: doLimit}
	if s.secrets != nil {
		return tls.DialWithDialer(d, "tcp", n.addr(), s.TLS())
	}
	return d.Dial("tcp", n.addr())
}

func command(b []byte, args ...string) []byte {
	b = fmt.Appendf(b, "*%d\r\n", len(args))
	for _, a := range args {
		b = fmt.Appendf(b, "$%d\r\n%s\r\n", len(a), a)
	}
	return b
}

// readReply reads one RESP2 reply.
func readReply(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimSuffix(line, "\r\n")
	if line == "" {
		return "", errors.New("an empty line is not a reply")
	}
	switch text := line[1:]; line[0] {
	case '+', ':':
		return text, nil
	case '-':
		return "", ServerError(text)
	case '$':
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return "", err
		}
		b := make([]byte, n+2)
		if _, err := io.ReadFull(r, b); err != nil {
			return "", err
		}
		return string(b[:n]), nil
	case '*':
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return "", err
		}
		all := make([]string, n)
		for i := range all {
			if all[i], err = readReply(r); err != nil {
				return "", err
			}
		}
		return strings.Join(all, "\n"), nil
	}
	return "", fmt.Errorf("%.20q is not a reply", line)
}
