package file

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// datasync makes f's bytes and its size durable. If somebody closes f meanwhile
// it is that, or os.ErrClosed, and never another file that gets its number.
func datasync(f *os.File) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var synced error
	err = c.Control(func(fd uintptr) {
		for {
			if synced = unix.Fdatasync(int(fd)); !errors.Is(synced, unix.EINTR) {
				return
			}
		}
	})
	if err != nil {
		return os.ErrClosed // which is all that it can mean
	}
	return os.NewSyscallError("fdatasync", synced)
}

// preallocate reserves blocks for f[off:off+n] and leaves the size alone.
func preallocate(f *os.File, off, n int64) error {
	return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, off, n)
}

// bootName identifies the running system from one boot to the next; all
// containers of a machine share it.
func bootName() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b)), err
}

// A leaseFile holds exclusive locks that are numbered and belong to one open
// file description: leases, and the marks by which members are counted. The
// kernel frees them when the process dies.
//
// On Linux they are open-file-description locks on one byte each (fcntl(2),
// F_OFD_SETLK), so that F_OFD_GETLK finds those of others without process ids.
type leaseFile struct{ f *os.File }

// openLeases opens the lock file at path, making it where it is missing.
func openLeases(root *os.Root, path string) (*leaseFile, error) {
	f, err := createFile(root, path, os.O_RDWR)
	if err != nil {
		return nil, err
	}
	return &leaseFile{f}, nil
}

// lookLeases opens the lock file at path to see who has locks; fs.ErrNotExist
// where there is none.
func lookLeases(root *os.Root, path string) (*leaseFile, error) {
	f, err := root.Open(path)
	if err != nil {
		return nil, err
	}
	return &leaseFile{f}, nil
}

// file is what to write to, and to watch, as the bell of the group.
func (l *leaseFile) file() *os.File { return l.f }

// try takes lock n; false says that another description has it.
func (l *leaseFile) try(n int64) (bool, error) {
	k := unix.Flock_t{Type: unix.F_WRLCK, Start: n, Len: 1}
	switch err := unix.FcntlFlock(l.f.Fd(), unix.F_OFD_SETLK, &k); {
	case err == nil:
		return true, nil
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EACCES):
		return false, nil
	default:
		return false, os.NewSyscallError("fcntl", err)
	}
}

func (l *leaseFile) unlock(n int64) error {
	k := unix.Flock_t{Type: unix.F_UNLCK, Start: n, Len: 1}
	return os.NewSyscallError("fcntl", unix.FcntlFlock(l.f.Fd(), unix.F_OFD_SETLK, &k))
}

// others calls found with each lock from lo up to and without hi that another
// description holds, in no particular order. It costs two system calls a lock:
// GETLK names some lock in the range, and what is left of it on both sides is
// searched again.
func (l *leaseFile) others(lo, hi int64, found func(n int64)) error {
	for lo < hi {
		k := unix.Flock_t{Type: unix.F_WRLCK, Start: lo, Len: hi - lo}
		if err := unix.FcntlFlock(l.f.Fd(), unix.F_OFD_GETLK, &k); err != nil {
			return os.NewSyscallError("fcntl", err)
		}
		if k.Type == unix.F_UNLCK {
			return nil
		}
		end := hi
		if k.Len > 0 {
			end = min(hi, k.Start+k.Len)
		}
		start := max(lo, k.Start)
		for n := start; n < end; n++ {
			found(n)
		}
		if err := l.others(lo, start, found); err != nil {
			return err
		}
		lo = end
	}
	return nil
}

// Close frees every lock that is held through l.
func (l *leaseFile) Close() error { return l.f.Close() }
