//go:build !unix

package iostreams

import (
	"os"
	"sync/atomic"
)

// An Interruptible is a file whose Read ends with ErrInterrupted after Interrupt.
// Here a Read that waits goes on until something comes.
type Interruptible struct {
	f    *os.File
	stop atomic.Bool
}

// NewInterruptible makes f interruptible.
func NewInterruptible(f *os.File) *Interruptible { return &Interruptible{f: f} }

// Read waits for data or the end.
func (r *Interruptible) Read(p []byte) (int, error) {
	if r.stop.Load() {
		return 0, ErrInterrupted
	}
	return r.f.Read(p)
}

// Interrupt ends all later Reads.
func (r *Interruptible) Interrupt() { r.stop.Store(true) }

// Close does nothing here.
func (r *Interruptible) Close() {}
