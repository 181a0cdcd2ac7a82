package pipe

import (
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// fionread asks for the number of unread bytes.
const fionread = unix.TIOCINQ

// canExchange says that names can be exchanged and that the blocking door works
// while a write end is held, see tap.go.
const canExchange = true

// A handle holds on to an inode without opening the pipe: it counts neither as
// reader nor as writer, and lets us open this very inode later, whatever has
// become of its name.
type handle struct{ fd int }

// needsName says whether open depends on the inode's still having a name.
const needsName = false

func newHandle(path string) (handle, error) {
	fd, err := openFile(path, unix.O_PATH|unix.O_NOFOLLOW)
	return handle{fd}, err
}

func (h *handle) stat(st *unix.Stat_t) error { return unix.Fstat(h.fd, st) }

func (h *handle) procPath() string { return "/proc/self/fd/" + strconv.Itoa(h.fd) }

func (h *handle) open(flags int) (int, error) { return openFile(h.procPath(), flags) }

func (h *handle) chmod(mode uint32) error {
	err := unix.Chmod(h.procPath(), mode)
	if errors.Is(err, unix.ENOENT) {
		return errors.New("/proc is not mounted")
	}
	return err
}

func (h *handle) chgrp(gid int) error { return unix.Chown(h.procPath(), -1, gid) }

// moved tells the handle that its inode has a new name.
func (h *handle) moved(string) {}

func (h *handle) close() {
	if h.fd >= 0 {
		unix.Close(h.fd)
		h.fd = -1
	}
}

func setPipeSize(fd, size int) { _, _ = unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, size) }

// pipeSize is the pipe's capacity.
func pipeSize(fd int) int {
	n, err := unix.FcntlInt(uintptr(fd), unix.F_GETPIPE_SZ, 0)
	if err != nil || n <= 0 {
		return 64 << 10
	}
	return n
}

func renameExchange(a, b string) error {
	return unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
}

func renameNoReplace(from, to string) error {
	return unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
}

func cloexecPipe(p []int) error { return unix.Pipe2(p, unix.O_CLOEXEC) }

// beingWritten says whether some process has the regular file behind fd open for
// writing: then the kernel refuses a read lease.
func beingWritten(fd int) bool {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_RDLCK)
	if err != nil {
		return errors.Is(err, unix.EAGAIN)
	}
	_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_UNLCK)
	return false
}

// A notifier is an inotify descriptor, or nothing if the system has no more.
type notifier struct{ fd int }

func newNotifier() notifier {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return notifier{-1}
	}
	return notifier{fd}
}

// armRead asks for one event when somebody reads from h's inode. It reports
// false if that cannot be had.
func (n notifier) armRead(h *handle) (wd int, ok bool) {
	if n.fd < 0 {
		return 0, false
	}
	wd, err := unix.InotifyAddWatch(n.fd, h.procPath(), unix.IN_ACCESS|unix.IN_ONESHOT)
	return wd, err == nil
}

func (n notifier) disarm(wd int) { _, _ = unix.InotifyRmWatch(n.fd, uint32(wd)) }

// clear throws away the events that are pending.
func (n notifier) clear() {
	var buf [4096]byte
	for {
		if k, err := read(n.fd, buf[:]); err != nil || k <= 0 {
			return
		}
	}
}

func (n notifier) close() {
	if n.fd >= 0 {
		unix.Close(n.fd)
	}
}

// A watch calls a function when the name of one of its inodes changes.
type watch struct {
	file *os.File
	fd   int
	done chan struct{}
}

// newWatch returns nil if the system has no more inotify descriptors.
func newWatch(changed func()) *watch {
	n := newNotifier()
	if n.fd < 0 {
		return nil
	}
	w := &watch{os.NewFile(uintptr(n.fd), "inotify"), n.fd, make(chan struct{})}
	go func() {
		defer close(w.done)
		var buf [4096]byte
		for {
			if _, err := w.file.Read(buf[:]); err != nil {
				return
			}
			changed()
		}
	}()
	return w
}

// add watches h's inode. Unlinking it raises IN_ATTRIB, since its link count
// changes; IN_DELETE_SELF would come only once we let go of it.
func (w *watch) add(h *handle) (wd int, err error) {
	return unix.InotifyAddWatch(w.fd, h.procPath(), unix.IN_ATTRIB|unix.IN_MOVE_SELF)
}

func (w *watch) remove(wd int) { _, _ = unix.InotifyRmWatch(w.fd, uint32(wd)) }

// close returns when the function will not be called any more; it must not be
// called from it.
func (w *watch) close() {
	w.file.Close()
	<-w.done
}
