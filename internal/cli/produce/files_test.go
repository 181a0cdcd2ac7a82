package produce

import (
	"cmp"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/seastreamer/seastreamer/internal/frame"
)

// What was read of a line when a signal came is not a line while its rest is there
// to be read: in a file, or in a pipe. Where nothing more is there, that is the last
// of it as if the input had ended.
func TestStopTearsNoLine(t *testing.T) {
	line := strings.Repeat("x", 999)
	file := filepath.Join(t.TempDir(), "lines")
	if err := os.WriteFile(file, []byte(strings.Repeat(line+"\n", 2000)), 0o600); err != nil {
		t.Fatal(err)
	}
	short := filepath.Join(t.TempDir(), "short")
	if err := os.WriteFile(short, []byte(line+"\nxxx"), 0o600); err != nil {
		t.Fatal(err)
	}
	const read = 256 << 10 // at once
	for _, c := range []struct {
		name  string
		file  string // "" is a pipe, which has
		first string // when the first line is read, and
		then  string // when the signal comes
		last  string // what may come but whole lines
	}{
		{"a file", file, "", "", ""},
		{"a pipe with the rest of the line", "", line + "\nxxx", line[3:] + "\n", ""},
		{"a pipe that is empty", "", line + "\nxxx", "", "xxx"},
		{"a file without an end of line", short, "", "", "xxx"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if (c.file == "" || c.last != "") && runtime.GOOS == "windows" {
				t.Skip("there it does not know what it has")
			}
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			defer w.Close()
			name := cmp.Or(c.file, "-")
			if _, err := w.WriteString(c.first); err != nil {
				t.Fatal(err)
			}
			in, err := openFiles(r, []string{name})
			if err != nil {
				t.Fatal(err)
			}
			defer in.close()
			cut := frame.NewReader(in, frame.NewPool(nil), frame.Options{})
			defer cut.Close()
			last := ""
			for n := 1; ; n++ {
				m, err := cut.Next()
				if err != nil {
					if n == 1 || n > read/len(line)+1 {
						t.Errorf("%d lines, then %v", n-1, err)
					}
					break
				}
				if string(m) != line {
					last += string(m)
				}
				if n == 1 {
					if _, err := w.WriteString(c.then); err != nil {
						t.Fatal(err)
					}
					in.Stop()
				}
			}
			if last != c.last {
				t.Errorf("the last message is %q, want %q", last, c.last)
			}
		})
	}
}
