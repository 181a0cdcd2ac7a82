//go:build unix

package iostreams

import (
	"golang.org/x/sys/unix"
)

// OutReaderGone waits until whoever reads standard output has closed it, and
// then calls gone; never, if that cannot happen or cannot be known. It holds a
// thread that sleeps in the kernel until the process ends.
func (s *Streams) OutReaderGone(gone func()) {
	if s.OutFile == nil {
		return
	}
	var st unix.Stat_t
	fd := int(s.OutFile.Fd())
	if unix.Fstat(fd, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFIFO {
		return
	}
	go func() {
		for {
			fds := []unix.PollFd{{Fd: int32(fd)}} // no events: only an error or hang-up wakes
			n, err := unix.Poll(fds, -1)
			if err == unix.EINTR {
				continue
			}
			if err == nil && n == 1 && fds[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0 {
				gone()
			}
			return
		}
	}()
}
