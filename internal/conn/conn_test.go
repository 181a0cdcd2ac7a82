package conn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestErrorsSayWhatTheSystemSaid(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{&net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}, "cannot connect to h:1: connection refused: do this"},
		{&net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "h", IsNotFound: true}}, "cannot connect to h:1: no such host: do this"},
		{&net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}, "cannot connect to h:1: no answer: do this"},
		{fmt.Errorf("wrapped: %w", context.DeadlineExceeded), "cannot connect to h:1: no answer: do this"},
		{ErrSilent, "cannot connect to h:1: it accepted the connection and says nothing: do this"},
	} {
		e := &Error{Addr: "h:1", Err: c.err, Hint: "do this"}
		if got := e.Error(); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
		if !errors.Is(e, c.err) {
			t.Errorf("%v does not unwrap", e)
		}
	}
}

func TestPasswordsFromFiles(t *testing.T) {
	for _, c := range []struct {
		content    string
		mode       os.FileMode
		want, fail string
	}{
		{"secret\n", 0o600, "secret", ""},
		{"secret\r\nmore", 0o400, "secret", ""},
		{" s p \n", 0o600, " s p ", ""},
		{"", 0o600, "", "is empty"},
		{"\n", 0o600, "", "is empty"},
		{"secret\n", 0o640, "", "can be read by others: chmod 600 it"},
	} {
		file := filepath.Join(t.TempDir(), "password")
		if err := os.WriteFile(file, []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, c.mode); err != nil {
			t.Fatal(err)
		}
		got, err := ReadPassword("password_file", file)
		if c.fail == "" && (err != nil || got != c.want) {
			t.Errorf("%q: got %q, %v, want %q", c.content, got, err, c.want)
		}
		if c.fail != "" && (err == nil || !strings.Contains(err.Error(), c.fail) || strings.Contains(err.Error(), "secret")) {
			t.Errorf("%q: got error %v, want one with %q", c.content, err, c.fail)
		}
	}
	if _, err := ReadPassword("password_file", "/nowhere/at/all"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: got error %v", err)
	}
}

func TestHandshakeWithAServerWithoutTLS(t *testing.T) {
	for name, serve := range map[string]func(net.Conn){
		"it does not speak TLS": func(c net.Conn) { fmt.Fprint(c, "-ERR unknown command\r\n"); _, _ = io.Copy(io.Discard, c) },
		// It has read what came: closing would reset the connection otherwise.
		"it closed the connection": func(c net.Conn) { _, _ = c.Read(make([]byte, 64<<10)); c.Close() },
		"no answer: perhaps":       func(c net.Conn) { _, _ = io.Copy(io.Discard, c) },
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go func() {
			if c, err := l.Accept(); err == nil {
				serve(c)
				c.Close()
			}
		}()
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		patience := time.Minute
		if strings.HasPrefix(name, "no answer") {
			patience = 300 * time.Millisecond
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		_, err = TLS{}.Handshake(ctx, c, l.Addr().String(), "leave out tls")
		cancel()
		if err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "leave out tls") {
			t.Errorf("got error %v, want one with %q and the hint", err, name)
		}
	}
}
