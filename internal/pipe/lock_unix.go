//go:build linux || darwin

package pipe

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A nameLock is the right to serve a name in a folder. It is a lock on a file
// beside the user's other run-time files rather than on the pipe itself, since a
// rival would have to open the pipe to try the lock, and opening a tap's pipe is
// what a reader does. The file names the process that holds it. The kernel drops
// the lock with the process, so nothing ever has to be cleared by hand.
type nameLock struct {
	file *os.File
	path string
}

// lockedError says that process pid (0 if unknown) holds the lock.
type lockedError struct{ pid int }

func (e lockedError) Error() string {
	if e.pid == 0 {
		return "already served by another process"
	}
	return fmt.Sprintf("already served by pid %d", e.pid)
}

// handOver bounds how long we wait for a lock whose name is free already: its
// holder is just about to let go.
const handOver = time.Second

// takeLock is lockName, but waits for who is just about to let go.
func takeLock(path string) (*nameLock, error) {
	for deadline := time.Now().Add(handOver); ; time.Sleep(2 * time.Millisecond) {
		l, err := lockName(path)
		if err == nil || !errors.As(err, new(lockedError)) || lstatID(path) != (inodeID{}) || time.Now().After(deadline) {
			return l, err
		}
	}
}

// lockName takes the lock for path, an absolute one, or fails at once with
// lockedError.
func lockName(path string) (*nameLock, error) {
	var st unix.Stat_t
	if err := unix.Stat(filepath.Dir(path), &st); err != nil {
		return nil, err
	}
	dir, err := runtimeDir()
	if err != nil {
		return nil, err
	}
	// The folder's inode rather than its name: it may have several names.
	sum := sha256.Sum256([]byte(filepath.Base(path)))
	file := filepath.Join(dir, fmt.Sprintf("pipe-%x-%x-%x.lock", st.Dev, st.Ino, sum[:8]))
	for {
		f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return nil, err
		}
		err = flock(f)
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = lockedError{lockHolder(f)}
		}
		if err != nil {
			f.Close()
			return nil, err
		}
		// Schedule: the holder before us unlinks the file and lets go of it after
		// we opened it and before we locked it. Then we hold a lock that nobody
		// else can see, and try again.
		mine, err1 := f.Stat()
		there, err2 := os.Lstat(file)
		if err1 == nil && err2 == nil && os.SameFile(mine, there) {
			_ = f.Truncate(0)
			_, _ = f.WriteAt([]byte(fmt.Sprintf("%d\n%s\n", os.Getpid(), path)), 0)
			return &nameLock{f, file}, nil
		}
		f.Close()
	}
}

func flock(f *os.File) (err error) {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	if cerr := c.Control(func(fd uintptr) {
		err = ignoringEINTR(func() error { return unix.Flock(int(fd), unix.LOCK_EX|unix.LOCK_NB) })
	}); cerr != nil {
		return cerr
	}
	return err
}

// lockHolder reads who holds the lock; the holder may be about to write it.
func lockHolder(f *os.File) int {
	for range 20 {
		var buf [64]byte
		n, _ := f.ReadAt(buf[:], 0)
		if line, _, ok := strings.Cut(string(buf[:n]), "\n"); ok {
			pid, _ := strconv.Atoi(line)
			return pid
		}
		time.Sleep(time.Millisecond)
	}
	return 0
}

// release lets the name go; a second call does nothing.
func (l *nameLock) release() {
	if l == nil || l.file == nil {
		return
	}
	_ = os.Remove(l.path)
	l.file.Close()
	l.file = nil
}

// runtimeDir is the user's folder for locks, which all of the user's processes
// must agree on; it is created if need be.
func runtimeDir() (string, error) {
	uid := os.Getuid()
	var tried error
	for _, base := range []string{os.Getenv("XDG_RUNTIME_DIR"), fmt.Sprintf("/run/user/%d", uid)} {
		if st, err := os.Stat(base); base != "" && err == nil && st.IsDir() {
			dir, err := privateDir(filepath.Join(base, "sea-streamer"), uid)
			if err == nil {
				return dir, nil
			}
			tried = err
		}
	}
	dir, err := privateDir(filepath.Join(os.TempDir(), fmt.Sprintf("sea-streamer-%d", uid)), uid)
	if err != nil && tried != nil {
		err = tried
	}
	return dir, err
}

// privateDir makes sure that dir is a folder that only we can write to: in a
// shared temporary folder somebody else may have made it.
func privateDir(dir string, uid int) (string, error) {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return "", err
	}
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return "", err
	}
	if fileMode(&st) != unix.S_IFDIR || int(st.Uid) != uid || st.Mode&0o022 != 0 {
		return "", fmt.Errorf("%s is not a private folder of ours; remove it or set XDG_RUNTIME_DIR", dir)
	}
	return dir, nil
}
