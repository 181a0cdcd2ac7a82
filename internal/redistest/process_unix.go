//go:build unix

package redistest

import "syscall"

func (n *node) pause() error  { return n.signal(syscall.SIGSTOP, true) }
func (n *node) resume() error { return n.signal(syscall.SIGCONT, false) }
