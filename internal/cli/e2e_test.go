//go:build unix

package cli

import (
	"bufio"
	"bytes"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seastreamer/seastreamer/codec"
	"github.com/seastreamer/seastreamer/driver"
)

// What consume -o json writes, produce --in json restores: key, value, headers
// and timestamp, byte for byte, for arbitrary bytes.
func TestJSONRestoresEveryByte(t *testing.T) {
	dir := t.TempDir()
	r := rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano())))
	some := func() []byte {
		switch r.IntN(5) {
		case 0:
			return nil
		case 1:
			return []byte{}
		case 2:
			return []byte("text \"quoted\"\nand 🌊\x00\u2028\x7f")
		}
		b := make([]byte, r.IntN(300))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return b
	}
	var want []codec.Envelope
	var in []byte
	for i := range 500 {
		// The file log keeps microseconds.
		e := codec.Envelope{Key: some(), Value: some(), Time: time.UnixMicro(1_700_000_000_000_000 + int64(i)*r.Int64N(1e9)).UTC()}
		for range r.IntN(4) {
			e.Headers = append(e.Headers, driver.Header{Key: "h" + string(some()), Value: some()})
		}
		want = append(want, e)
		in = append(e.Append(in), '\n')
	}
	stream := "first"
	for _, next := range []string{"second", "third"} {
		if code, _, errs := sea(t, dir, string(in), "streamer", "produce", stream, "--in", "json"); code != 0 {
			t.Fatalf("produce: %d %s", code, errs)
		}
		code, out, errs := sea(t, dir, "", "streamer", "consume", stream, "--from", "start", "--until", "end", "-o", "json")
		if code != 0 {
			t.Fatalf("consume: %d %s", code, errs)
		}
		in = []byte(out)
		var got []codec.Envelope
		for line := range bytes.Lines(in) {
			var e codec.Envelope
			if _, err := e.Decode(bytes.TrimSuffix(line, []byte("\n")), nil); err != nil {
				t.Fatalf("%v: %s", err, line)
			}
			e.Stream, e.Shard, e.Seq, e.HasSeq = "", 0, driver.Seq{}, false
			got = append(got, e)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatal(d)
		}
		stream = next
	}
}

// The second signal ends a command at once, and says what it gives up.
func TestSecondSignal(t *testing.T) {
	dir := t.TempDir()
	cmd := command(t.Context(), dir, "streamer", "flux", "p", "-t", "x", "--broker", closedPort(t))
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	until(t, func() bool { _, err := os.Lstat(dir + "/p"); return err == nil })
	if err := os.WriteFile(dir+"/p", []byte("lost\n"), 0); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Process.Signal(os.Interrupt)
	until(t, func() bool { _, err := os.Lstat(dir + "/p"); return err != nil })
	began := time.Now() // without it the broker has 30 s
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }()
	until(t, func() bool { // those that come soon after the first are still it
		_ = cmd.Process.Signal(os.Interrupt)
		select {
		case <-ended:
			return true
		default:
			return false
		}
	})
	if code := cmd.ProcessState.ExitCode(); code != 130 || time.Since(began) > 15*time.Second {
		t.Errorf("exit code %d after %v, want 130 at once", code, time.Since(began))
	}
	if !strings.Contains(errs.String(), "given up: ") {
		t.Errorf("said %q", errs.String())
	}
}

// A signal while the broker says nothing ends a command as such, and is no failure
// of the broker.
func TestSignalWhileConnecting(t *testing.T) {
	for line, want := range map[string]int{
		"produce x": 143, "bench pub": 143, "cp x y": 143, "cp x y --delivery at-least": 143, "mirror x y": 0,
		"lag": 143, "top -1": 143, "consume x": 0, "tap p x": 0,
	} {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			cmd := command(t.Context(), t.TempDir(), append([]string{"streamer"}, strings.Fields(line)...)...)
			cmd.Env = append(cmd.Env, "STREAMER_URI=redis://"+l.Addr().String())
			var errs bytes.Buffer
			cmd.Stderr = &errs
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			c, err := l.Accept() // it has begun to wait
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_ = cmd.Process.Signal(syscall.SIGTERM)
			_ = cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != want || strings.Contains(errs.String(), "canceled") {
				t.Errorf("exit code %d, want %d: %q", code, want, errs.String())
			}
		})
	}
}

func until(t *testing.T, done func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not happen")
		}
	}
}

// An endless consume over a large backlog into a reader that has stopped holds
// little memory, and a flat amount.
func TestConsumeIsSmall(t *testing.T) {
	dir := t.TempDir()
	line := strings.Repeat("x", 999) + "\n"
	if code, _, errs := sea(t, dir, strings.Repeat(line, 200_000), "streamer", "produce", "large"); code != 0 {
		t.Fatalf("produce: %d %s", code, errs)
	}
	cmd := command(t.Context(), dir, "streamer", "consume", "large", "--from", "start")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	in := bufio.NewReader(out)
	for i := range 100_000 {
		if s, err := in.ReadString('\n'); s != line || err != nil {
			t.Fatalf("line %d: %v", i, err)
		}
	}
	status, err := os.ReadFile("/proc/" + strconv.Itoa(cmd.Process.Pid) + "/status")
	if runtime.GOOS != "linux" {
		t.Skip("no /proc here")
	}
	if err != nil {
		t.Fatal(err)
	}
	for l := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(l, "VmHWM:"); ok {
			kib := 0
			for _, c := range rest {
				if c >= '0' && c <= '9' {
					kib = kib*10 + int(c-'0')
				}
			}
			if kib == 0 || kib > mostMemory {
				t.Errorf("%d KiB resident, want at most %d", kib, mostMemory)
			}
		}
	}
}
