package file

import (
	"errors"
	"io/fs"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// datasync makes f's bytes and its size durable; Sync is F_FULLFSYNC here.
func datasync(f *os.File) error { return f.Sync() }

// preallocate does nothing: F_PREALLOCATE is only a matter of speed.
func preallocate(*os.File, int64, int64) error { return errors.ErrUnsupported }

// bootName identifies the running system from one boot to the next.
func bootName() (string, error) { return unix.Sysctl("kern.bootsessionuuid") }

// A leaseFile holds exclusive locks that are numbered and belong to one
// opening: leases, and the marks by which members are counted. The kernel
// frees them when the process dies. Here each is the lock of a whole file,
// whose name is that of the first and a number.
type leaseFile struct {
	root *os.Root
	path string
	f    *os.File
	held map[int64]*os.File
}

// openLeases opens the lock file at path, making it where it is missing.
func openLeases(root *os.Root, path string) (*leaseFile, error) {
	f, err := createFile(root, path, os.O_RDWR)
	if err != nil {
		return nil, err
	}
	return &leaseFile{root, path, f, make(map[int64]*os.File)}, nil
}

// lookLeases opens the lock file at path to see who has locks; fs.ErrNotExist
// where there is none.
func lookLeases(root *os.Root, path string) (*leaseFile, error) {
	f, err := root.Open(path)
	if err != nil {
		return nil, err
	}
	return &leaseFile{root, path, f, make(map[int64]*os.File)}, nil
}

func (l *leaseFile) file() *os.File { return l.f }

func (l *leaseFile) name(n int64) string { return l.path + "~" + strconv.FormatInt(n, 10) }

// try takes lock n; false says that another opening has it.
func (l *leaseFile) try(n int64) (bool, error) {
	f, err := createFile(l.root, l.name(n), os.O_RDWR)
	if err != nil {
		return false, err
	}
	ok, err := flock(f, false)
	if !ok {
		f.Close()
		return false, err
	}
	l.held[n] = f
	return true, nil
}

func (l *leaseFile) unlock(n int64) error {
	f := l.held[n]
	if f == nil {
		return nil
	}
	delete(l.held, n)
	return f.Close()
}

// others calls found with each lock from lo up to and without hi that another
// opening holds. Locks are taken from the lowest free number on, so the first
// number that never had a file ends the search.
func (l *leaseFile) others(lo, hi int64, found func(n int64)) error {
	for n := lo; n < hi; n++ {
		if l.held[n] != nil {
			continue
		}
		f, err := l.root.OpenFile(l.name(n), os.O_RDWR, 0)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		free, err := flock(f, false)
		f.Close()
		if err != nil {
			return err
		}
		if !free {
			found(n)
		}
	}
	return nil
}

// Close frees every lock that is held through l.
func (l *leaseFile) Close() error {
	for n := range l.held {
		l.unlock(n)
	}
	return l.f.Close()
}
