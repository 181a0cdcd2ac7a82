// Package testserver is what the starters of real servers for tests share:
// processes that end with their parent, free ports, folders that are removed
// whatever happens, certificates.
package testserver

import (
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"time"
)

// A Process is a server's process, which may be started again when it has
// ended. The zero value has never run. Its methods may be called by several
// goroutines.
type Process struct {
	mu   sync.Mutex
	proc *os.Process
	dead chan struct{} // closed when proc has ended and been waited for
}

// Start starts cmd; it does not wait until the server answers. On Linux the
// server ends when this process does.
func (p *Process) Start(cmd *exec.Cmd) error {
	cmd.SysProcAttr = dieWithParent()
	started := make(chan error)
	dead := make(chan struct{})
	go run(cmd, started, dead)
	if err := <-started; err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.proc, p.dead = cmd.Process, dead
	return nil
}

// run starts cmd and waits for its end. The kernel ties the child's life to the
// thread that started it, not to the process, so this goroutine keeps its
// thread to itself until the child has ended. Tests for leaked goroutines know
// it by its name.
func run(cmd *exec.Cmd, started chan<- error, dead chan<- struct{}) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := cmd.Start()
	started <- err
	if err == nil {
		_ = cmd.Wait() // how a server ended is in its log
		close(dead)
	}
}

// Running is the process while it runs, or nil.
func (p *Process) Running() *os.Process {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.proc == nil {
		return nil
	}
	select {
	case <-p.dead:
		return nil
	default:
		return p.proc
	}
}

// Signal does nothing to a process that has ended.
func (p *Process) Signal(s os.Signal) error {
	if proc := p.Running(); proc != nil {
		return proc.Signal(s)
	}
	return nil
}

// Ended is closed when the process last started has ended; nil where there was
// none.
func (p *Process) Ended() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dead
}

// Await waits at most d for the process to end.
func (p *Process) Await(d time.Duration) {
	if p.Running() == nil {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-p.Ended():
	case <-t.C:
	}
}

// Kill ends the process as a crash would, and returns when it has ended.
func (p *Process) Kill() {
	if p.Signal(os.Kill) == nil {
		p.Await(time.Minute) // no process outlives SIGKILL for long
	}
}

// A Reaper is a shell that outlives this process if it is killed, and then
// removes a folder. It learns of the end by its standard input, whose other end
// only this process holds.
type Reaper struct {
	cmd *exec.Cmd
	in  io.Closer
}

// StartReaper starts one for dir.
func StartReaper(dir string) (*Reaper, error) {
	// The kernel ends the servers at the same time: until they have gone they may
	// write into the folder, and it is removed again.
	cmd := exec.Command("/bin/sh", "-c", `read -r _; while sleep 1; do rm -rf -- "$1"; [ -e "$1" ] || exit; done`, "sh", dir)
	cmd.Dir = "/"
	cmd.SysProcAttr = ownGroup()
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &Reaper{cmd: cmd, in: in}, nil
}

// Stop ends it; the folder stays.
func (r *Reaper) Stop() {
	_ = r.cmd.Process.Kill()
	_ = r.in.Close()
	_ = r.cmd.Wait()
}
