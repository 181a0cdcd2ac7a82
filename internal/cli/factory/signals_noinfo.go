//go:build unix && !(darwin || freebsd || netbsd || openbsd || dragonfly)

package factory

import "os"

var infoSignal []os.Signal
