package produce

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/seastreamer/seastreamer/internal/frame"
)

// What was read of a line when a signal came is not a line: neither of a pipe
// whose writer is in the middle of it, nor of a file.
func TestStopTearsNoLine(t *testing.T) {
	line := bytes.Repeat([]byte("x"), 999)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if _, err := w.Write(append(append(bytes.Clone(line), '\n'), "xxx"...)); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "lines")
	if err := os.WriteFile(file, bytes.Repeat(append(bytes.Clone(line), '\n'), 2000), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"-", file} {
		if name == "-" && runtime.GOOS == "windows" {
			continue // a read that waits there goes on
		}
		in, err := openFiles(r, []string{name})
		if err != nil {
			t.Fatal(err)
		}
		cut := frame.NewReader(in, frame.NewPool(nil), frame.Options{})
		for n := 1; ; n++ {
			m, err := cut.Next()
			if err != nil {
				if n == 1 || n > 2000 {
					t.Errorf("%s: %d lines, then %v", name, n-1, err)
				}
				break
			}
			if !bytes.Equal(m, line) {
				t.Fatalf("%s: message %d is %q", name, n, m)
			}
			if n == 1 {
				in.Stop()
			}
		}
		cut.Close()
		in.close()
	}
}
