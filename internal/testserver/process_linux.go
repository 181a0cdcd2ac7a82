package testserver

import "syscall"

// dieWithParent has the kernel kill the child when the thread that started it
// ends. The child leads a process group of its own, so that Ctrl-C in a
// terminal reaches the one who stops it in order and not the child.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
