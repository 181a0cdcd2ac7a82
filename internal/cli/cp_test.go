//go:build linux

package cli

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seastreamer/seastreamer/internal/redistest"
)

// In a cluster of Redis, where a unit stays in one slot, a copy needs no option:
// its progress is beside the stream. Shards need the stream's tag.
func TestCopyIntoACluster(t *testing.T) {
	dir := t.TempDir()
	r := redistest.ClusterForTest(t, redistest.Options{AppendOnly: true, NodeTimeout: 15 * time.Second})
	if code, _, errs := sea(t, dir, "one\ntwo\nthree\n", "streamer", "produce", "news"); code != 0 {
		t.Fatalf("produce: %d %s", code, errs)
	}
	for _, dst := range []string{"/copy", "/{tag}copy", "/sharded?hash_tag=stream&shards=3"} {
		for _, want := range []string{"3 messages copied", "nothing new since news[0] 3"} {
			code, _, errs := sea(t, dir, "", "streamer", "cp", "news", r.URL()+dst)
			if code != 0 || !strings.Contains(errs, want) {
				t.Errorf("%s: %d %s, want %q", dst, code, errs, want)
			}
		}
	}
	code, _, errs := sea(t, dir, "", "streamer", "cp", "news", r.URL()+"/spread?shards=3")
	if code != 2 || !strings.Contains(onlyLine(t, errs), "--delivery at-least") {
		t.Errorf("shards in several slots: %d %s", code, errs)
	}
	code, _, errs = sea(t, dir, "", "streamer", "cp", "news", r.URL()+"/spread?shards=3", "--delivery", "at-least")
	if code != 0 {
		t.Errorf("shards in several slots, at-least: %d %s", code, errs)
	}
}

// On a terminal a mirror shows what was copied, and takes the line away.
func TestCopyOnATerminal(t *testing.T) {
	dir := t.TempDir()
	if code, _, errs := sea(t, dir, "one\ntwo\n", "streamer", "produce", "news"); code != 0 {
		t.Fatalf("produce: %d %s", code, errs)
	}
	s := newScreen(t)
	cmd := command(t.Context(), dir, "streamer", "mirror", "news", "copy")
	cmd.Stderr = s.tty
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	until(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return strings.Contains(s.b.String(), "\r\x1b[Kcopied 2 records, 6 B")
	})
	_ = cmd.Process.Signal(syscall.SIGINT)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if got := s.text(); !strings.Contains(got, "\r\x1b[K2 messages copied, 6 B") || !strings.Contains(got, "the progress is called cp-") {
		t.Errorf("the screen got %q", got)
	}
}
