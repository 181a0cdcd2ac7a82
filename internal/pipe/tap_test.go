//go:build linux

package pipe

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// startTap serves src until the test's end and returns the pipe's path.
func startTap(t *testing.T, o TapOptions, src Source) (*Tap, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "consumer")
	return startTapAt(t, path, o, src), path
}

func startTapAt(t *testing.T, path string, o TapOptions, src Source) *Tap {
	t.Helper()
	if o.Notice == nil {
		o.Notice = func(s string) { t.Log("notice:", s) }
	}
	tap, err := CreateTap(path, o)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- tap.Serve(context.Background(), src) }()
	t.Cleanup(func() {
		tap.Stop()
		select {
		case err := <-served:
			if err != nil {
				t.Errorf("Serve: %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("Serve has not returned 10 s after Stop")
		}
		if _, err := os.Lstat(path); !os.IsNotExist(err) {
			t.Errorf("%s is still there after the end (%v)", path, err)
		}
	})
	return tap
}

// run runs a command with a limit and returns its output.
func run(t *testing.T, dir string, argv ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = dir
	var errOut bytes.Buffer
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	if ctx.Err() != nil {
		t.Fatalf("%q hangs; it wrote %d bytes", argv, len(out))
	}
	if err != nil {
		t.Fatalf("%q: %v: %s", argv, err, errOut.Bytes())
	}
	return string(out)
}

func lines(from, to int) string {
	var b bytes.Buffer
	for i := from; i < to; i++ {
		b.Write(line(i))
	}
	return b.String()
}

func wantText(t *testing.T, what, got, want string) {
	t.Helper()
	if got == want {
		return
	}
	i := 0
	for i < len(got) && i < len(want) && got[i] == want[i] {
		i++
	}
	t.Fatalf("%s: got %d bytes, want %d; they differ at %d: got %.60q, want %.60q", what, len(got), len(want), i, got[i:], want[i:])
}

func TestCatEndsAndTheNextGoesOn(t *testing.T) {
	for _, one := range []bool{false, true} {
		src := newMemSource(50_000, line)
		_, path := startTap(t, TapOptions{OneInode: one}, src)
		wantText(t, "first cat", run(t, "", "cat", path), lines(0, 50_000))
		wantText(t, "cat of nothing", run(t, "", "cat", path), "")
		src.add(3)
		wantText(t, "next cat", run(t, "", "cat", path), lines(50_000, 50_003))
		if taken, _ := src.counts(); taken != 50_003 {
			t.Errorf("taken %d, want 50003", taken)
		}
	}
}

func TestHeadTakesWhatItReads(t *testing.T) {
	src := newMemSource(50_000, line)
	_, path := startTap(t, TapOptions{}, src)
	wantText(t, "head", run(t, "", "head", "-n", "3", path), lines(0, 3))
	rest := run(t, "", "cat", path)
	taken, _ := src.counts()
	if taken != 50_000 {
		t.Errorf("taken %d, want 50000", taken)
	}
	var first int
	if n := len(rest); n == 0 || !bytes.HasSuffix([]byte(lines(0, 50_000)), []byte(rest)) || rest[:5] != "line " {
		t.Fatalf("the rest (%d bytes) is not whole lines to the end: %.40q", n, rest)
	}
	first = 50_000 - bytes.Count([]byte(rest), []byte("\n"))
	if first < 3 || first > 3000 {
		t.Errorf("cat went on at line %d after head", first)
	}
}
