//go:build unix

package e2e

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seastreamer/seastreamer/internal/redistest"
)

// A record that is refused ends flux and produce when it is refused, not with
// the next line: whoever writes that would believe that it is sent.
func TestARefusedRecordEndsTheCommand(t *testing.T) {
	sea := buildSea(t)
	r := redistest.ForTest(t, redistest.Options{})
	// refused is a command that writes to the stream, and the other end of what it
	// reads, which stays open.
	refused := func(t *testing.T, c *running, stream string, w io.WriteCloser) {
		t.Helper()
		defer w.Close()
		write := func(line string) {
			if _, err := io.WriteString(w, line+"\n"); err != nil {
				t.Fatal(err)
			}
		}
		write("one")
		waitFor(t, "the first record", func() bool { return r.Call(t, 1, "XLEN", stream) == "1" })
		r.Call(t, 1, "SET", stream, "no stream any more")
		write("two")
		limit := time.AfterFunc(time.Minute, func() { _ = c.Process.Kill() })
		defer limit.Stop()
		var code *exec.ExitError
		if err := c.Wait(); !errors.As(err, &code) || code.ExitCode() != 2 || !strings.Contains(c.stderr.String(), "is no stream") {
			t.Errorf("%v\n%s", err, &c.stderr)
		}
	}
	t.Run("flux", func(t *testing.T) {
		r.Call(t, 1, "XGROUP", "CREATE", "fluxed", "g", "0", "MKSTREAM")
		pipe := filepath.Join(t.TempDir(), "pipe")
		c := start(t, sea, "flux", pipe, "fluxed", "--broker", r.URL())
		w, err := os.OpenFile(pipe, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		refused(t, c, "fluxed", w)
		if _, err := os.Lstat(pipe); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the pipe is still there: %v", err)
		}
	})
	t.Run("produce", func(t *testing.T) {
		r.Call(t, 1, "XGROUP", "CREATE", "produced", "g", "0", "MKSTREAM")
		c := &running{Cmd: exec.Command(sea, "streamer", "produce", "produced", "--broker", r.URL())}
		c.Stderr = &c.stderr
		w, err := c.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		refused(t, c, "produced", w)
	})
}
