//go:build unix

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seastreamer/seastreamer/e2e/apachekafka"
)

// kills is how often flux is killed; FLUX_KILLS=100 is the full measure.
func kills(t *testing.T) int {
	s := os.Getenv("FLUX_KILLS")
	if s == "" {
		return 12
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatalf("FLUX_KILLS: %v", err)
	}
	return n
}

// TestFluxKilledUnderLoad ends flux with TERM at random instants while four
// writers write as fast as they can: two that keep the pipe open and two that
// open it for each few lines. Every line whose write(2) succeeded must be in the
// topic, once, in each writer's order; flux must exit with 0, and the pipe must
// be gone.
func TestFluxKilledUnderLoad(t *testing.T) {
	c := apachekafka.ForTest(t)
	fluxKilled(t, c.Brokers()[0], func(t *testing.T, topic string, accepted map[string]int) (lost, wrong int) {
		return checkTopic(t, c.Brokers()[0], topic, accepted)
	})
}

// fluxKilled is the test on a broker; check compares what is in a stream with
// the lines that were accepted, by writer.
func fluxKilled(t *testing.T, broker string, check func(t *testing.T, topic string, accepted map[string]int) (lost, wrong int)) {
	t.Helper()
	sea := buildSea(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	topic := fmt.Sprintf("flux-kill-%d", seed)
	dir := t.TempDir()
	pipe := filepath.Join(dir, "producer")
	accepted := map[string]int{} // by round and writer: lines 0 … n-1 were accepted
	total, refused := 0, 0
	for round := range kills(t) {
		cmd := exec.CommandContext(t.Context(), sea, "streamer", "flux", pipe, "--broker", broker, "-t", topic, "--drain", "200ms")
		var stderr bytes.Buffer
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd.Stderr = &stderr
		cmd.ExtraFiles = []*os.File{w}
		cmd.Args = append(cmd.Args, "--ready-fd", "3")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		w.Close()
		if _, err := r.Read(make([]byte, 64)); err != nil {
			t.Fatalf("flux was not ready: %v\n%s", err, &stderr)
		}
		r.Close()

		var over atomic.Bool
		var mu sync.Mutex
		var writers sync.WaitGroup
		for i := range 4 {
			name := fmt.Sprintf("%d.%d", round, i)
			writers.Go(func() {
				n, epipe := writeLines(pipe, name, i < 2, &over)
				mu.Lock()
				defer mu.Unlock()
				accepted[name] = n
				total += n
				if epipe {
					refused++
				}
			})
		}
		time.Sleep(time.Duration(rnd.IntN(200)) * time.Millisecond) // the random instant
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("round %d: flux ended with %v\n%s", round, err, &stderr)
		}
		if _, err := os.Lstat(pipe); !os.IsNotExist(err) {
			t.Errorf("round %d: the pipe is still there (%v)", round, err)
		}
		over.Store(true)
		ended := make(chan struct{})
		go func() { writers.Wait(); close(ended) }()
		select {
		case <-ended:
		case <-time.After(time.Minute):
			t.Fatalf("round %d: a writer hangs", round)
		}
	}
	t.Logf("%d lines accepted, %d writers saw EPIPE", total, refused)
	if total == 0 || refused == 0 {
		t.Errorf("the kills hit nothing: %d lines, %d EPIPE", total, refused)
	}
	lost, wrong := check(t, topic, accepted)
	if lost > 0 || wrong > 0 {
		t.Errorf("%d lines lost, %d twice, torn or out of order", lost, wrong)
	}
}

// writeLines writes lines until the pipe is closed or gone, and returns how many
// the kernel accepted. It uses plain blocking system calls, as cat would, and
// never creates a file. A lasting writer opens once, the other for every three
// lines.
func writeLines(pipe, name string, lasting bool, over *atomic.Bool) (n int, epipe bool) {
	for !over.Load() {
		fd, err := unix.Open(pipe, unix.O_WRONLY, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return n, epipe
		}
		for i := 0; lasting || i < 3; i++ {
			line := fmt.Appendf(nil, "%s %d %s\n", name, n, strings.Repeat("x", n*37%300))
			written, err := unix.Write(fd, line)
			if err == unix.EINTR {
				i--
				continue
			}
			if err != nil || written != len(line) {
				unix.Close(fd)
				return n, err == unix.EPIPE
			}
			n++
		}
		unix.Close(fd)
	}
	return n, epipe
}

// checkTopic reads the topic with an independent client and compares.
func checkTopic(t *testing.T, broker, topic string, accepted map[string]int) (lost, wrong int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "kcat", "-C", "-e", "-q", "-b", broker, "-t", topic).Output()
	if err != nil {
		t.Fatalf("kcat: %v", err)
	}
	return checkLines(t, out, accepted)
}

// checkLines compares the lines of a stream with those that were accepted.
func checkLines(t *testing.T, out []byte, accepted map[string]int) (lost, wrong int) {
	t.Helper()
	next := map[string]int{}
	for line := range bytes.Lines(out) {
		f := strings.Split(strings.TrimSuffix(string(line), "\n"), " ")
		n, err := strconv.Atoi(f[min(1, len(f)-1)])
		if len(f) != 3 || err != nil || f[2] != strings.Repeat("x", n*37%300) || next[f[0]] != n {
			wrong++
			continue
		}
		next[f[0]]++
	}
	for name, n := range accepted {
		if next[name] < n {
			lost += n - next[name]
			t.Logf("writer %s: %d lines accepted, %d in the stream", name, n, next[name])
		} else if next[name] > n {
			wrong += next[name] - n
		}
	}
	return lost, wrong
}
