//go:build unix

package iostreams

import (
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// An Interruptible is a file whose Read ends after Interrupt, also one that waits:
// with ErrInterrupted where the file has more to read, which stays in it, and with
// io.EOF where all that is there was read.
type Interruptible struct {
	f *os.File

	mu   sync.Mutex
	wake [2]int // a pipe; closed and -1 after Close
}

// NewInterruptible makes f interruptible. Close it when it is no longer used,
// which leaves f open.
func NewInterruptible(f *os.File) *Interruptible {
	r := &Interruptible{f: f, wake: [2]int{-1, -1}}
	var p [2]int
	if err := unix.Pipe(p[:]); err == nil {
		unix.CloseOnExec(p[0])
		unix.CloseOnExec(p[1])
		r.wake = p
	}
	return r
}

// Read waits for data, the end or Interrupt.
func (r *Interruptible) Read(p []byte) (int, error) {
	if r.wake[0] >= 0 {
		fds := []unix.PollFd{{Fd: int32(r.f.Fd()), Events: unix.POLLIN}, {Fd: int32(r.wake[0]), Events: unix.POLLIN}} //nolint:gosec // descriptors are small
		for {
			_, err := unix.Poll(fds, -1)
			if err == unix.EINTR {
				continue
			}
			if err == nil && fds[1].Revents != 0 {
				if fds[0].Revents&unix.POLLIN != 0 && r.more() {
					return 0, ErrInterrupted
				}
				return 0, io.EOF
			}
			break // data, the end, or something that read explains
		}
	}
	return r.f.Read(p)
}

// more reports whether a file that can be read has something to read: one that is
// on a disk can be read at its end too.
func (r *Interruptible) more() bool {
	st, err := r.f.Stat()
	if err != nil || !st.Mode().IsRegular() {
		return true
	}
	at, err := r.f.Seek(0, io.SeekCurrent)
	return err != nil || at < st.Size()
}

// Interrupt ends this and all later Reads. It may be called from any
// goroutine.
func (r *Interruptible) Interrupt() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.wake[1] >= 0 {
		_, _ = unix.Write(r.wake[1], []byte{0})
	}
}

// Close frees what NewInterruptible took. No Read may be under way.
func (r *Interruptible) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.wake[0] >= 0 {
		_ = unix.Close(r.wake[0])
		_ = unix.Close(r.wake[1])
		r.wake = [2]int{-1, -1}
	}
}
