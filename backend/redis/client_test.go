package redis

import (
	"bufio"
	"context"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

// server starts a redis-server for the test and returns its address.
func server(t *testing.T, args ...string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	_, port, _ := net.SplitHostPort(addr)
	args = append([]string{"--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", t.TempDir(), "--daemonize", "no"}, args...)
	cmd := exec.Command("redis-server", args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "Ready to accept connections") {
			go func() {
				for lines.Scan() {
				}
			}()
			return addr
		}
	}
	t.Fatal("redis-server did not start")
	return ""
}

func open(t *testing.T, url string) *client {
	t.Helper()
	u, err := driver.ParseBroker(url)
	if err != nil {
		t.Fatal(err)
	}
	d, err := OpenDriver(t.Context(), u, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := d.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return d.(*client)
}

// run sends one command and fails the test where it fails.
func run(t *testing.T, c *client, words ...string) string {
	t.Helper()
	rc, err := c.connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cmd := rc.B().Arbitrary(words[0])
	if len(words) > 1 {
		cmd = cmd.Keys(words[1]).Args(words[2:]...)
	}
	m, err := rc.Do(t.Context(), cmd.Build()).ToMessage()
	if err != nil {
		t.Fatalf("%v: %v", words, err)
	}
	s, _ := m.ToString()
	return s
}

func TestBounds(t *testing.T) {
	c := open(t, "redis://"+server(t))
	if err := c.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	run(t, c, "XADD", "bare", "7-1", "msg", "x")
	run(t, c, "XADD", "bare", "9-0", "msg", "x")
	for i := range 20 {
		run(t, c, "XADD", "many:"+strconv.Itoa(i), "5-0", "msg", "x")
	}
}
