//go:build linux || darwin

package pipe

import (
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// A Flux reads what other processes write into a named pipe, for as long as it
// lives: writers come and go. Create it with [CreateFlux].
//
// Read is for one goroutine at a time; the other methods may be called from any.
type Flux struct {
	claim  *claim
	opts   FluxOptions
	handle handle
	id     inodeID
	watch  *nameWatch
	adopt  *Adopted

	stopping chan struct{} // closed when a stop begins

	mu      sync.Mutex
	in      *fifo     // the read end; its reads are Read's alone
	drainBy time.Time // set when a stop begins: when to give the writers up
	woken   bool      // the drain has begun: the look-ups in flight have arrived
	closed  bool
	wake    *time.Timer

	bytes, sessions, left atomic.Int64

	// These belong to Read.
	session bool // bytes have come since the last session ended
	inEnd   bool // the exact close has begun

	endMu  sync.Mutex // held by Read during the exact close, and by release
	ending exactClose
}

// lookUps is how long a process that has looked the path up before it was
// removed may need to open it.
const lookUps = 20 * time.Millisecond

// CreateFlux creates the pipe at path, or takes over one that a killed process
// left, and opens it, so that no writer blocks in open from here on. Its error
// is a *PathError, and then nothing at path has been touched.
//
// The caller must Close the Flux, or Stop it and Read to the end.
func CreateFlux(path string, o FluxOptions) (*Flux, error) {
	if o.PipeSize == 0 {
		o.PipeSize = DefaultPipeSize
	}
	if o.Drain == 0 {
		o.Drain = DefaultDrain
	}
	if o.Notice == nil {
		o.Notice = func(string) {}
	}
	c, err := claimPath(path, o.Mode, o.Group)
	if err != nil {
		return nil, err
	}
	f := &Flux{claim: c, opts: o, stopping: make(chan struct{})}
	if err := f.create(); err != nil {
		c.lock.release()
		return nil, err
	}
	return f, nil
}

// create makes or takes the pipe and opens it.
func (f *Flux) create() (err error) {
	c := f.claim
	if f.adopt, err = f.leftover(); err != nil {
		return err
	}
	made := true
	switch {
	case c.found == foundNothing:
		f.handle, f.id, err = c.makeFIFO(c.path)
	case c.found == foundFIFO:
		made = false
		f.handle, f.id, err = c.takeFIFO(c.path)
	case !f.opts.Adopt:
		err = c.refuse(Exists, "is a regular file: your shell created this before flux was ready",
			"re-run with --adopt to send its content and take its place")
	default:
		f.handle, f.id, f.adopt, err = adopt(c, f.opts.Notice)
	}
	if err != nil {
		_ = f.adopt.Close()
		return err
	}
	if err = f.open(); err != nil {
		if made && f.adopt == nil {
			c.removePath(&f.handle, f.id)
		}
		f.handle.close()
		_ = f.adopt.Close()
		return err
	}
	if !made {
		f.opts.Notice("took over the pipe " + c.given + ", which was there already and served by nobody")
	}
	return nil
}

func (f *Flux) open() error {
	c := f.claim
	fd, err := f.handle.open(unix.O_RDONLY | unix.O_NONBLOCK)
	if err != nil {
		return c.fail("open the pipe for reading", err)
	}
	// The lock on the pipe itself is for rivals whose runtime folder is another.
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err == unix.EWOULDBLOCK {
		unix.Close(fd)
		return &PathError{Path: c.given, Kind: Locked, Reason: lockedError{}.Error()}
	}
	setPipeSize(fd, f.opts.PipeSize)
	if f.in, err = newFIFO(fd); err != nil {
		return c.fail("wait on the pipe", err)
	}
	f.watch = watchName(f.nameChanged)
	f.watch.add(&f.handle)
	f.nameChanged() // whatever happened before the watch was there
	return nil
}

func (f *Flux) nameChanged() {
	if lstatID(f.claim.path) != f.id {
		f.Stop(f.opts.Drain)
	}
}

// Adopted is the content of the regular file that was at the path, to be read
// before the pipe; nil if there was none. Writers block meanwhile once the pipe
// is full.
func (f *Flux) Adopted() *Adopted { return f.adopt }

// Stopping is closed when a stop begins: because of Stop, or because the path
// was removed or renamed.
func (f *Flux) Stopping() <-chan struct{} { return f.stopping }

// Stats returns the counts so far.
func (f *Flux) Stats() FluxStats {
	return FluxStats{Bytes: f.bytes.Load(), Sessions: f.sessions.Load(), Left: f.left.Load()}
}

// Read fills p with what writers have written, in the order in which the kernel
// accepted it. It blocks while there is nothing, without waking up. Large
// buffers are best: 256 KiB or more.
//
// Where the last writer has closed the pipe it returns 0, ErrSessionEnd, once;
// a later Read waits for the next writers. (Writers that follow each other
// closely may fall into one session.)
//
// After a stop it goes on until every byte that the kernel accepted has been
// read, and then returns 0, io.EOF; only then are the pipe and its resources
// gone. After Close it returns os.ErrClosed. Other errors are final.
func (f *Flux) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if f.inEnd {
			return f.readEnd(p)
		}
		n, err := f.in.read(p, f.session)
		switch {
		case n > 0:
			f.session = true
			f.bytes.Add(int64(n))
			return n, nil
		case err == nil: // no writer is left
			if f.session {
				f.sessionEnded()
				return 0, ErrSessionEnd
			}
			f.inEnd = f.draining()
		case errors.Is(err, os.ErrDeadlineExceeded):
			// Either the drain begins, or its time is over.
			f.inEnd = f.drain()
		default:
			return 0, err
		}
	}
}

func (f *Flux) sessionEnded() {
	f.session = false
	f.sessions.Add(1)
}

func (f *Flux) draining() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.woken
}

// drain lets the reads go on until the drain limit, and reports whether that has
// passed. From here on reads also return where there is no writer.
func (f *Flux) drain() (over bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.woken {
		return false
	}
	f.in.drain(f.drainBy)
	return !time.Now().Before(f.drainBy)
}

// Stop ends the Flux in order and returns at once: the path is removed if it is
// still ours, and Read goes on until no writer is left, at most for the drain
// limit; then it closes the pipe such that nothing that was accepted is lost,
// gives the remaining bytes, and returns io.EOF. Writers that go on after the
// limit get EPIPE. A second Stop can only shorten the limit.
func (f *Flux) Stop(drain time.Duration) {
	by := time.Now().Add(drain)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return
	}
	if f.drainBy.IsZero() {
		close(f.stopping)
		f.claim.removePath(&f.handle, f.id)
		f.drainBy = by
		f.wake = time.AfterFunc(lookUps, func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.woken = true
			f.in.interrupt()
		})
		return
	}
	if by.Before(f.drainBy) {
		f.drainBy = by
		if f.woken {
			f.in.interrupt()
		}
	}
}

// readEnd runs the exact close and gives what it finds.
func (f *Flux) readEnd(p []byte) (int, error) {
	f.endMu.Lock()
	defer f.endMu.Unlock()
	if f.ending.aborted {
		return 0, os.ErrClosed
	}
	if !f.ending.begun {
		f.ending.begin(&f.handle, f.in)
	}
	if n := f.ending.read(p); n > 0 {
		f.session = true
		f.bytes.Add(int64(n))
		return n, nil
	}
	if f.session {
		f.sessionEnded()
		return 0, ErrSessionEnd
	}
	f.left.Store(int64(f.ending.left))
	f.release()
	return 0, io.EOF
}

// release frees everything. It may be called twice, and with endMu held.
func (f *Flux) release() {
	f.mu.Lock()
	was := f.closed
	f.closed = true
	if f.wake != nil {
		f.wake.Stop()
	}
	f.mu.Unlock()
	if was {
		return
	}
	f.in.close()
	f.watch.close()
	if needsName {
		removeFIFO(f.claim.hidden("aside"))
	}
	f.handle.close()
}

// Close ends the Flux at once: the path is removed if it is still ours, and what
// has not been read is lost; writers get EPIPE. A Read in progress returns
// os.ErrClosed. After Read has returned io.EOF it does nothing.
func (f *Flux) Close() error {
	f.mu.Lock()
	if !f.closed && f.drainBy.IsZero() {
		close(f.stopping)
		f.claim.removePath(&f.handle, f.id)
		f.drainBy = time.Now()
	}
	f.mu.Unlock()
	f.in.close() // a Read that waits returns, and with it endMu
	f.endMu.Lock()
	defer f.endMu.Unlock()
	f.ending.abort()
	f.release()
	return f.adopt.Close()
}
