package screen

import (
	"slices"
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
