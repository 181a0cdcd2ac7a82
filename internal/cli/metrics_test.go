//go:build unix

package cli

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
)

// The command serves what is in the streams, and TERM ends it with 0.
func TestMetricsAreServed(t *testing.T) {
	dir := t.TempDir()
	if code, _, errs := sea(t, dir, "a\nb\nc\n", "streamer", "produce", "news"); code != 0 {
		t.Fatalf("produce: %d %s", code, errs)
	}
	cmd := command(t.Context(), dir, "streamer", "metrics", "--listen", "127.0.0.1:0")
	errs, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(errs).ReadString('\n')
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "serving ")
	if !ok {
		t.Fatalf("it says %q, %v", line, err)
	}
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(r.Body)
	_ = r.Body.Close()
	if want := `seastreamer_shard_messages_added_total{shard="0",stream="news"} 3`; err != nil || !strings.Contains(string(body), want) {
		t.Errorf("%v: %s\nwant %s in it", err, body, want)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after TERM: %v", err)
	}
}
