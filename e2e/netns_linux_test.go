package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// inOwnNetwork runs the test that calls it again, in a process with a network
// of its own, where firewall rules hurt nobody, and reports whether this is
// that process: the caller goes on only if it is. It takes root. Without that
// the test is skipped and says so; as root it never is.
func inOwnNetwork(t *testing.T) bool {
	t.Helper()
	const mark = "SEA_OWN_NETWORK"
	if os.Getenv(mark) == t.Name() {
		sh(t, "ip", "link", "set", "lo", "up")
		return true
	}
	if os.Geteuid() != 0 {
		fmt.Fprintf(os.Stderr, "SKIPPED, NOT RUN: %s parts a network and needs root: run the tests with sudo\n", t.Name())
		t.Skip("needs root")
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v=true", "-test.timeout=0")
	cmd.Env = append(os.Environ(), mark+"="+t.Name())
	out := &lineLog{t: t}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	// Pdeathsig watches the thread, see redistest.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := cmd.Run()
	out.flush()
	if e := (*exec.ExitError)(nil); errors.As(err, &e) {
		t.Error("failed, see above")
	} else if err != nil {
		t.Fatalf("a network of its own: %v", err)
	}
	return false
}

// lineLog logs what it is written, line by line.
type lineLog struct {
	t    *testing.T
	rest string
}

func (l *lineLog) Write(b []byte) (int, error) {
	l.rest += string(b)
	for {
		line, rest, ok := strings.Cut(l.rest, "\n")
		if !ok {
			return len(b), nil
		}
		l.rest = rest
		l.t.Log(line)
	}
}

func (l *lineLog) flush() {
	if l.rest != "" {
		l.t.Log(l.rest)
	}
}

// sh runs a program that has to succeed.
func sh(t *testing.T, program string, args ...string) string {
	t.Helper()
	out, err := exec.Command(program, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// part drops what two loopback addresses send each other, both ways, without a
// word to either; heal lets it through again.
func part(t *testing.T, a, b string) { t.Helper(); firewall(t, "-A", a, b) }
func heal(t *testing.T, a, b string) { t.Helper(); firewall(t, "-D", a, b) }

func firewall(t *testing.T, action, a, b string) {
	t.Helper()
	for range 2 {
		sh(t, "iptables", "-w", action, "INPUT", "-s", a, "-d", b, "-j", "DROP")
		a, b = b, a
	}
}
