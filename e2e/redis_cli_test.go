//go:build unix

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
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

	"github.com/seastreamer/seastreamer/internal/redistest"
)

// What the commands promise, on Redis servers that are killed. redis-cli is the
// witness.

// fsync is a server that loses nothing that it has acknowledged. With everysec
// it may keep writes back while a sync is under way, and a kill takes them.
var fsync = redistest.Options{AppendOnly: true, Fsync: "always"}

func TestSeedOnRedis(t *testing.T) {
	sea := buildSea(t)
	r := redistest.ForTest(t, redistest.Options{AppendOnly: true})
	dir := runSeed(t, sea, strings.ReplaceAll(seed, "localhost:9092", r.URL()), lines(t))
	got := filepath.Join(dir, "redis-cli.ndjson")
	if err := os.WriteFile(got, payloads(t, r, 1, "news"), 0o600); err != nil {
		t.Fatal(err)
	}
	sameFile(t, got, filepath.Join(dir, "sent.ndjson"))
}

func TestFluxKilledUnderLoadOnRedis(t *testing.T) {
	r := redistest.ForTest(t, redistest.Options{AppendOnly: true})
	fluxKilled(t, r.URL(), func(t *testing.T, stream string, accepted map[string]int) (lost, wrong int) {
		return checkLines(t, payloads(t, r, 1, stream), accepted)
	})
}

// payloads are the payloads of a key whose entries have the field msg alone, a
// line each, as redis-cli sees them.
func payloads(t *testing.T, r *redistest.Servers, node int, key string) []byte {
	t.Helper()
	host, port, _ := strings.Cut(r.Addr(node), ":")
	out, err := exec.Command("redis-cli", "-h", host, "-p", port, "--raw", "XRANGE", key, "-", "+").Output()
	if err != nil {
		t.Fatalf("redis-cli: %v", err)
	}
	var b bytes.Buffer
	n := 0
	for l := range bytes.Lines(out) { // id, field, value
		if n++; n%3 == 0 {
			b.Write(l)
		} else if n%3 == 2 && string(l) != "msg\n" {
			t.Fatalf("redis-cli printed %q for a field", l)
		}
	}
	return b.Bytes()
}

// A running command.
type running struct {
	*exec.Cmd
	stderr lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// start starts flux or tap and returns when it is ready.
func start(t *testing.T, sea string, args ...string) *running {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c := &running{Cmd: exec.Command(sea, append(append([]string{"streamer"}, args...), "--ready-fd", "3")...)}
	c.Stderr = &c.stderr
	c.ExtraFiles = []*os.File{w}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	})
	if _, err := r.Read(make([]byte, 64)); err != nil {
		t.Fatalf("%s was not ready: %v\n%s", args[0], err, &c.stderr)
	}
	r.Close()
	return c
}

// stop ends it as a shell does, and wants exit code 0.
func (c *running) stop(t *testing.T) {
	t.Helper()
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if err := c.Wait(); err != nil {
		t.Errorf("%s ended with %v\n%s", c.Args[2], err, &c.stderr)
	}
}

// fluxLoad is four writers on a flux for as long as during runs. It returns how
// many lines were accepted, by writer.
func fluxLoad(t *testing.T, pipe string, during func()) map[string]int {
	t.Helper()
	var over atomic.Bool
	var writers sync.WaitGroup
	var mu sync.Mutex
	accepted := map[string]int{}
	for i := range 4 {
		name := "w" + strconv.Itoa(i)
		writers.Go(func() {
			n, epipe := writeSome(pipe, name, i < 2, &over)
			mu.Lock()
			defer mu.Unlock()
			if accepted[name] = n; epipe {
				t.Errorf("%s: the pipe was closed", name)
			}
		})
	}
	during()
	over.Store(true)
	writers.Wait()
	return accepted
}

// writeSome is writeLines at some thousand lines a second, so that a test may
// last; it writes to a pipe that waits while the broker is away.
func writeSome(pipe, name string, lasting bool, over *atomic.Bool) (n int, epipe bool) {
	for !over.Load() {
		f, err := os.OpenFile(pipe, os.O_WRONLY, 0)
		if err != nil {
			return n, false
		}
		for i := 0; (lasting || i < 3) && !over.Load(); i++ {
			if _, err := fmt.Fprintf(f, "%s %d %s\n", name, n, strings.Repeat("x", n*37%300)); err != nil {
				f.Close()
				return n, true
			}
			if n++; n%10 == 0 {
				time.Sleep(2 * time.Millisecond) // the pace, not a wait for anything
			}
		}
		f.Close()
	}
	return n, false
}

// a count is what is in a stream of what was accepted.
type count struct{ lost, doubled, disordered, other int }

func countStream(out []byte, accepted map[string]int) (c count) {
	seen, last := map[string][]int{}, map[string]int{}
	for name, n := range accepted {
		seen[name], last[name] = make([]int, n), -1
	}
	for line := range bytes.Lines(out) {
		f := strings.Split(strings.TrimSuffix(string(line), "\n"), " ")
		n, err := strconv.Atoi(f[min(1, len(f)-1)])
		if len(f) != 3 || err != nil || n >= len(seen[f[0]]) || f[2] != strings.Repeat("x", n*37%300) {
			c.other++
			continue
		}
		seen[f[0]][n]++
		if n < last[f[0]] {
			c.disordered++
		}
		last[f[0]] = n
	}
	for _, s := range seen {
		for _, n := range s {
			if n == 0 {
				c.lost++
			} else {
				c.doubled += n - 1
			}
		}
	}
	return c
}

func sum(accepted map[string]int) (n int) {
	for _, a := range accepted {
		n += a
	}
	return n
}

// The server is killed under flux again and again, and comes back with its AOF.
// At least once, no accepted line is lost, and flux says what may be there
// twice; exactly once, nothing is, and all is in order.
func TestFluxWhileRedisIsKilled(t *testing.T) {
	sea := buildSea(t)
	for _, delivery := range []string{"at-least", "exactly"} {
		t.Run(delivery, func(t *testing.T) {
			r := redistest.ForTest(t, fsync)
			pipe := filepath.Join(t.TempDir(), "p")
			flux := start(t, sea, "flux", pipe, "news", "--broker", r.URL(), "--delivery", delivery)
			rnd := rand.New(rand.NewPCG(1, 2))
			accepted := fluxLoad(t, pipe, func() {
				for range 5 {
					time.Sleep(time.Duration(300+rnd.IntN(500)) * time.Millisecond) // under load
					r.Kill(1)
					time.Sleep(time.Duration(rnd.IntN(1000)) * time.Millisecond) // away
					if err := r.Restart(t.Context(), 1); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(500 * time.Millisecond)
			})
			flux.stop(t)
			c := countStream(payloads(t, r, 1, "news"), accepted)
			t.Logf("%d lines accepted, 5 kills: %+v; flux said %s", sum(accepted), c, &flux.stderr)
			if c.lost > 0 || c.other > 0 || sum(accepted) == 0 {
				t.Error("lost, or something that nobody wrote")
			}
			said := strings.Contains(flux.stderr.String(), "records may be there twice")
			if c.doubled > 0 && !said {
				t.Error("there are doubles, and flux did not say so")
			}
			if delivery == "exactly" && (c.doubled > 0 || c.disordered > 0) {
				t.Error("doubles or disorder")
			}
		})
	}
}

// While the server is away writers wait, and nothing is lost or doubled when
// it is back.
func TestFluxWaitsForRedis(t *testing.T) {
	sea := buildSea(t)
	r := redistest.ForTest(t, fsync)
	pipe := filepath.Join(t.TempDir(), "p")
	flux := start(t, sea, "flux", pipe, "news", "--broker", r.URL(), "--buffer", "64KiB")
	if err := os.WriteFile(pipe, []byte("first\n"), 0); err != nil {
		t.Fatal(err)
	}
	r.Kill(1)
	f, err := os.OpenFile(pipe, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	var written atomic.Int64
	done := make(chan error, 1)
	const n = 50_000
	line := strings.Repeat("y", 99) + "\n"
	go func() {
		defer f.Close()
		for range n {
			if _, err := f.WriteString(line); err != nil {
				done <- err
				return
			}
			written.Add(1)
		}
		done <- nil
	}()
	waitFor(t, "something was written", func() bool { return written.Load() > 0 })
	// It comes to a halt long before the end: buffer, blocks and pipe are full.
	was := int64(-1)
	for w := written.Load(); w != was; w = written.Load() {
		was = w
		time.Sleep(300 * time.Millisecond)
	}
	if was == n {
		t.Errorf("%d of %d lines were taken while nobody could store them", was, n)
	}
	if err := r.Restart(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	flux.stop(t)
	got := payloads(t, r, 1, "news")
	if bytes.Count(got, []byte(line)) != n || !bytes.HasPrefix(got, []byte("first\n")) {
		t.Errorf("%d lines of %d are there\n%s", bytes.Count(got, []byte(line)), n, &flux.stderr)
	}
	t.Logf("halted after %d lines", was)
}

// A reader of tap's pipe goes through kills of the server: every line comes,
// once and in order, and the reader sees neither an end nor an error.
func TestTapWhileRedisIsKilled(t *testing.T) {
	sea := buildSea(t)
	r := redistest.ForTest(t, fsync)
	dir := t.TempDir()
	pipe := filepath.Join(dir, "p")
	const n, parts = 100_000, 5
	produce := func(part int) {
		t.Helper()
		var b bytes.Buffer
		for i := part * n / parts; i < (part+1)*n/parts; i++ {
			fmt.Fprintf(&b, "line %d\n", i)
		}
		cmd := exec.Command(sea, "streamer", "produce", "news", "--broker", r.URL(), "--delivery", "exactly")
		cmd.Stdin = &b
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	produce(0)
	tap := start(t, sea, "tap", "-f", pipe, "news", "--broker", r.URL())
	f, err := os.Open(pipe)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var read atomic.Int64
	done := make(chan error, 1)
	go func() {
		in := bufio.NewReaderSize(f, 4<<10)
		for i := range n {
			l, err := in.ReadString('\n')
			if want := fmt.Sprintf("line %d\n", i); err != nil || l != want {
				done <- fmt.Errorf("line %d is %q: %w", i, l, err)
				return
			}
			if read.Add(1)%1000 == 0 {
				time.Sleep(10 * time.Millisecond) // so that kills hit a reader under way
			}
		}
		done <- nil
	}()
	for part := 1; part < parts; part++ {
		time.Sleep(150 * time.Millisecond)
		r.Kill(1)
		time.Sleep(200 * time.Millisecond)
		if err := r.Restart(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		produce(part)
	}
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("%v\n%s", err, &tap.stderr)
		}
	case <-time.After(3 * time.Minute):
		t.Fatalf("after %d lines nothing comes\n%s", read.Load(), &tap.stderr)
	}
	tap.stop(t)
}

// The master is killed under flux and tap, and Sentinel chooses another. With
// the acknowledgement of both replicas for each record nothing is lost. That of
// one would not do: sentinels may promote the other, and on a busy machine they
// do so twice in a row, the second time from a master that runs and is written
// to.
func TestFluxAndTapOverSentinel(t *testing.T) {
	sea := buildSea(t)
	r := redistest.SentinelForTest(t, redistest.Options{AppendOnly: true})
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	url := r.URL() + "&replicas=2&request_timeout=4s"
	flux := start(t, sea, "flux", in, "news", "--broker", url)
	if err := os.WriteFile(in, []byte("w0 0 \n"), 0); err != nil { // tap wants a stream that exists
		t.Fatal(err)
	}
	waitFor(t, "flux has written something", func() bool {
		n, err := r.Do(1, "XLEN", "news")
		return err == nil && n != "0"
	})
	tap := start(t, sea, "tap", "-f", out, "news", "--broker", r.URL(), "--session", "resume")
	f, err := os.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var tapped lockedBuffer
	go io.Copy(&tapped, f)
	accepted := fluxLoad(t, in, func() {
		for range 2 {
			time.Sleep(time.Second)
			master := masterOf(t, r, 0)
			r.Kill(master)
			failedOver(t, r, master)
			if err := r.Restart(t.Context(), master); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			if err := r.Ready(ctx); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
	})
	flux.stop(t)
	stream := payloads(t, r, masterOf(t, r, 0), "news")
	c := countStream(stream, accepted)
	t.Logf("%d lines accepted, 2 fail-overs: %+v; flux said %s", sum(accepted), c, &flux.stderr)
	if c.lost > 0 {
		t.Error("flux lost lines")
	}
	// The reader has every line when it has the last ones of the stream.
	for late := time.Now().Add(time.Minute); countStream([]byte(tapped.String()), accepted).lost > 0 && time.Now().Before(late); {
		time.Sleep(20 * time.Millisecond)
	}
	g := countStream([]byte(tapped.String()), accepted)
	t.Logf("tap gave %+v, and said %s", g, &tap.stderr)
	if g.lost > 0 || g.other > 1 {
		t.Error("tap lost lines")
	}
	_ = tap.Process.Signal(syscall.SIGTERM)
	_ = tap.Wait()
	if code := tap.ProcessState.ExitCode(); code != 0 && code != 1 { // 1: it told of a gap
		t.Errorf("tap ended with %d", code)
	}
}

// masterOf is the master of a slot, as soon as the servers agree on who that is.
func masterOf(t *testing.T, s *redistest.Servers, slot int) (node int) {
	t.Helper()
	waitFor(t, "servers agree on who is the master", func() bool {
		var err error
		node, err = s.Master(slot)
		return err == nil
	})
	return node
}

// failedOver waits until the sentinels agree on another master.
func failedOver(t *testing.T, r *redistest.Servers, was int) {
	t.Helper()
	waitFor(t, "another master was chosen", func() bool {
		m, err := r.Master(0)
		return err == nil && m != was
	})
}

// Shards spread over the masters of a cluster, through any node's address.
func TestCommandsOnARedisCluster(t *testing.T) {
	sea := buildSea(t)
	r := redistest.ClusterForTest(t, redistest.Options{AppendOnly: true, NodeTimeout: 3 * time.Second})
	dir := t.TempDir()
	t.Setenv("PATH", filepath.Dir(sea)+":"+os.Getenv("PATH"))
	t.Setenv("FIRST", "redis://"+r.Addr(1))
	t.Setenv("ALL", r.URL())
	run(t, dir, `set -eu
seq 1 30000 > sent
sea streamer produce news sent --broker "$FIRST?shards=6"
sea streamer consume news --broker "$ALL" --from start --until end | sort -n > got
cmp sent got
sea streamer consume news --broker "$ALL" --from start --until end -o json | jq -r .shard | sort -u | tr -d '\n' > shards
[ "$(cat shards)" = 012345 ]
sea streamer produce news --broker "$ALL" -k same sent
[ "$(sea streamer consume news --broker "$ALL" --from start --until end -o json | jq -r 'select(.key=="same").shard' | sort -u | wc -l)" = 1 ]
sea streamer produce plain sent --broker "$FIRST"
sea streamer consume plain --broker "$FIRST" --from start --until end | cmp - sent
sea streamer produce 'tagged' sent --broker "$FIRST?shards=3&hash_tag=stream"
! sea streamer consume news --broker "$FIRST?db=1" 2> db
grep -q 'leave out db' db
`)
	// redis-cli finds each shard where the cluster says.
	host, port, _ := strings.Cut(r.Addr(2), ":")
	total := 0
	for i := range 6 {
		out, err := exec.Command("redis-cli", "-c", "-h", host, "-p", port, "XLEN", "news:"+strconv.Itoa(i)).Output()
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(strings.TrimSpace(string(out)))
		if err != nil {
			t.Fatalf("%s", out)
		}
		total += n
	}
	if total != 60_000 {
		t.Errorf("there are %d entries, want 60000", total)
	}
	out, err := exec.Command("redis-cli", "-c", "-h", host, "-p", port, "EXISTS", "{tagged}:0", "{tagged}:1", "{tagged}:2").Output()
	if err != nil || strings.TrimSpace(string(out)) != "3" {
		t.Errorf("the tagged shards: %s %v", out, err)
	}
}
