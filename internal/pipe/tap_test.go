//go:build linux

package pipe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// startTap serves src until the test's end and returns the pipe's path.
func startTap(t *testing.T, o TapOptions, src Source) (*tapRun, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "consumer")
	return startTapAt(t, path, o, src), path
}

// A tapRun is a tap being served.
type tapRun struct {
	*Tap
	done chan struct{}
	err  error
}

func startTapAt(t *testing.T, path string, o TapOptions, src Source) *tapRun {
	t.Helper()
	if o.Notice == nil {
		o.Notice = func(s string) { t.Log("notice:", s) }
	}
	tap, err := CreateTap(path, o)
	if err != nil {
		t.Fatal(err)
	}
	return serveTap(t, tap, src)
}

func serveTap(t *testing.T, tap *Tap, src Source) *tapRun {
	t.Helper()
	r := &tapRun{Tap: tap, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		r.err = tap.Serve(context.Background(), src)
	}()
	t.Cleanup(func() {
		tap.Close()
		<-r.done
	})
	return r
}

// end stops the tap and waits for it.
func (r *tapRun) end(t *testing.T) {
	t.Helper()
	start := time.Now()
	r.Stop()
	select {
	case <-r.done:
	case <-time.After(limit):
		t.Fatalf("Serve has not returned %v after Stop", limit)
	}
	if r.err != nil {
		t.Errorf("Serve: %v", r.err)
	}
	t.Logf("the stop took %v", time.Since(start))
	if left, _ := os.ReadDir(filepath.Dir(r.claim.path)); len(left) != 0 {
		t.Errorf("%v is left", left)
	}
}

// run runs a command with a limit and returns its output.
func run(t *testing.T, dir string, argv ...string) string {
	t.Helper()
	out, err := try(dir, argv...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func try(dir string, argv ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = dir
	var errOut bytes.Buffer
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	if ctx.Err() != nil {
		return "", fmt.Errorf("%q hangs; it wrote %d bytes", argv, len(out))
	}
	if err != nil {
		return "", fmt.Errorf("%q: %w: %s", argv, err, errOut.Bytes())
	}
	return string(out), nil
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

// T9a: a session ends where the stream ended when the reader opened.
func TestTapCatEndsAndTheNextGoesOn(t *testing.T) {
	for _, one := range []bool{false, true} {
		src := newMemSource(50_000, line)
		tap, path := startTap(t, TapOptions{OneInode: one}, src)
		wantText(t, "first cat", run(t, "", "cat", path), lines(0, 50_000))
		wantText(t, "cat of nothing", run(t, "", "cat", path), "")
		src.add(3)
		wantText(t, "next cat", run(t, "", "cat", path), lines(50_000, 50_003))
		tap.end(t)
		if taken, _ := src.counts(); taken != 50_003 {
			t.Errorf("taken %d, want 50003", taken)
		}
	}
}

// T10: without a reader nothing is fetched, and with one no more than it can take.
func TestTapFetchesLittle(t *testing.T) {
	src := newMemSource(3_000_000, line)
	tap, path := startTap(t, TapOptions{Follow: true}, src)
	if _, cursor := src.counts(); cursor != 0 {
		t.Errorf("%d frames fetched before a reader came", cursor)
	}
	wantText(t, "head", run(t, "", "head", "-n", "1", path), lines(0, 1))
	// One that opens and does not read: the pipe fills and that is all.
	fd, err := openFile(path, unix.O_RDONLY)
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, "a full pipe", func() bool { return unread(fd) > DefaultPipeSize*3/4 })
	_, was := src.counts()
	if limit := (DefaultPipeSize + 4*batchFull) / len(line(1000)); was > limit {
		t.Errorf("%d frames fetched, at most %d expected", was, limit)
	}
	unix.Close(fd)
	tap.end(t)
	if src.maxGap > (DefaultPipeSize+8*batchFull)/len(line(10)) {
		t.Errorf("%d frames were held at once", src.maxGap)
	}
}

// Row 13: readers that read some and go, in every way; the next goes on with the
// first line that was not taken whole.
func TestTapReadersThatLeave(t *testing.T) {
	const n = 300_000
	src := newMemSource(n, line)
	var ended []SessionStats
	var mu sync.Mutex
	tap, path := startTap(t, TapOptions{SessionEnd: func(s SessionStats) {
		mu.Lock()
		defer mu.Unlock()
		ended = append(ended, s)
	}}, src)
	next := 0 // the first line that no reader has taken whole
	// took checks what a reader got: whole lines from next on, and perhaps a part.
	took := func(what, got string) {
		t.Helper()
		whole := strings.Count(got, "\n")
		wantText(t, what, got, lines(next, next+whole+1)[:len(got)])
		next += whole
		waitFor(t, "accounting", func() bool { taken, _ := src.counts(); return taken >= next })
		if taken, _ := src.counts(); taken != next {
			t.Fatalf("%s: taken %d, want %d", what, taken, next)
		}
	}
	for i := range 40 {
		switch i % 5 {
		case 0: // dd takes a part of a line
			took("dd", run(t, "", "dd", "status=none", "if="+path, "bs=16", fmt.Sprint("count=", 1+rand.IntN(9))))
		case 1: // read takes single bytes
			took("read", run(t, "", "bash", "-c", "(read -r a; read -r b; printf '%s\\n' \"$a\" \"$b\") < "+path))
		case 2: // head takes more than it prints
			got := run(t, "", "head", "-n", "3", path)
			wantText(t, "head", got, lines(next, next+3))
			// What it read is known to the tap alone: the next reader must begin on
			// a line of its own, at most one buffer of head's further.
			waitFor(t, "accounting", func() bool { taken, _ := src.counts(); return taken >= next+3 })
			taken, _ := src.counts()
			if size := len(lines(next, taken)); size > 128<<10 {
				t.Errorf("head has taken %d bytes", size)
			}
			next = taken
		case 3: // one that crashes in the midst of a line
			h := startHelper(t, "record", path, "1000000", "100")
			buf := make([]byte, 350)
			for len(buf) > 0 { // let it write some of it
				k, err := h.out.Read(buf)
				if err != nil {
					t.Fatal(err)
				}
				buf = buf[k:]
			}
			h.kill(t)
			waitFor(t, "end of the session", func() bool { return tap.Stats().Sessions == int64(i+1) })
			next, _ = src.counts()
		case 4:
			chunk := 1 + rand.IntN(5000)
			h := startHelper(t, "record", path, fmt.Sprint(1+rand.IntN(50_000)), fmt.Sprint(chunk))
			took("pieces", h.wait(t))
		}
	}
	took("cat", run(t, "", "cat", path))
	if next != n {
		t.Errorf("lines up to %d, want %d", next, n)
	}
	tap.end(t)
	var frames int64
	for _, s := range ended {
		frames += s.Frames
	}
	if len(ended) != 41 || frames != n {
		t.Errorf("%d sessions with %d frames, want 41 with %d", len(ended), frames, n)
	}
}

// Lengths around the sizes at which pipes change their ways, one of them larger
// than the pipe, read by readers that leave at random.
func TestTapRecordSizes(t *testing.T) {
	sizes := []int{1, 2, 100, 4095, 4096, 4097, 8192, 65535, 65536, 65537, 1 << 20, 3 << 20}
	const n = 36
	var all []byte
	var ends []int
	frame := func(i int) []byte {
		if i == 0 {
			return all[:ends[0]]
		}
		return all[ends[i-1]:ends[i]]
	}
	for i := range n {
		all = fmt.Appendf(all, "%d:%d:", i, sizes[i%len(sizes)])
		all = append(all, bytes.Repeat([]byte{byte('a' + i%26)}, sizes[i%len(sizes)])...)
		ends = append(ends, len(all))
	}
	for _, size := range []int{0, 4096} {
		src := newMemSource(n, frame)
		tap, path := startTap(t, TapOptions{PipeSize: size}, src)
		left, start, readers := 0, 0, 0
		for ; left < n; readers++ {
			most := 1 + rand.IntN(6<<20)                  // the largest frame may take several
			chunk := 1 + most/20_000 + rand.IntN(100_000) // not millions of reads
			got := startHelper(t, "record", path, fmt.Sprint(most), fmt.Sprint(chunk)).wait(t)
			if len(got) > len(all)-start || got != string(all[start:start+len(got)]) {
				t.Fatalf("reader %d got %d bytes that are not those from frame %d on", readers, len(got), left)
			}
			for left < n && ends[left] <= start+len(got) {
				left++
			}
			if left > 0 {
				start = ends[left-1]
			}
			waitFor(t, "accounting", func() bool { return tap.Stats().Sessions > int64(readers) })
			if taken, _ := src.counts(); taken != left {
				t.Fatalf("taken %d, want %d", taken, left)
			}
		}
		t.Logf("pipe of %d: %d readers", size, readers)
		tap.end(t)
	}
}

// T12 and row 14: eight loops of cat, one record each; all get different ones.
func TestTapPerOpen(t *testing.T) {
	const n, loops = 400, 8
	for _, locked := range []bool{false, true} {
		src := newMemSource(n, line)
		tap, path := startTap(t, TapOptions{PerOpen: 1}, src)
		lock := filepath.Join(t.TempDir(), "lock")
		var mu sync.Mutex
		seen, empty, early := map[string]int{}, 0, 0
		var wg sync.WaitGroup
		for range loops {
			wg.Go(func() {
				for {
					argv := []string{"cat", path}
					if locked {
						argv = []string{"flock", lock, "cat", path}
					}
					out, err := try("", argv...)
					mu.Lock()
					if err != nil {
						t.Error(err)
					} else if out == "" {
						empty++
						if taken, _ := src.counts(); taken < n {
							early++
						}
					} else {
						seen[out]++
					}
					all := err != nil || len(seen) >= n || empty > 50*n
					mu.Unlock()
					if all {
						return
					}
				}
			})
		}
		wg.Wait()
		for i := range n {
			if seen[string(line(i))] != 1 {
				t.Errorf("line %d: seen %d times", i, seen[string(line(i))])
			}
		}
		if len(seen) != n {
			t.Errorf("%d different outputs, want %d: torn records", len(seen), n)
		}
		// A cat that found the stream at its end had nothing to get.
		if locked && early > 0 {
			t.Errorf("%d empty outputs with flock before the end", early)
		}
		t.Logf("locked %v: %d empty", locked, empty)
		tap.end(t)
	}
	src := newMemSource(10, line)
	_, path := startTap(t, TapOptions{PerOpen: 3}, src)
	for i := 0; i < 10; i += 3 {
		wantText(t, "three", run(t, "", "cat", path), lines(i, min(i+3, 10)))
	}
}

// Row 16a: many cats while a producer writes; together they have each line once.
func TestTapCatWhileWriting(t *testing.T) {
	cats := 150
	if os.Getenv("PIPE_CATS") != "" {
		fmt.Sscan(os.Getenv("PIPE_CATS"), &cats)
	}
	for _, one := range []bool{false, true} {
		src := newMemSource(0, line)
		stop := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(time.Duration(rand.IntN(800)) * time.Microsecond):
					src.add(rand.IntN(400))
				}
			}
		})
		tap, path := startTap(t, TapOptions{OneInode: one}, src)
		var all bytes.Buffer
		for range cats {
			all.WriteString(run(t, "", "cat", path))
		}
		close(stop)
		wg.Wait()
		all.WriteString(run(t, "", "cat", path))
		all.WriteString(run(t, "", "cat", path)) // one inode: the one before may have ended early
		src.mu.Lock()
		end := src.end
		src.mu.Unlock()
		wantText(t, fmt.Sprint("one inode ", one), all.String(), lines(0, end))
		tap.end(t)
	}
}

// T9a: -f follows; tail -F goes on over the ends of sessions.
func TestTapFollow(t *testing.T) {
	for _, one := range []bool{false, true} {
		src := newMemSource(2, line)
		tap, path := startTap(t, TapOptions{Follow: true, OneInode: one}, src)
		cat := startCommand(t, nil, "cat", path)
		for i := range 100 {
			if got, want := cat.line(t)+"\n", string(line(i)); got != want {
				t.Fatalf("got %q, want %q", got, want)
			}
			if i > 0 {
				src.add(1)
			}
		}
		waitFor(t, "taken", func() bool { taken, cursor := src.counts(); return taken == 101 && cursor == 101 })
		tap.end(t)
		wantText(t, "the rest", cat.wait(t), lines(100, 101))
	}
	// Some tails (that of coreutils 9.1) seek in the new pipe when the name has
	// changed hands, and die of it; with one inode they go on.
	src := newMemSource(2, line)
	_, path := startTap(t, TapOptions{OneInode: true}, src)
	tail := startCommand(t, nil, "tail", "-n", "+1", "-F", "-s", "0.02", path)
	for i := range 5 {
		if got, want := tail.line(t)+"\n", string(line(i)); got != want {
			t.Fatalf("tail -F: got %q, want %q", got, want)
		}
		if i >= 1 {
			src.add(1)
		}
	}
}

// T11: the other kinds of session.
func TestTapSessionKinds(t *testing.T) {
	src := newMemSource(20_000, line)
	tap, path := startTap(t, TapOptions{Session: Restart}, src)
	wantText(t, "head", run(t, "", "head", "-n", "2", path), lines(0, 2))
	for range 3 {
		wantText(t, "every time", run(t, "", "cat", path), lines(0, 20_000))
	}
	tap.end(t)

	src = newMemSource(20_000, line)
	tap, path = startTap(t, TapOptions{Session: Live, Follow: true}, src)
	for range 3 {
		before := tap.Stats().Sessions
		h := startHelper(t, "record", path, fmt.Sprint(len(line(99999))), "100")
		// It is let in when the source has been asked for more.
		waitFor(t, "a reader", func() bool { taken, _ := src.counts(); return taken == src.size() })
		from := src.size()
		src.add(100)
		got := h.wait(t)
		if got != lines(from, from+100)[:len(got)] || got == "" {
			t.Errorf("live: got %q, want the beginning of line %d", got, from)
		}
		waitFor(t, "end of session", func() bool { return tap.Stats().Sessions > before })
		src.add(100) // nobody sees these
	}
	tap.end(t)
}

func (s *memSource) size() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.end
}

// T14: readers queue, each on a pipe of its own.
func TestTapReadersQueue(t *testing.T) {
	src := newMemSource(3_000_000, line)
	tap, path := startTap(t, TapOptions{Follow: true}, src)
	first := startHelper(t, "record", path, "100000000", "1000")
	buf := make([]byte, 10)
	if _, err := first.out.Read(buf); err != nil {
		t.Fatal(err)
	}
	id := lstatID(path)
	second := startHelper(t, "record", path, "5", "1000")
	waitFor(t, "a pipe for the third", func() bool { return lstatID(path) != id })
	if got := tap.Stats().Sessions; got != 0 {
		t.Errorf("%d sessions have ended, want 0", got)
	}
	first.kill(t)
	wantText(t, "the second", second.wait(t), "line ")
	tap.end(t)
}

// Row 18: a reader that came before any data sees the end.
func TestTapStopEmpty(t *testing.T) {
	for _, o := range []TapOptions{{Follow: true}, {Follow: true, OneInode: true}} {
		src := newMemSource(0, line)
		tap, path := startTap(t, o, src)
		var cats []*helper
		for range 3 {
			cats = append(cats, startCommand(t, nil, "cat", path))
		}
		waitFor(t, "three readers", func() bool {
			for _, c := range cats {
				if !hasOpen(c.cmd.Process.Pid, "consumer") {
					return false
				}
			}
			return true
		})
		tap.end(t)
		for _, c := range cats {
			wantText(t, "cat", c.wait(t), "")
		}
	}
}

// hasOpen says that the process has a file with such a name open.
func hasOpen(pid int, name string) bool {
	fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, fd := range fds {
		if to, err := os.Readlink(fd); err == nil && strings.Contains(filepath.Base(to), name) {
			return true
		}
	}
	return false
}

// T18: a reader that has stalled does not hold up a stop, and what it has read of
// a record does not count.
func TestTapStopStalled(t *testing.T) {
	for name, size := range map[string]int{"small records": 100, "a record larger than the pipe": 3 << 20} {
		t.Run(name, func(t *testing.T) {
			src := newMemSource(100_000, func(i int) []byte {
				return append(bytes.Repeat([]byte("x"), size-1), '\n')
			})
			var notices []string
			tap, path := startTap(t, TapOptions{Notice: func(s string) { notices = append(notices, s) }}, src)
			fd, err := openFile(path, unix.O_RDONLY)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fd)
			waitFor(t, "a full pipe", func() bool { return unread(fd) > DefaultPipeSize*3/4 })
			tap.end(t)
			if taken, _ := src.counts(); taken != 0 {
				t.Errorf("taken %d, want 0", taken)
			}
			var got int
			buf := make([]byte, 1<<20)
			for {
				n, err := read(fd, buf)
				if n == 0 || err != nil {
					break
				}
				got += n
			}
			if cut := got%size != 0; cut != (size > 1<<20) || len(notices) != 0 != cut {
				t.Errorf("got %d bytes of records of %d; notices %q", got, size, notices)
			}
		})
	}
}

// A stop lets a reader take what is in the pipe, so that it counts.
func TestTapStopLetsTheReaderFinish(t *testing.T) {
	src := newMemSource(3_000_000, line)
	path := filepath.Join(t.TempDir(), "consumer")
	created, err := CreateTap(path, TapOptions{})
	if err != nil {
		t.Fatal(err)
	}
	created.drain, created.drainAll = limit, limit // a busy machine may hold a reader up for longer than a user would wait
	tap := serveTap(t, created, src)
	cat := startCommand(t, nil, "cat", path)
	first := cat.line(t)
	tap.Stop() // while cat cannot go on, so that there is a rest
	got := make(chan string)
	go func() {
		var b bytes.Buffer
		b.ReadFrom(cat.out)
		got <- b.String()
	}()
	tap.end(t)
	taken, _ := src.counts()
	wantText(t, "cat", first+"\n"+<-got, lines(0, taken))
	if taken == 0 || taken == 3_000_000 {
		t.Errorf("taken %d: not in the midst", taken)
	}
}

// Row 11.
func TestTapPathTakenAway(t *testing.T) {
	for _, one := range []bool{false, true} {
		for name, do := range map[string]func(path string) error{
			"rm": os.Remove,
			"mv": func(p string) error { return os.Rename(p, p+".moved") },
			"stranger": func(p string) error {
				if err := unix.Mkfifo(p+".new", 0o600); err != nil {
					return err
				}
				return os.Rename(p+".new", p)
			},
		} {
			t.Run(fmt.Sprint(name, " one inode ", one), func(t *testing.T) {
				src := newMemSource(10, line)
				tap, path := startTap(t, TapOptions{OneInode: one}, src)
				wantText(t, "cat", run(t, "", "cat", path), lines(0, 10))
				if err := do(path); err != nil {
					t.Fatal(err)
				}
				select {
				case <-tap.done:
				case <-time.After(limit):
					t.Fatal("Serve has not returned")
				}
				if tap.err != nil {
					t.Error(tap.err)
				}
				if want := name == "stranger"; exists(path) != want {
					t.Errorf("something at the path: %v, want %v", !want, want)
				}
			})
		}
	}
}

// After a SIGKILL the pipe stays, a reader blocks on it, and the next tap serves
// it and removes what else was left.
func TestTapReclaim(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "consumer")
	h := startHelper(t, "tap", path, "10")
	h.line(t)
	wantText(t, "cat", run(t, "", "cat", path), lines(0, 10))
	h.kill(t)
	cat := startCommand(t, nil, "cat", path)
	waitFor(t, "a reader blocked in open", func() bool { return blockedInOpen(cat.cmd.Process.Pid) })
	tap := startTapAt(t, path, TapOptions{}, newMemSource(20, line))
	wantText(t, "the blocked one", cat.wait(t), lines(0, 20))
	tap.end(t)
}

// The source's error ends Serve, after what came before it.
func TestTapSourceFails(t *testing.T) {
	src := newMemSource(1000, line)
	src.failAt = 500
	tap, path := startTap(t, TapOptions{}, src)
	wantText(t, "cat", run(t, "", "cat", path), lines(0, 500))
	<-tap.done
	if tap.err == nil || !strings.Contains(tap.err.Error(), "record 500 cannot be read") {
		t.Errorf("Serve: %v", tap.err)
	}
	if exists(path) {
		t.Error("the path is there")
	}
}

// The end of the context is a stop; Close before Serve ends it too.
func TestTapContextAndClose(t *testing.T) {
	path := filepath.Join(t.TempDir(), "consumer")
	tap, err := CreateTap(path, TapOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := tap.Serve(ctx, newMemSource(1, line)); err != nil {
		t.Error(err)
	}
	tap, err = CreateTap(path, TapOptions{})
	if err != nil {
		t.Fatal(err)
	}
	cat := startCommand(t, nil, "cat", path)
	waitFor(t, "a reader", func() bool { tap.mu.Lock(); defer tap.mu.Unlock(); return len(tap.queue) == 1 })
	if err := errors.Join(tap.Close(), tap.Close()); err != nil {
		t.Error(err)
	}
	wantText(t, "cat", cat.wait(t), "")
	if exists(path) {
		t.Error("the path is there")
	}
}

// Where names cannot be exchanged a tap takes one inode, and says so.
func TestTapFallsBack(t *testing.T) {
	if os.Geteuid() == 0 {
		// Root may write to any folder; a name that leaves no room for a hidden one
		// beside it is refused to root too.
		path := filepath.Join(t.TempDir(), strings.Repeat("n", 250))
		var notices []string
		tap := startTapAt(t, path, TapOptions{Notice: func(s string) { notices = append(notices, s) }}, newMemSource(10, line))
		wantText(t, "cat", run(t, "", "cat", path), lines(0, 10))
		if len(notices) != 1 || !tap.opts.OneInode {
			t.Errorf("notices %q, one inode %v", notices, tap.opts.OneInode)
		}
		tap.end(t)
		return
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "consumer")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(dir, 0o700)
	tap := startTapAt(t, path, TapOptions{}, newMemSource(10, line))
	wantText(t, "cat", run(t, "", "cat", path), lines(0, 10))
	if !tap.opts.OneInode {
		t.Error("no fall-back")
	}
}

// A tap that stops has let its successor have the path, and so the hidden names
// beside it: it removes its own before that, and makes no other.
func TestTapStopLeavesTheNamesToTheSuccessor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "consumer")
	tap, err := CreateTap(path, TapOptions{})
	if err != nil {
		t.Fatal(err)
	}
	lock, spare := filepath.Base(tap.claim.lock.path), filepath.Base(tap.claim.hidden("spare"))
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for _, dir := range []string{filepath.Dir(path), filepath.Dir(tap.claim.lock.path)} {
		if _, err := unix.InotifyAddWatch(fd, dir, unix.IN_DELETE); err != nil {
			t.Fatal(err)
		}
	}
	tap.Stop()
	events := make([]byte, 64<<10) // of both folders, in the order in which they came
	n, err := read(fd, events)
	if err != nil {
		t.Fatal(err)
	}
	if at, let := bytes.Index(events[:n], []byte(spare)), bytes.Index(events[:n], []byte(lock)); at < 0 || let < at {
		t.Errorf("the lock was let go (%d) before the spare was removed (%d)", let, at)
	}
	tap.Close()
}

// The door makes a spare while the tap stops, and another tap has the path already.
func TestTapStopAgainstTheDoor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "consumer")
	first, err := CreateTap(path, TapOptions{Notice: func(s string) { t.Log("notice:", s) }})
	if err != nil {
		t.Fatal(err)
	}
	first.mu.Lock() // a reader has come, and the spare has gone to the path
	gone := first.spare
	first.spare = nil
	first.mu.Unlock()
	removeFIFO(first.claim.hidden("spare"))
	first.discard(gone)
	first.Stop()
	second := startTapAt(t, path, TapOptions{}, newMemSource(3, line))
	if going, _ := first.makeSpare(); going {
		t.Error("a tap that has stopped makes a spare")
	}
	first.Close()
	wantText(t, "the successor's reader", run(t, "", "cat", path), lines(0, 3))
	wantText(t, "the next one", run(t, "", "cat", path), "")
	second.end(t)
}

// stuckSource is a stream whose broker has gone when a session begins.
type stuckSource struct {
	*memSource
	seeking chan struct{}
}

func (s stuckSource) Seek(ctx context.Context, _ Session) error {
	close(s.seeking)
	<-ctx.Done()
	return ctx.Err()
}

// A stop does not wait for a session to begin.
func TestTapStopWhileASessionBegins(t *testing.T) {
	src := stuckSource{newMemSource(3, line), make(chan struct{})}
	tap, path := startTap(t, TapOptions{Session: Restart}, src)
	cat := startCommand(t, nil, "cat", path)
	<-src.seeking
	tap.end(t)
	wantText(t, "the reader", cat.wait(t), "")
}
