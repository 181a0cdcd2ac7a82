//go:build unix

package ready

import (
	"bytes"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/seastreamer/seastreamer/internal/cli/factory"
	"github.com/seastreamer/seastreamer/internal/iostreams"
)

// Standard error may be told to be the descriptor, and is still there when the
// garbage collector has been.
func TestReadyOnStandardError(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	was, err := unix.Dup(2)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Dup2(int(w.Fd()), 2); err != nil {
		t.Fatal(err)
	}
	w.Close()
	o := Options{FD: 2}
	err = o.Announce(factory.New(&iostreams.Streams{Err: new(bytes.Buffer)}, nil), "")
	for range 3 { // what is not in use any more is closed by then
		runtime.GC()
		runtime.Gosched()
	}
	flags, e := unix.FcntlInt(2, unix.F_GETFD, 0)
	if err := unix.Dup2(was, 2); err != nil {
		t.Fatal(err)
	}
	_ = unix.Close(was)
	if err != nil || e != nil {
		t.Errorf("Announce: %v; standard error then: %d, %v", err, flags, e)
	}
	b := make([]byte, 100)
	if n, err := r.Read(b); !strings.HasPrefix(string(b[:n]), "ready\n") {
		t.Errorf("%q, %v", b[:n], err)
	}
}

// A descriptor that the process has opened itself is nobody's to be told on: it is
// a connection, a file, or what the runtime waits on.
func TestReadyOnOurOwnDescriptor(t *testing.T) {
	own, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	from, err := unix.Dup(int(own.Fd())) // as one from the shell: it outlives exec
	if err != nil {
		t.Fatal(err)
	}
	f := &factory.Factory{Getenv: func(string) string { return "" }}
	if err := (&Options{FD: from}).Check(f); err != nil {
		t.Errorf("one that was handed down: %v", err)
	}
	_ = unix.Close(from)
	for _, fd := range []int{int(own.Fd()), from} {
		if err := (&Options{FD: fd}).Check(f); err == nil || !strings.Contains(err.Error(), "is not open") {
			t.Errorf("descriptor %d: %v", fd, err)
		}
	}
}
