//go:build linux

package cli

import (
	"bytes"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// A screen is a terminal that remembers what was written to it.
type screen struct {
	tty    *os.File
	master *os.File
	mu     sync.Mutex
	b      bytes.Buffer
	end    chan struct{}
}

func newScreen(t *testing.T) *screen {
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatalf("this test needs a pseudo-terminal: %v", err)
	}
	master := os.NewFile(uintptr(fd), "ptmx")
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err := os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	s := &screen{tty: tty, master: master, end: make(chan struct{})}
	go func() {
		defer close(s.end)
		b := make([]byte, 4096)
		for {
			n, err := master.Read(b)
			s.mu.Lock()
			s.b.Write(b[:n])
			s.mu.Unlock()
			if err != nil {
				return // EIO when the last process has closed the other side
			}
		}
	}()
	t.Cleanup(func() { _ = master.Close() })
	return s
}

// typed is keys that are typed at it.
func (s *screen) typed(t *testing.T, keys string) {
	t.Helper()
	if _, err := io.WriteString(s.master, keys); err != nil {
		t.Fatal(err)
	}
}

// text is what was written, once nobody has the terminal open any more.
func (s *screen) text() string {
	_ = s.tty.Close()
	<-s.end
	return s.b.String()
}

const nasty = "\x1b]52;c;YWJj\x07 \x1b[2J \x9b2J \u202eabc\u200b é\n"

func TestTerminalIsNotControlled(t *testing.T) {
	dir := t.TempDir()
	if code, _, errs := sea(t, dir, nasty, "streamer", "produce", "nasty"); code != 0 {
		t.Fatalf("produce: %d %s", code, errs)
	}
	for _, c := range []struct{ form, want string }{
		{"text", `\x1b]52;c;YWJj\x07 \x1b[2J \x9b2J \u{202e}abc\u{200b} é`},
		{"json", `"value_b64":`},
	} {
		s := newScreen(t)
		cmd := command(t.Context(), dir, "streamer", "consume", "nasty", "--from", "start", "-n", "1", "-o", c.form)
		cmd.Stdout, cmd.Stderr = s.tty, s.tty
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
		got := s.text()
		if !strings.Contains(got, c.want) || strings.ContainsAny(got, "\x1b\x07\u202e\u200b") {
			t.Errorf("%s: the screen got %q", c.form, got)
		}
		if !strings.Contains(got, "1 records written") {
			t.Errorf("%s: no summary: %q", c.form, got)
		}
	}
	// Not a terminal: the bytes as they are.
	if _, out, _ := sea(t, dir, "", "streamer", "consume", "nasty", "--from", "start", "-n", "1"); out != nasty {
		t.Errorf("a pipe got %q", out)
	}
}

// Progress is on standard error if that is a terminal, and cleared at the end.
func TestProgressOnTerminal(t *testing.T) {
	dir := t.TempDir()
	s := newScreen(t)
	cmd := command(t.Context(), dir, "streamer", "produce", "slow")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = s.tty
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(in, "one\ntwo\n")
	until(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return strings.Contains(s.b.String(), "\r\x1b[Ksent 2 records, 6 B")
	})
	_ = in.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if got := s.text(); !strings.Contains(got, "\r\x1b[Kfile://") || !strings.Contains(got, "slow: 2 sent, 2 acknowledged (process), 6 B") {
		t.Errorf("the screen got %q", got)
	}
}
