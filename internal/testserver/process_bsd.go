//go:build unix && !linux

package testserver

import "syscall"

// dieWithParent can promise nothing here: only Linux ties a child's life to
// its parent's. A server whose parent was killed must be ended by hand.
func dieWithParent() *syscall.SysProcAttr { return ownGroup() }
