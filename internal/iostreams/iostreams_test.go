package iostreams

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestEscape(t *testing.T) {
	for in, want := range map[string]string{
		"plain ünïcode 🌊 \\n":           "plain ünïcode 🌊 \\n",
		"\x1b]52;c;YWJj\x07":            `\x1b]52;c;YWJj\x07`,
		"\x1b[2J\x9b2J\x7f":             `\x1b[2J\x9b2J\x7f`,
		"a\r\nb\tc":                     `a\r\nb\tc`,
		"\u0085\u009b":                  `\u{0085}\u{009b}`,
		"\u202emoc.elpmaxe\u2066\u200b": `\u{202e}moc.elpmaxe\u{2066}\u{200b}`,
		"\ufeffx\u00ad":                 `\u{feff}x\u{00ad}`,
		"\U000e0041":                    `\u{e0041}`,
		"\xff\xc3":                      `\xff\xc3`,
		"\ufffd":                        "\ufffd",
	} {
		if got := string(EscapeLine(nil, []byte(in))); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
	if got := string(EscapeText(nil, []byte("a\tb\nc\r\n"))); got != "a\tb\nc\\r\n" {
		t.Errorf("text becomes %q", got)
	}
}

// safe reports whether nothing in b can move a cursor.
func safe(b []byte, also string) bool {
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n <= 1 || dangerous(r) && !strings.ContainsRune(also, r) {
			return false
		}
		b = b[n:]
	}
	return true
}

func FuzzEscape(f *testing.F) {
	f.Add([]byte("\x1b]0;title\x07\x9b\u202e\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if got := EscapeLine(nil, b); !safe(got, "") {
			t.Errorf("%q becomes %q", b, got)
		}
		if got := EscapeText(nil, b); !safe(got, "\n\t") {
			t.Errorf("%q becomes %q", b, got)
		}
	})
}

func TestEscapeJSONMeansTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.OneOf(rapid.String(), rapid.StringOf(rapid.RuneFrom([]rune("a\x7f\u0085\u202e\u2028\u200b\ufeff\U000e0041\n")))).Draw(t, "s")
		line, _ := json.Marshal(s)
		got := EscapeJSON(nil, line)
		var back string
		if err := json.Unmarshal(got, &back); err != nil || back != s {
			t.Fatalf("%q reads as %q, %v", s, back, err)
		}
		if !safe(got, "\n") {
			t.Fatalf("%q becomes %q", s, got)
		}
	})
}

func TestNumbers(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1234: "-1,234"} {
		if got := Thousands(n); got != want {
			t.Errorf("Thousands(%d) = %s", n, got)
		}
	}
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 1 << 20: "1.0 MiB", 1 << 60: "1024.0 PiB"} {
		if got := Bytes(n); got != want {
			t.Errorf("Bytes(%d) = %s", n, got)
		}
	}
}

// locked is a buffer for several goroutines.
type locked struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestProgress(t *testing.T) {
	count := func() Count { return Count{Records: 1234, Bytes: 2048} }
	for _, c := range []struct {
		name           string
		mode           string
		out, err       bool
		records, quiet bool
		want           bool
	}{
		{"on a terminal", "auto", false, true, true, false, true},
		{"the same terminal gets records", "auto", true, true, true, false, false},
		{"it gets none", "auto", true, true, false, false, true},
		{"not a terminal", "auto", false, false, false, false, false},
		{"quiet", "auto", false, true, false, true, false},
		{"never", "never", false, true, false, false, false},
	} {
		s := &Streams{Err: &locked{}, OutTTY: c.out, ErrTTY: c.err, Quiet: c.quiet}
		p := s.StartProgress(c.mode, "sent", c.records, count)
		if (p != nil) != c.want {
			t.Errorf("%s: shown %v, want %v", c.name, p != nil, c.want)
		}
		p.Stop()
	}
	var b locked
	s := &Streams{Err: &b, ErrTTY: true}
	p := s.StartProgress("auto", "sent", false, count)
	for !strings.Contains(b.String(), "sent 1,234 records, 2.0 KiB") {
		time.Sleep(time.Millisecond)
	}
	s.Notice("hello")
	if !strings.HasSuffix(b.String(), "\r\x1b[Khello\n") {
		t.Errorf("a notice does not clear the line: %q", b.String())
	}
	p.Stop()
}

func TestInterruptible(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	in := NewInterruptible(r)
	fmt.Fprint(w, "abc")
	b := make([]byte, 10)
	if n, err := in.Read(b); n != 3 || err != nil {
		t.Fatal(n, err)
	}
	done := make(chan error)
	go func() {
		_, err := in.Read(b)
		done <- err
	}()
	in.Interrupt()
	if err := <-done; err != io.EOF {
		t.Error(err)
	}
	fmt.Fprint(w, "d")
	if n, err := in.Read(b); n != 0 || err != ErrInterrupted {
		t.Errorf("after the interrupt it reads %d, %v", n, err)
	}
	in.Close()
	in.Interrupt()
	if n, err := r.Read(b); n != 1 || err != nil {
		t.Errorf("what was there is lost: %d, %v", n, err)
	}
}
