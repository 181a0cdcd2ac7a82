//go:build linux || darwin

package file

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// supported is nil where the backend works.
func supported() error { return nil }

// flock takes the exclusive lock of f's open file description. Without wait it
// returns false where somebody else has it; with wait it blocks, and nothing
// can interrupt it. The kernel frees the lock when the last descriptor of the
// description is closed, so also when the process dies.
func flock(f *os.File, wait bool) (bool, error) {
	how := unix.LOCK_EX
	if !wait {
		how |= unix.LOCK_NB
	}
	for {
		switch err := unix.Flock(int(f.Fd()), how); {
		case err == nil:
			return true, nil
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EWOULDBLOCK) && !wait:
			return false, nil
		default:
			return false, os.NewSyscallError("flock", err)
		}
	}
}

func funlock(f *os.File) error {
	return os.NewSyscallError("flock", unix.Flock(int(f.Fd()), unix.LOCK_UN))
}

// fstat is the size of f and how many names it has.
func fstat(f *os.File) (size int64, links uint64, err error) {
	var st unix.Stat_t
	for {
		err := unix.Fstat(int(f.Fd()), &st)
		if !errors.Is(err, unix.EINTR) {
			return st.Size, uint64(st.Nlink), os.NewSyscallError("fstat", err) //nolint:unconvert // fewer bits on some systems
		}
	}
}

// volume is the size of the file system that dir is in, and what of it this
// user may still write.
func volume(dir string) (total, free int64, err error) {
	var st unix.Statfs_t
	for {
		err := unix.Statfs(dir, &st)
		if !errors.Is(err, unix.EINTR) {
			size := int64(st.Bsize) //nolint:unconvert // fewer bits on some systems
			return int64(st.Blocks) * size, int64(st.Bavail) * size, os.NewSyscallError("statfs", err)
		}
	}
}
