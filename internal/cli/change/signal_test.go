//go:build unix

package change

import (
	"strings"
	"syscall"
	"testing"

	"github.com/seastreamer/seastreamer/admin"
)

// A change of many things that is interrupted says what was done, and what was not.
func TestInterrupted(t *testing.T) {
	b := newBench(t)
	for _, to := range []string{"h", "i"} {
		if err := b.run(admin.CloneGroup{From: "g", To: to}, Options{}); err != nil {
			t.Fatal(err)
		}
	}
	b.d.deletes = func(done <-chan struct{}) {
		b.d.deletes = nil
		if err := syscall.Kill(syscall.Getpid(), syscall.SIGINT); err != nil {
			t.Error(err)
		}
		<-done
	}
	err := b.run(admin.DeleteGroup{Groups: []string{"g", "h", "i"}}, Options{Yes: true})
	if code(err) != 128+int(syscall.SIGINT) || !strings.Contains(err.Error(), "interrupted: 1 of 3 failed, 1 not tried: h: ") {
		t.Errorf("exit %d, %v", code(err), err)
	}
	lines := strings.Split(b.out.String(), "\n")
	if len(lines) != 4 || strings.Contains(lines[0], "failed") || !strings.Contains(lines[1], "failed: ") || !strings.HasSuffix(lines[2], "not tried)") {
		t.Errorf("printed %q", lines)
	}
	b.at(-1)
	b.undoes()
	b.at(4)
}
