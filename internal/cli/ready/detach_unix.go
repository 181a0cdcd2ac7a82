//go:build unix

package ready

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/seastreamer/seastreamer/internal/cli/exit"
	"github.com/seastreamer/seastreamer/internal/cli/factory"
)

// childVar marks the process that --detach starts; childFD is its descriptor
// to its parent, the first of ExtraFiles.
const (
	childVar = "SEA_STREAMER_DETACHED"
	childFD  = 3
)

func child(f *factory.Factory) bool { return f.Getenv(childVar) != "" }

// handedDown reports whether a descriptor came from who started us. Those that the
// process opens itself, and the runtime does, do not outlive exec; one of them may
// have the number that somebody forgot to open.
func handedDown(fd int) bool {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	return err == nil && flags&unix.FD_CLOEXEC == 0
}

// Background runs this command again in a session of its own, waits until it
// is ready and prints its process id. It returns the child's failure as its
// own.
func (o *Options) Background(f *factory.Factory) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	readyR, readyW, err := os.Pipe()
	if err != nil {
		return err
	}
	defer readyR.Close()
	cmd := exec.Cmd{Path: exe, Args: os.Args, Env: append(os.Environ(), childVar+"=1"), ExtraFiles: []*os.File{readyW}, SysProcAttr: &syscall.SysProcAttr{Setsid: true}}
	copied := make(chan struct{})
	if file, ok := f.IO.Err.(*os.File); ok && isRegular(file) {
		cmd.Stderr = file // where it goes on after it is ready
		close(copied)
	} else {
		errR, errW, err := os.Pipe()
		if err != nil {
			return err
		}
		cmd.Stderr = errW
		defer errW.Close()
		go func() {
			defer close(copied)
			_, _ = io.Copy(f.IO.Err, errR)
		}()
		defer func() { _ = errW.Close(); <-copied; _ = errR.Close() }()
	}
	if err := cmd.Start(); err != nil {
		return &exit.Error{Code: exit.Partial, Msg: "start in the background", Err: err}
	}
	_ = readyW.Close()
	if line, _ := bufio.NewReader(readyR).ReadString('\n'); line != "ready\n" {
		err := cmd.Wait()
		var ended *exec.ExitError
		if errors.As(err, &ended) && ended.ExitCode() > 0 {
			return exit.Silent(ended.ExitCode()) // it has said why
		}
		return &exit.Error{Code: exit.Partial, Msg: "the process in the background ended before it was ready", Err: err}
	}
	_, err = fmt.Fprintln(f.IO.Out, cmd.Process.Pid)
	return exit.Output(err)
}

func isRegular(f *os.File) bool {
	st, err := f.Stat()
	return err == nil && st.Mode().IsRegular()
}

// afterReady takes the child off the standard error of its parent, who is
// about to leave, unless that is a file.
func afterReady(f *factory.Factory) {
	if file, ok := f.IO.Err.(*os.File); ok && !isRegular(file) {
		if null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0); err == nil {
			_ = unix.Dup2(int(null.Fd()), int(file.Fd()))
			_ = null.Close()
		}
	}
}
