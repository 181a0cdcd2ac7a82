//go:build !unix

package testserver

import "syscall"

// The servers do not run here; this is so that tests which need them compile.

func dieWithParent() *syscall.SysProcAttr { return nil }
func ownGroup() *syscall.SysProcAttr      { return nil }
