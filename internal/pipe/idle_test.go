//go:build linux

package pipe

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Row 20: an idle flux and an idle tap, once without a reader and once with one
// that follows, do not wake up.
func TestIdle(t *testing.T) {
	for _, mode := range []string{"no reader", "follow"} {
		dir := t.TempDir()
		h := startHelper(t, "idle", dir, mode)
		h.line(t)
		if mode == "follow" {
			cat := startCommand(t, nil, "cat", filepath.Join(dir, "consumer"))
			for range 3 {
				cat.line(t)
			}
		}
		run(t, "", "bash", "-c", "echo x > "+filepath.Join(dir, "producer"))
		// The runtime's own housekeeping ends some moments after the last work,
		// later on a busy machine; then a while of nothing is what is measured, so
		// this test has to let time pass. What polls never rests for a while.
		const while = 2 * time.Second
		time.Sleep(time.Second)
		for began := time.Now(); ; {
			before, cpu := switches(t, h.cmd.Process.Pid)
			time.Sleep(while)
			after, cpu2 := switches(t, h.cmd.Process.Pid)
			t.Logf("%s: %d context switches, %d ticks of CPU in %v", mode, after-before, cpu2-cpu, while)
			if after-before < 5*int(while/time.Second) && cpu2-cpu <= 1 {
				break
			}
			if time.Since(began) > limit {
				t.Errorf("%s: want fewer than 5 context switches a second, and no work", mode)
				break
			}
		}
	}
}

// switches counts the context switches of all threads of a process, and its CPU
// time in ticks of 10 ms.
func switches(t *testing.T, pid int) (n, ticks int) {
	t.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(tasks) == 0 {
		t.Fatalf("no threads of %d: %v", pid, err)
	}
	for _, task := range tasks {
		b, err := os.ReadFile(task)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range bytes.Split(b, []byte("\n")) {
			var k int
			if _, err := fmt.Sscanf(string(l), "voluntary_ctxt_switches: %d", &k); err == nil {
				n += k
			}
			if _, err := fmt.Sscanf(string(l), "nonvoluntary_ctxt_switches: %d", &k); err == nil {
				n += k
			}
		}
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	var user, system int
	fmt.Sscan(string(fields[11]), &user)
	fmt.Sscan(string(fields[12]), &system)
	return n, user + system
}

// Row 20: a thousand sessions leave no descriptor behind.
func TestNoDescriptorsLeft(t *testing.T) {
	count := func() int {
		fds, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(fds)
	}
	before := count()
	tap, path := startTap(t, TapOptions{}, newMemSource(5, line))
	f := startFlux(t, FluxOptions{})
	for i := range 1000 {
		r, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Read(make([]byte, 100)); i == 0 && err != nil {
			t.Fatal(err)
		}
		r.Close()
		w, err := os.OpenFile(f.path, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(w, i)
		w.Close()
	}
	tap.end(t)
	f.Stop(time.Second)
	f.end(t)
	if after := count(); after > before+4 { // the test's own may come and go
		t.Errorf("%d descriptors, %d before", after, before)
	}
}
