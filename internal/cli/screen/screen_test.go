package screen

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestChangesOnly(t *testing.T) {
	s := &Screen{dirty: true}
	for _, step := range []struct {
		lines  []string
		height int
		want   string
	}{
		{[]string{"one", "two"}, 5, "\x1b[2J\x1b[1;1Hone\x1b[0m\x1b[K\x1b[2;1Htwo\x1b[0m\x1b[K"},
		{[]string{"one", "two"}, 5, ""},
		{[]string{"one", "2", "three"}, 5, "\x1b[2;1H2\x1b[0m\x1b[K\x1b[3;1Hthree\x1b[0m\x1b[K"},
		{[]string{"one"}, 5, "\x1b[2;1H\x1b[0m\x1b[K\x1b[3;1H\x1b[0m\x1b[K"},
		{[]string{"one", "two", "three"}, 2, "\x1b[2;1Htwo\x1b[0m\x1b[K"},
	} {
		if got := string(s.changes(nil, step.lines, step.height)); got != step.want {
			t.Errorf("%q: %q, want %q", step.lines, got, step.want)
		}
	}
}

func TestKeys(t *testing.T) {
	for in, want := range map[string][]Key{
		"q":              {'q'},
		"mü\r":           {'m', 'ü', Enter},
		"\x1b[A\x1b[B":   {Up, Down},
		"\x1bOA\x1b[5~x": {Up, PageUp, 'x'},
		"\x1b":           {Escape},
		"\x1b[1;5Cn":     {'n'}, // one that is not known
		"\x1b[":          nil,
		"\x1bOn":         nil,
		"\x1bxq":         {'q'},
		"\x7f\b\x03":     {Backspace, Backspace, Interrupt},
		"\xff":           nil,
	} {
		if got := parse([]byte(in)); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", in, got, want)
		}
	}
}

func FuzzKeys(f *testing.F) {
	f.Add([]byte("\x1b[A\x1bO\x1b[1;5"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if got := parse(b); len(got) > len(b) {
			t.Errorf("%q: %d keys", b, len(got))
		}
	})
}

// A process that is continued takes the terminal again, just while it ends.
func TestNoScreenAfterClose(t *testing.T) {
	out, err := os.Create(filepath.Join(t.TempDir(), "terminal"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	s := &Screen{out: out, resized: make(chan struct{}, 1), stop: make(chan struct{}), signals: make(chan os.Signal, 1)}
	if err := s.take(); err != nil {
		t.Fatal(err)
	}
	s.Close()
	_ = s.take() // of a retake that has seen that it is open
	if got, err := os.ReadFile(out.Name()); err != nil || !strings.HasSuffix(string(got), leave) {
		t.Errorf("the terminal got %q, %v", got, err)
	}
}
