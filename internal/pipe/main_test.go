//go:build linux

package pipe

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// helperEnv makes the test binary one of the processes below.
const helperEnv = "PIPE_TEST_HELPER"

var helpers = map[string]func(args []string) error{
	"write":     helperWrite,
	"openwrite": helperOpenWrite,
	"flux":      helperFlux,
	"tap":       helperTap,
	"idle":      helperIdle,
	"record":    helperRecord,
}

func TestMain(m *testing.M) {
	if name := os.Getenv(helperEnv); name != "" {
		if err := helpers[name](os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, name+":", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// limit is how long anything may take that must come: a process's start or end,
// what the kernel tells. A busy machine is slow, and only what never comes is wrong.
const limit = time.Minute

// A helper is a child process.
type helper struct {
	cmd *exec.Cmd
	out *bufio.Reader
}

func startHelper(t *testing.T, name string, args ...string) *helper {
	t.Helper()
	return startCommand(t, []string{helperEnv + "=" + name, "GORACE=atexit_sleep_ms=0"}, os.Args[0], args...)
}

// startCommand starts a process that the end of the test kills.
func startCommand(t *testing.T, env []string, name string, args ...string) *helper {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	return &helper{cmd, bufio.NewReader(out)}
}

// line waits for a line of the helper's output.
func (h *helper) line(t *testing.T) string {
	t.Helper()
	s, err := h.out.ReadString('\n')
	if err != nil {
		t.Fatalf("%q ended before it wrote a line: %v", h.cmd.Args, err)
	}
	return strings.TrimSuffix(s, "\n")
}

// wait waits for the helper's end, and returns the rest of its output.
func (h *helper) wait(t *testing.T) string {
	t.Helper()
	kill := time.AfterFunc(limit, func() { _ = h.cmd.Process.Kill() })
	defer kill.Stop()
	out, _ := io.ReadAll(h.out)
	if err := h.cmd.Wait(); err != nil {
		t.Fatalf("%q: %v (limit %v)", h.cmd.Args, err, limit)
	}
	return string(out)
}

func (h *helper) kill(t *testing.T) {
	t.Helper()
	if err := h.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = h.cmd.Wait()
}

// helperWrite writes lines "ID N" into PATH, one a write, until one fails, and
// prints how many were accepted.
func helperWrite(args []string) error {
	path, id := args[0], args[1]
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if errors.Is(err, os.ErrNotExist) {
		fmt.Println(0)
		return nil
	}
	if err != nil {
		return err
	}
	n := 0
	buf := make([]byte, 0, 64)
	for ; ; n++ {
		buf = fmt.Appendf(buf[:0], "%s %d\n", id, n)
		if _, err := f.Write(buf); errors.Is(err, unix.EPIPE) {
			break
		} else if err != nil {
			return err
		}
	}
	fmt.Println(n)
	return nil
}

// helperOpenWrite does the same with an open and a close for each line, at most
// COUNT times (0: without end), and prints how many were accepted and how many
// got EPIPE.
func helperOpenWrite(args []string) error {
	path, id := args[0], args[1]
	count, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	n, broken := 0, 0
	for i := 0; count == 0 || i < count; i++ {
		fd, err := openFile(path, unix.O_WRONLY)
		if err == unix.ENOENT {
			break
		}
		if err != nil {
			return err
		}
		_, err = write(fd, fmt.Appendf(nil, "%s %d\n", id, n))
		unix.Close(fd)
		switch err {
		case nil:
			n++
		case unix.EPIPE:
			broken++
		default:
			return err
		}
	}
	fmt.Println(n, broken)
	return nil
}

// helperFlux serves PATH, says so, and copies what it reads to its output.
func helperFlux(args []string) error {
	f, err := CreateFlux(args[0], FluxOptions{})
	if err != nil {
		return err
	}
	fmt.Println("ready")
	buf := make([]byte, 64<<10)
	for {
		n, err := f.Read(buf)
		os.Stdout.Write(buf[:n])
		if err != nil && err != ErrSessionEnd {
			return err
		}
	}
}

// helperTap serves PATH with COUNT lines and says so.
func helperTap(args []string) error {
	count, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	tap, err := CreateTap(args[0], TapOptions{})
	if err != nil {
		return err
	}
	fmt.Println("ready")
	return tap.Serve(context.Background(), newMemSource(count, line))
}

// helperIdle serves a flux and a tap in FOLDER.
func helperIdle(args []string) error {
	f, err := CreateFlux(args[0]+"/producer", FluxOptions{})
	if err != nil {
		return err
	}
	tap, err := CreateTap(args[0]+"/consumer", TapOptions{Follow: args[1] == "follow"})
	if err != nil {
		return err
	}
	go tap.Serve(context.Background(), newMemSource(3, line))
	fmt.Println("ready")
	_, err = readAll(f)
	return err
}

// helperRecord reads PATH in pieces as a hurried program would: at most LIMIT
// bytes, by reads of CHUNK, and writes them out.
func helperRecord(args []string) error {
	limit, _ := strconv.Atoi(args[1])
	chunk, _ := strconv.Atoi(args[2])
	fd, err := openFile(args[0], unix.O_RDONLY)
	if err != nil {
		return err
	}
	buf := make([]byte, chunk)
	for limit > 0 {
		n, err := read(fd, buf[:min(chunk, limit)])
		if err != nil || n == 0 {
			return err
		}
		os.Stdout.Write(buf[:n])
		limit -= n
	}
	return nil
}
