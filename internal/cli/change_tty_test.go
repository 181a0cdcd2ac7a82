//go:build linux

package cli

import (
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
)

// ask runs a command that belongs to a terminal, types the answer when it has
// asked, and returns the exit code and what the terminal showed.
func ask(t *testing.T, dir, answer string, args ...string) (code int, shown string) {
	t.Helper()
	s := newScreen(t)
	cmd := command(t.Context(), dir, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 3}
	cmd.ExtraFiles = []*os.File{s.tty}   // 3
	cmd.Stdin = strings.NewReader("n\n") // which is not the terminal, and nobody's answer
	cmd.Stdout, cmd.Stderr = io.Discard, s.tty
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	until(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		text := s.b.String()
		return strings.Contains(text, "Do it? [y/N] ") || strings.Contains(text, "type how many that is: ")
	})
	s.typed(t, answer)
	_ = cmd.Wait()
	return cmd.ProcessState.ExitCode(), s.text()
}

// groupAt is where group g stands on its only shard.
func groupAt(t *testing.T, dir string) string {
	t.Helper()
	_, out, errs := sea(t, dir, "", "streamer", "group", "info", "g", "--no-header")
	cells := strings.Split(out, "\t")
	if len(cells) < 5 {
		t.Fatalf("group info: %q %s", out, errs)
	}
	return cells[3]
}

// The plan is shown and asked for on the terminal, which is not standard input.
func TestAskedOnTerminal(t *testing.T) {
	for _, c := range []struct {
		answer string
		code   int
		at     string
	}{
		{"y\n", 0, "0"}, {"YES\n", 0, "0"}, {"n\n", 7, "3"}, {"\n", 7, "3"}, {"\x04", 7, "3"}, {"yesterday\n", 7, "3"},
	} {
		t.Run(c.answer, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			mustDo(t, dir, "produce", "news", "-q")
			mustDo(t, dir, "group", "seek", "g", "--to", "end", "--stream", "news")
			code, shown := ask(t, dir, c.answer, "streamer", "group", "seek", "g", "--to", "start")
			if code != c.code {
				t.Errorf("exit code %d, want %d: %q", code, c.code, shown)
			}
			if !strings.HasPrefix(shown, "move news[0]: 3 → 0 (3 messages come again)\r\nDo it? [y/N] ") {
				t.Errorf("shown %q", shown)
			}
			if says := strings.Contains(shown, "seek-group g was not done (--yes does it"); says != (c.code == 7) {
				t.Errorf("shown %q", shown)
			}
			if at := groupAt(t, dir); at != c.at {
				t.Errorf("the group stands at %s, want %s", at, c.at)
			}
		})
	}
}

// ctrl-C at the question ends the command as it would any other, and nothing is
// done.
func TestInterruptedQuestion(t *testing.T) {
	dir := t.TempDir()
	mustDo(t, dir, "produce", "news", "-q")
	mustDo(t, dir, "group", "seek", "g", "--to", "end", "--stream", "news")
	ask(t, dir, "\x03", "streamer", "group", "seek", "g", "--to", "start")
	if at := groupAt(t, dir); at != "3" {
		t.Errorf("the group stands at %s, want 3", at)
	}
}

// --match '*' wants the number typed, also with --yes.
func TestNumberTyped(t *testing.T) {
	for _, c := range []struct {
		answer string
		flag   string
		code   int
	}{
		{"2\n", "-q", 0}, {"2\n", "--yes", 0}, {"1\n", "-q", 7}, {"y\n", "--yes", 7}, {"\n", "-q", 7}, {"\x04", "-q", 7},
	} {
		t.Run(c.answer+c.flag, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			mustDo(t, dir, "produce", "news", "-q")
			mustDo(t, dir, "produce", "sport", "-q")
			code, shown := ask(t, dir, c.answer, "streamer", "stream", "rm", "--match", "*", c.flag)
			if code != c.code || !strings.Contains(shown, "delete news: 1 shard (3 messages, ") || !strings.Contains(shown, "delete sport: ") {
				t.Errorf("exit code %d, want %d: %q", code, c.code, shown)
			}
			want := "news\t1\t3\nsport\t1\t3\n"
			if c.code == 0 {
				want = ""
			}
			if _, out, _ := sea(t, dir, "", "streamer", "stream", "ls", "--no-header"); out != want {
				t.Errorf("there is %q, want %q", out, want)
			}
		})
	}
}

// Without a terminal of its own a command does not take one that standard error
// happens to be for an answer.
func TestNoTerminalOfItsOwn(t *testing.T) {
	dir := t.TempDir()
	mustDo(t, dir, "produce", "news", "-q")
	s := newScreen(t)
	cmd := command(t.Context(), dir, "streamer", "stream", "rm", "news")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Stderr = s.tty
	_ = cmd.Run()
	if code := cmd.ProcessState.ExitCode(); code != 7 {
		t.Errorf("exit code %d, want 7: %q", code, s.text())
	}
}
