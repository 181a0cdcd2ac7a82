//go:build darwin || freebsd || netbsd || openbsd || dragonfly

package factory

import (
	"os"
	"syscall"
)

var infoSignal = []os.Signal{syscall.SIGINFO}
