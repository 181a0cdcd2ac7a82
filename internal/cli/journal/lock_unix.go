//go:build unix

package journal

import (
	"os"

	"golang.org/x/sys/unix"
)

// lockFile waits for the lock of a file, which it has for as long as it is open.
func lockFile(f *os.File) error {
	for {
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != unix.EINTR {
			return err
		}
	}
}
