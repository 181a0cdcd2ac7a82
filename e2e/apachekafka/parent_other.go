//go:build unix && !linux

package apachekafka

import "syscall"

// dieWithParent can promise nothing here: only Linux ties a child's life to
// its parent's. A broker whose parent was killed must be ended by hand.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
