//go:build linux

package pipe

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// readAll reads a flux to its end and returns the sessions.
func readAll(f *Flux) (sessions [][]byte, err error) {
	buf := make([]byte, 256<<10)
	var cur []byte
	for {
		n, err := f.Read(buf)
		cur = append(cur, buf[:n]...)
		switch {
		case errors.Is(err, ErrSessionEnd):
			sessions = append(sessions, cur)
			cur = nil
		case err == io.EOF:
			if cur != nil {
				return sessions, errors.New("bytes after the last session")
			}
			return sessions, nil
		case err != nil:
			return sessions, err
		}
	}
}

// A fluxRun is a flux being read.
type fluxRun struct {
	*Flux
	path     string
	done     chan struct{}
	sessions [][]byte
	err      error
}

func startFlux(t *testing.T, o FluxOptions) *fluxRun {
	t.Helper()
	return startFluxAt(t, filepath.Join(t.TempDir(), "producer"), o)
}

func startFluxAt(t *testing.T, path string, o FluxOptions) *fluxRun {
	t.Helper()
	if o.Notice == nil {
		o.Notice = func(s string) { t.Log("notice:", s) }
	}
	f, err := CreateFlux(path, o)
	if err != nil {
		t.Fatal(err)
	}
	r := &fluxRun{Flux: f, path: path, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		r.sessions, r.err = readAll(f)
	}()
	t.Cleanup(func() {
		f.Close()
		<-r.done
	})
	return r
}

// end waits for the end and returns everything that was read.
func (r *fluxRun) end(t *testing.T) string {
	t.Helper()
	select {
	case <-r.done:
	case <-time.After(limit):
		t.Fatal("the flux does not end")
	}
	if r.err != nil {
		t.Fatal(r.err)
	}
	all := bytes.Join(r.sessions, nil)
	if got := r.Stats(); got.Bytes != int64(len(all)) || got.Sessions != int64(len(r.sessions)) || got.Left != 0 {
		t.Errorf("stats %+v; read %d bytes, %d sessions", got, len(all), len(r.sessions))
	}
	return string(all)
}

// waitFor waits until ok, which must come true.
func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, limit)
		}
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func TestFluxReadsWriters(t *testing.T) {
	f := startFlux(t, FluxOptions{})
	run(t, "", "bash", "-c", "echo one > "+f.path)
	waitFor(t, "end of the first session", func() bool { return f.Stats().Sessions == 1 })
	run(t, "", "bash", "-c", "printf partial > "+f.path)
	waitFor(t, "end of the second session", func() bool { return f.Stats().Sessions == 2 })
	run(t, "", "bash", "-c", "seq 100000 > "+f.path)
	f.Stop(time.Second)
	wantText(t, "all", f.end(t), "one\npartial"+run(t, "", "seq", "100000"))
	if len(f.sessions) != 3 {
		t.Errorf("%d sessions, want 3", len(f.sessions))
	}
	if exists(f.path) {
		t.Errorf("%s is still there", f.path)
	}
}

// Row 3: what cat has handed over when it returns is read after a stop.
func TestFluxStopAfterCat(t *testing.T) {
	want := run(t, "", "seq", "200000")
	file := filepath.Join(t.TempDir(), "big")
	if err := os.WriteFile(file, []byte(want), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		f := startFlux(t, FluxOptions{})
		run(t, "", "bash", "-c", "cat "+file+" > "+f.path)
		f.Stop(10 * time.Second)
		wantText(t, "after the stop", f.end(t), want)
	}
}

// checkWriters checks that each writer's first n lines were read, whole, in
// order, and no more.
func checkWriters(t *testing.T, got string, accepted map[string]int) (total int) {
	t.Helper()
	next := map[string]int{}
	for l := range strings.Lines(got) {
		id, num, ok := strings.Cut(strings.TrimSuffix(l, "\n"), " ")
		n, err := strconv.Atoi(num)
		if !ok || err != nil || l[len(l)-1] != '\n' || n != next[id] {
			t.Fatalf("line %q of writer %q, want its line %d", l, id, next[id])
		}
		next[id]++
		total++
	}
	for id, n := range accepted {
		if next[id] != n {
			t.Errorf("writer %s: %d lines accepted, %d read", id, n, next[id])
		}
	}
	return total
}

// Rows 3 and 4: a stop at any instant while two writers go on writing and two go
// on opening. PIPE_KILLS makes more of it.
func TestFluxKillLosesNothing(t *testing.T) {
	kills := 12
	if n, err := strconv.Atoi(os.Getenv("PIPE_KILLS")); err == nil {
		kills = n
	}
	total := 0
	for range kills {
		f := startFlux(t, FluxOptions{})
		writers := map[string]*helper{}
		for i := range 4 {
			id := fmt.Sprint("w", i)
			if i < 2 {
				writers[id] = startHelper(t, "write", f.path, id)
			} else {
				writers[id] = startHelper(t, "openwrite", f.path, id, "0")
			}
		}
		waitFor(t, "first bytes", func() bool { return f.Stats().Bytes > 0 })
		time.Sleep(time.Duration(rand.IntN(60_000)) * time.Microsecond) // the random instant
		f.Stop(100 * time.Millisecond)
		if exists(f.path) {
			t.Error("the path is there after Stop")
		}
		got := f.end(t)
		accepted := map[string]int{}
		for id, w := range writers {
			n, err := strconv.Atoi(strings.Fields(w.wait(t))[0])
			if err != nil {
				t.Fatal(err)
			}
			accepted[id] = n
		}
		total += checkWriters(t, got, accepted)
	}
	t.Logf("%d kills, %d lines", kills, total)
}

// Row 5: nothing is lost between writers, and no writer sees a closed pipe.
func TestFluxManyOpens(t *testing.T) {
	const writers, opens = 8, 1500
	f := startFlux(t, FluxOptions{})
	var hs []*helper
	for i := range writers {
		hs = append(hs, startHelper(t, "openwrite", f.path, fmt.Sprint("w", i), fmt.Sprint(opens)))
	}
	accepted := map[string]int{}
	for i, h := range hs {
		var n, broken int
		if _, err := fmt.Sscan(h.wait(t), &n, &broken); err != nil {
			t.Fatal(err)
		}
		if n != opens || broken != 0 {
			t.Errorf("writer %d: %d accepted, %d EPIPE; want %d, 0", i, n, broken, opens)
		}
		accepted[fmt.Sprint("w", i)] = n
	}
	f.Stop(time.Second)
	checkWriters(t, f.end(t), accepted)
}

// Row 8: every byte value and the lengths at which kernels change their ways.
func TestFluxBytes(t *testing.T) {
	var want []byte
	for i := range 256 {
		want = append(want, byte(i))
	}
	for _, n := range []int{0, 1, 4095, 4096, 4097, 65535, 65536, 65537, 1 << 20, 17 << 20} {
		for i := range n {
			want = append(want, byte(i*7+i>>8))
		}
		want = append(want, '\n')
	}
	f := startFlux(t, FluxOptions{})
	w, err := os.OpenFile(f.path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(want); err != nil {
		t.Fatal(err)
	}
	w.Close()
	f.Stop(time.Second)
	wantText(t, "bytes", f.end(t), string(want))
	if len(f.sessions) != 1 {
		t.Errorf("%d sessions, want 1", len(f.sessions))
	}
}

// Row 11: whatever happens to the path, the flux ends in order and a stranger's
// file stays.
func TestFluxPathTakenAway(t *testing.T) {
	for name, c := range map[string]struct {
		do    func(path string) error
		stays string
	}{
		"rm": {do: os.Remove},
		"mv": {do: func(p string) error { return os.Rename(p, p+".moved") }, stays: ".moved"},
		"stranger": {do: func(p string) error {
			if err := unix.Mkfifo(p+".new", 0o600); err != nil {
				return err
			}
			return os.Rename(p+".new", p)
		}, stays: ""},
		"file": {do: func(p string) error {
			if err := os.WriteFile(p+".new", []byte("x"), 0o600); err != nil {
				return err
			}
			return os.Rename(p+".new", p)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			f := startFlux(t, FluxOptions{})
			w, err := os.OpenFile(f.path, os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintln(w, "before")
			if err := c.do(f.path); err != nil {
				t.Fatal(err)
			}
			select {
			case <-f.Stopping():
			case <-time.After(limit):
				t.Fatal("not noticed")
			}
			fmt.Fprintln(w, "after")
			w.Close()
			wantText(t, "all", f.end(t), "before\nafter\n")
			if want := name == "stranger" || name == "file"; exists(f.path) != want {
				t.Errorf("something at the path: %v, want %v", !want, want)
			}
			if name == "mv" && !exists(f.path+".moved") {
				t.Error("the renamed pipe was removed")
			}
		})
	}
}

// A writer that stays gets EPIPE when the drain limit is over, and what it was
// told is accepted was read. One that ignores the error cannot hold us up.
func TestFluxDrainLimit(t *testing.T) {
	f := startFlux(t, FluxOptions{})
	w, err := os.OpenFile(f.path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	fmt.Fprintln(w, "first")
	f.Stop(time.Hour)
	fmt.Fprintln(w, "second")
	f.Stop(50 * time.Millisecond) // a second one shortens it: end does not wait for an hour
	wantText(t, "all", f.end(t), "first\nsecond\n")
	if _, err := fmt.Fprintln(w, "third"); !errors.Is(err, unix.EPIPE) {
		t.Errorf("write after the end: %v, want EPIPE", err)
	}
}

func TestFluxClose(t *testing.T) {
	f := startFlux(t, FluxOptions{})
	run(t, "", "bash", "-c", "echo x > "+f.path)
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	<-f.done
	if !errors.Is(f.err, os.ErrClosed) {
		t.Errorf("Read after Close: %v, want os.ErrClosed", f.err)
	}
	if exists(f.path) {
		t.Error("the path is there after Close")
	}
	f.Stop(time.Second)
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

// After a SIGKILL the pipe stays, a writer blocks on it, and the next flux takes
// it over and serves that writer.
func TestFluxReclaim(t *testing.T) {
	path := filepath.Join(t.TempDir(), "producer")
	h := startHelper(t, "flux", path)
	h.line(t)
	h.kill(t)
	was := lstatID(path)
	w := startHelper(t, "openwrite", path, "w", "1")
	waitFor(t, "a writer blocked in open", func() bool { return blockedInOpen(w.cmd.Process.Pid) })
	var notices []string
	f := startFluxAt(t, path, FluxOptions{Notice: func(s string) { notices = append(notices, s) }})
	if lstatID(path) != was {
		t.Error("the inode has changed")
	}
	w.wait(t)
	f.Stop(time.Second)
	wantText(t, "all", f.end(t), "w 0\n")
	if len(notices) != 1 {
		t.Errorf("notices %q, want one", notices)
	}
}

// blockedInOpen says that a thread of the process waits for the other end of a
// FIFO.
func blockedInOpen(pid int) bool {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/wchan", pid))
	for _, task := range tasks {
		b, _ := os.ReadFile(task)
		if bytes.Contains(b, []byte("wait_for_partner")) || bytes.Contains(b, []byte("fifo_open")) {
			return true
		}
	}
	return false
}
