package pipe

import (
	"golang.org/x/sys/unix"
)

// This file has not been run: what differs here is in the package comment.

const fionread = 0x4004667f // FIONREAD of <sys/filio.h>

const canExchange = false

// A handle is a path and the inode that should be there: darwin has no O_PATH.
type handle struct {
	path string
	id   inodeID
}

const needsName = true

func newHandle(path string) (handle, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return handle{}, err
	}
	return handle{path, idOf(&st)}, nil
}

func (h *handle) stat(st *unix.Stat_t) error {
	if err := unix.Lstat(h.path, st); err != nil {
		return err
	}
	if idOf(st) != h.id {
		return unix.ENOENT
	}
	return nil
}

// open opens the path and makes sure of the inode.
func (h *handle) open(flags int) (int, error) {
	fd, err := openFile(h.path, flags|unix.O_NOFOLLOW)
	if err != nil {
		return -1, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || idOf(&st) != h.id {
		unix.Close(fd)
		return -1, unix.ENOENT
	}
	return fd, nil
}

func (h *handle) chmod(mode uint32) error { return unix.Chmod(h.path, mode) }

func (h *handle) chgrp(gid int) error { return unix.Lchown(h.path, -1, gid) }

func (h *handle) moved(path string) { h.path = path }

func (h *handle) close() {}

func setPipeSize(int, int) {}

func pipeSize(int) int { return 64 << 10 }

func renameExchange(a, b string) error { return unix.RenamexNp(a, b, unix.RENAME_SWAP) }

func renameNoReplace(from, to string) error { return unix.RenamexNp(from, to, unix.RENAME_EXCL) }

func cloexecPipe(p []int) error {
	if err := unix.Pipe(p); err != nil {
		return err
	}
	unix.CloseOnExec(p[0])
	unix.CloseOnExec(p[1])
	return nil
}

func beingWritten(int) bool { return false }

// A notifier never notifies here: the callers' timers do.
type notifier struct{ fd int }

func newNotifier() notifier { return notifier{-1} }

func (n notifier) armRead(*handle) (int, bool) { return 0, false }
func (n notifier) disarm(int)                  {}
func (n notifier) clear()                      {}
func (n notifier) close()                      {}

// A watch does not exist here: the caller looks from time to time.
type watch struct{}

func newWatch(func()) *watch { return nil }

func (w *watch) add(*handle) (int, error) { return 0, unix.ENOSYS }
func (w *watch) remove(int)               {}
func (w *watch) close()                   {}
