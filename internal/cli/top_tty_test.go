//go:build linux

package cli

import (
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// What the screen is told at the beginning and the end of top.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l\x1b[?7l"
	leaveScreen = "\x1b[?7h\x1b[?25h\x1b[?1049l"
)

// shown is what the screen got so far.
func (s *screen) shown() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func (s *screen) resize(t *testing.T, width, height uint16) {
	t.Helper()
	if err := unix.IoctlSetWinsize(int(s.master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: width, Row: height}); err != nil {
		t.Fatal(err)
	}
}

func (s *screen) modes(t *testing.T) unix.Termios {
	t.Helper()
	m, err := unix.IoctlGetTermios(int(s.tty.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return *m
}

// topOn runs top on a screen.
func topOn(t *testing.T, s *screen, dir string, env ...string) *exec.Cmd {
	t.Helper()
	return on(t, s, command(t.Context(), dir, "streamer", "top", "--interval", "100ms"), env...)
}

// on starts a command in a session of its own whose terminal the screen is.
func on(t *testing.T, s *screen, cmd *exec.Cmd, env ...string) *exec.Cmd {
	t.Helper()
	cmd.Env = append(cmd.Environ(), "TERM=xterm")
	cmd.Env = append(cmd.Env, env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = s.tty, s.tty, s.tty
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	s.resize(t, 100, 20)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// await waits until the screen got a text behind what it had got before.
func (s *screen) await(t *testing.T, after int, want string) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Logf("the screen got %q", s.shown())
		}
	}()
	until(t, func() bool { return strings.Contains(s.shown()[after:], want) })
}

func twoStreams(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for _, name := range []string{"alpha", "beta"} {
		if code, _, errs := sea(t, dir, "1\n2\n3\n", "streamer", "produce", name); code != 0 {
			t.Fatalf("produce: %d %s", code, errs)
		}
	}
	return dir
}

func TestTopOnTerminal(t *testing.T) {
	dir := twoStreams(t)
	s := newScreen(t)
	before := s.modes(t)
	cmd := topOn(t, s, dir)
	for _, want := range []string{"2 streams", "STREAM", "alpha"} { // a screen may get it in pieces
		s.await(t, 0, want)
	}
	if got := s.shown(); !strings.HasPrefix(got, enterScreen) {
		t.Errorf("the screen got %q", got)
	}
	if m := s.modes(t); m.Lflag&(unix.ICANON|unix.ECHO) != 0 {
		t.Error("keys are echoed")
	}
	press := func(keys, want string) {
		t.Helper()
		n := len(s.shown())
		s.typed(t, keys)
		s.await(t, n, want)
	}
	press("n", "by name")
	press("n", "by name, reversed")
	press("/bet", "/bet")
	press("\r", "1 of 2 streams")
	press("\x1b", "alpha")
	n := len(s.shown())
	s.resize(t, 60, 10)
	s.await(t, n, "\x1b[2J") // all is drawn again
	s.await(t, n, "\x1b[10;1H")

	// Stopped and continued: the terminal is as it was in between. The process is
	// alone in its session, where ^Z is ignored; so it comes back by itself.
	n = len(s.shown())
	press("\x1a", leaveScreen)
	s.await(t, n, enterScreen)

	s.typed(t, "q")
	if err := cmd.Wait(); err != nil {
		t.Errorf("q: %v", err)
	}
	if after := s.modes(t); after != before {
		t.Errorf("modes %+v, were %+v", after, before)
	}
	if got := s.text(); !strings.HasSuffix(got, leaveScreen) {
		t.Errorf("the screen got %q at last", got[max(0, len(got)-100):])
	}
}

// A signal leaves the terminal as it was too.
func TestTopEndsBySignal(t *testing.T) {
	dir := twoStreams(t)
	s := newScreen(t)
	before := s.modes(t)
	cmd := topOn(t, s, dir)
	s.await(t, 0, "2 streams")
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if after := s.modes(t); after != before {
		t.Errorf("modes %+v, were %+v", after, before)
	}
	if got := s.text(); !strings.HasSuffix(got, leaveScreen) {
		t.Errorf("the screen got %q at last", got[max(0, len(got)-100):])
	}
}

// Without colours there is none; a terminal that cannot be painted gets tables.
func TestTopPlain(t *testing.T) {
	dir := twoStreams(t)
	s := newScreen(t)
	cmd := topOn(t, s, dir, "NO_COLOR=1")
	s.await(t, 0, "2 streams")
	s.typed(t, "q")
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	got := s.text()
	for _, style := range []string{"\x1b[1m", "\x1b[2m", "\x1b[7m", "\x1b[3"} {
		if strings.Contains(got, style) {
			t.Errorf("%q in %q", style, got)
		}
	}

	s = newScreen(t)
	cmd = topOn(t, s, dir, "TERM=dumb")
	s.await(t, 0, "beta")
	_ = cmd.Process.Signal(syscall.SIGINT)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if got := s.text(); strings.Contains(got, "\x1b") || !strings.Contains(got, "STREAM") {
		t.Errorf("the screen got %q", got)
	}
}

func TestLagIsWatchedOnTerminal(t *testing.T) {
	dir := twoStreams(t)
	if code, _, errs := sea(t, dir, "", "streamer", "consume", "alpha", "--from", "start", "-n", "1", "-g", "workers"); code != 0 {
		t.Fatalf("consume: %d %s", code, errs)
	}
	s := newScreen(t)
	before := s.modes(t)
	cmd := on(t, s, command(t.Context(), dir, "streamer", "lag", "--watch", "--interval", "100ms", "--max", "1"))
	s.await(t, 0, "→ steady")
	s.await(t, 0, "✗ group workers is 2 messages behind")
	s.typed(t, "q")
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("over the limit: %v, want code 1", err)
	}
	if after := s.modes(t); after != before {
		t.Errorf("modes %+v, were %+v", after, before)
	}
	if got := s.text(); !strings.HasPrefix(got, enterScreen) || !strings.Contains(got, leaveScreen+"sea streamer: group workers") {
		t.Errorf("the screen got %q", got)
	}
}
