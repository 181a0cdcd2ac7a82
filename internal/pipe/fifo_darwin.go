package pipe

import (
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A fifo is the read end of a named pipe for life. This has not been run.
//
// Go's poller does not know FIFOs here, so it is poll(2) in a thread. poll
// returns at once while no writer is there after the first one, hence the pause.
type fifo struct {
	fd       int
	wakeFD   int
	wake     *waker
	draining bool

	mu     sync.Mutex
	by     time.Time // the deadline, if any
	busy   bool
	closed bool
}

const noWriterPause = 20 * time.Millisecond

func newFIFO(fd int) (*fifo, error) {
	w, wfd, err := newWaker()
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return &fifo{fd: fd, wake: w, wakeFD: wfd}, nil
}

func (f *fifo) read(p []byte, session bool) (int, error) {
	f.mu.Lock()
	f.busy = true
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.busy = false
		closed := f.closed
		f.mu.Unlock()
		if closed {
			f.free()
		}
	}()
	for {
		f.mu.Lock()
		by, closed := f.by, f.closed
		f.mu.Unlock()
		if closed {
			return 0, os.ErrClosed
		}
		wait := time.Duration(-1)
		if !by.IsZero() {
			if wait = time.Until(by); wait <= 0 {
				return 0, os.ErrDeadlineExceeded
			}
		}
		n, err := read(f.fd, p)
		fds := []unix.PollFd{{Fd: int32(f.wakeFD), Events: unix.POLLIN}, {Fd: int32(f.fd), Events: unix.POLLIN}}
		switch {
		case n > 0:
			return n, nil
		case err == unix.EAGAIN:
			poll(fds, wait)
		case err != nil:
			return 0, os.NewSyscallError("read", err)
		case session || f.draining:
			return 0, nil
		default:
			poll(fds[:1], noWriterPause)
		}
		f.wake.clear(f.wakeFD)
	}
}

func (f *fifo) readNow(p []byte) int {
	n, _ := read(f.fd, p)
	return n
}

func (f *fifo) interrupt() { f.set(time.Unix(1, 0)) }

func (f *fifo) drain(by time.Time) {
	f.draining = true
	f.set(by)
}

func (f *fifo) set(by time.Time) {
	f.mu.Lock()
	f.by = by
	f.mu.Unlock()
	f.wake.wake()
}

// close lets a read in progress return first, which then frees the descriptors.
func (f *fifo) close() {
	f.mu.Lock()
	was, busy := f.closed, f.busy
	f.closed = true
	f.mu.Unlock()
	switch {
	case was:
	case busy:
		f.wake.wake()
	default:
		f.free()
	}
}

func (f *fifo) free() {
	unix.Close(f.fd)
	f.wake.close()
}
