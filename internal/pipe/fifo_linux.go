package pipe

import (
	"errors"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A fifo is the read end of a named pipe for life. Its wait is Go's poller, which
// is edge-triggered: it sleeps through the time between two writers, when the
// pipe is "at its end" all along and poll(2) would return at once for ever.
// (File.Read itself will not do: it takes the time before the first writer for
// the end of the file.)
type fifo struct {
	file *os.File
	raw  syscall.RawConn
	try  func(fd uintptr) bool // f.attempt, bound once

	draining bool

	// the read in progress
	p       []byte
	session bool
	n       int
	err     error
}

// newFIFO takes fd, which is non-blocking, and closes it if it fails.
func newFIFO(fd int) (*fifo, error) {
	f := &fifo{file: os.NewFile(uintptr(fd), "fifo")}
	f.try = f.attempt
	var err error
	if f.raw, err = f.file.SyscallConn(); err == nil {
		err = f.file.SetReadDeadline(time.Time{}) // fails if it cannot be polled
	}
	if err != nil {
		f.file.Close()
		return nil, err
	}
	return f, nil
}

// read waits for bytes. It returns 0, nil where the last writer has closed the
// pipe, if session says that there was one or if the drain has begun; else it
// sleeps through that. It returns os.ErrDeadlineExceeded after interrupt and
// after the time given to drain, and os.ErrClosed after close.
func (f *fifo) read(p []byte, session bool) (int, error) {
	f.p, f.session, f.n, f.err = p, session, 0, nil
	err := f.raw.Read(f.try)
	f.p = nil
	switch {
	case err == nil:
		err = f.err
	case !errors.Is(err, os.ErrDeadlineExceeded):
		err = os.ErrClosed // what a closed RawConn says is not that
	}
	return f.n, err
}

// attempt reports whether the read is over.
func (f *fifo) attempt(fd uintptr) bool {
	n, err := read(int(fd), f.p)
	switch {
	case n > 0:
		f.n = n
		return true
	case err == unix.EAGAIN: // there is a writer and it has written nothing
		return false
	case err != nil:
		f.err = os.NewSyscallError("read", err)
		return true
	}
	return f.session || f.draining
}

// readNow reads what is there, without waiting.
func (f *fifo) readNow(p []byte) (n int) {
	_ = f.raw.Control(func(fd uintptr) { n, _ = read(int(fd), p) })
	return n
}

// interrupt makes the read in progress, or the next one, return. It may be
// called from any goroutine.
func (f *fifo) interrupt() { _ = f.file.SetReadDeadline(time.Unix(1, 0)) }

// drain lets reads go on until by.
func (f *fifo) drain(by time.Time) {
	f.draining = true
	_ = f.file.SetReadDeadline(by)
}

func (f *fifo) close() { f.file.Close() }
