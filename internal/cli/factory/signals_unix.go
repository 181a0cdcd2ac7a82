//go:build unix

package factory

import (
	"os"
	"os/signal"
	"syscall"
)

// IgnoreSIGPIPE makes a write whose reader has gone fail with EPIPE, also on
// standard output, so that a command can leave its group and its pipe in order
// before it ends as the signal would have ended it.
func IgnoreSIGPIPE() { signal.Ignore(syscall.SIGPIPE) }

var statusSignals = append([]os.Signal{syscall.SIGUSR1}, infoSignal...)
