//go:build linux || darwin

package pipe

import (
	"errors"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// An inodeID tells one file from another on this machine.
type inodeID struct{ dev, ino uint64 }

func idOf(st *unix.Stat_t) inodeID { return inodeID{uint64(st.Dev), st.Ino} } //nolint:unconvert // a signed one on darwin

// lstatID returns the identity of what is at path, without following a link;
// the zero value if there is nothing.
func lstatID(path string) inodeID {
	var st unix.Stat_t
	if unix.Lstat(path, &st) != nil {
		return inodeID{}
	}
	return idOf(&st)
}

func fileMode(st *unix.Stat_t) uint32 { return uint32(st.Mode) & unix.S_IFMT } //nolint:unconvert // 16 bits on darwin

// permBits are the bits of mode for chmod.
func permBits(mode fs.FileMode) uint32 {
	bits := uint32(mode.Perm())
	if mode&fs.ModeSetuid != 0 {
		bits |= unix.S_ISUID
	}
	if mode&fs.ModeSetgid != 0 {
		bits |= unix.S_ISGID
	}
	if mode&fs.ModeSticky != 0 {
		bits |= unix.S_ISVTX
	}
	return bits
}

// ignoringEINTR repeats f while a signal interrupts it.
func ignoringEINTR(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}

func openFile(path string, flags int) (fd int, err error) {
	err = ignoringEINTR(func() error {
		fd, err = unix.Open(path, flags|unix.O_CLOEXEC, 0)
		return err
	})
	return fd, err
}

func read(fd int, p []byte) (n int, err error) {
	err = ignoringEINTR(func() error {
		n, err = unix.Read(fd, p)
		return err
	})
	return max(n, 0), err
}

func write(fd int, p []byte) (n int, err error) {
	err = ignoringEINTR(func() error {
		n, err = unix.Write(fd, p)
		return err
	})
	return max(n, 0), err
}

// unread is the number of bytes in the pipe behind fd, which may be its write
// end. It stays exact after the last reader has left.
func unread(fd int) int {
	n, err := unix.IoctlGetInt(fd, fionread)
	if err != nil {
		return 0
	}
	return n
}

// poll waits until one of fds has an event or timeout has passed; a negative
// timeout is for ever. A signal counts as an event, so callers look again at the
// state of things rather than trust the return.
func poll(fds []unix.PollFd, timeout time.Duration) {
	ms := -1
	if timeout >= 0 {
		ms = int((timeout + time.Millisecond - 1) / time.Millisecond)
	}
	for i := range fds {
		fds[i].Revents = 0
	}
	if _, err := unix.Poll(fds, ms); err != nil {
		for i := range fds {
			fds[i].Revents = 0
		}
	}
}

// A waker makes a thread in poll(2) return: a pipe whose read end is polled.
type waker struct{ r, w *os.File }

func newWaker() (*waker, int, error) {
	var p [2]int
	if err := cloexecPipe(p[:]); err != nil {
		return nil, -1, err
	}
	for _, fd := range p {
		if err := unix.SetNonblock(fd, true); err != nil {
			return nil, -1, err
		}
	}
	return &waker{os.NewFile(uintptr(p[0]), "wake"), os.NewFile(uintptr(p[1]), "wake")}, p[0], nil
}

// wake may be called at any time, also after close: os.File counts its users, so
// that a late wake cannot write into a descriptor that has been reused.
func (w *waker) wake() { _, _ = w.w.Write([]byte{0}) }

// clear empties the pipe behind fd, the waker's read end.
func (w *waker) clear(fd int) {
	var buf [64]byte
	for {
		if n, err := read(fd, buf[:]); err != nil || n < len(buf) {
			return
		}
	}
}

func (w *waker) close() {
	w.r.Close()
	w.w.Close()
}

// errnoKind sorts an error of the system.
func errnoKind(err error) Kind {
	switch {
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM), errors.Is(err, unix.EROFS):
		return Denied
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
		return NotFound
	case errors.Is(err, unix.EEXIST):
		return Exists
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EOPNOTSUPP):
		return Unsupported
	}
	return Failed
}
