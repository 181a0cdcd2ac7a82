//go:build !unix

package factory

import "os"

// IgnoreSIGPIPE does nothing where there is no such signal.
func IgnoreSIGPIPE() {}

var statusSignals []os.Signal
