//go:build linux || darwin

package pipe

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// An Adopted is the content of a regular file that was at the path of a [Flux],
// most often since a shell was quicker with its > than the flux with its pipe.
// The file lives on under a hidden name beside the path until Remove, so that
// its content survives a kill; a later flux with Adopt goes on from its start.
//
// It is for one goroutine. A nil *Adopted can be closed.
type Adopted struct {
	path   string
	file   *os.File
	lock   *nameLock // of path: the pipe's is let go at a stop, and the file may still be read then
	notice func(string)
	kept   bool // somebody still writes to it
}

// writersTime is how long the adopted file's writers may pause before they are
// taken for some that never end.
const writersTime = 2 * time.Second

// adopt exchanges the regular file at the claim's path with a pipe, in one step,
// and returns both.
func adopt(c *claim, notice func(string)) (handle, inodeID, *Adopted, error) {
	name := c.hidden("adopted")
	lock, err := lockAdopted(c, name)
	if err != nil {
		return handle{}, inodeID{}, nil, err
	}
	h, id, a, err := exchangeAdopted(c, name)
	if a == nil {
		lock.release()
		return h, id, nil, err
	}
	a.lock, a.notice = lock, notice
	return h, id, a, err
}

func exchangeAdopted(c *claim, name string) (handle, inodeID, *Adopted, error) {
	was := lstatID(c.path)
	h, id, err := c.makeFIFO(name)
	if err != nil {
		return h, id, nil, err
	}
	if err := renameExchange(name, c.path); err != nil {
		h.close()
		removeFIFO(name)
		pe := c.refuse(Exists, "is a regular file, and names cannot be exchanged in its folder",
			"move it away and feed it with cat FILE > "+c.given)
		pe.Err = err
		return h, id, nil, pe
	}
	if lstatID(name) != was {
		_ = renameExchange(name, c.path)
		h.close()
		removeFIFO(name)
		return h, id, nil, c.refuse(Exists, "somebody replaced it just now", "try again")
	}
	h.moved(c.path)
	a, err := openAdopted(c, name)
	if err != nil {
		_ = renameExchange(name, c.path)
		removeFIFO(name)
		h.close()
	}
	return h, id, a, err
}

// leftover is a file that an earlier flux adopted and did not finish.
func (f *Flux) leftover() (*Adopted, error) {
	c, name := f.claim, f.claim.hidden("adopted")
	var st unix.Stat_t
	if unix.Lstat(name, &st) != nil {
		return nil, nil //nolint:nilerr // there is none, or it cannot be seen: opening the pipe tells
	}
	lock, err := lockAdopted(c, name)
	if err != nil {
		return nil, err
	}
	a, err := findAdopted(c, name)
	if a == nil {
		lock.release()
		return nil, err
	}
	a.lock, a.notice = lock, f.opts.Notice
	switch {
	case !f.opts.Adopt:
		err = c.refuse(Exists, "the file adopted earlier was not sent to its end and is kept as "+name,
			"re-run with --adopt, or remove it")
	case c.found == foundRegular:
		err = c.refuse(Exists, "is a regular file, and so is "+name+", which was adopted earlier and not sent to its end",
			"move one of them away")
	}
	if err != nil {
		_ = a.Close()
		return nil, err
	}
	return a, nil
}

// lockAdopted makes sure that one process alone reads the adopted file.
func lockAdopted(c *claim, name string) (*nameLock, error) {
	lock, err := takeLock(name)
	var locked lockedError
	if errors.As(err, &locked) {
		return nil, &PathError{Path: c.given, Kind: Locked, PID: locked.pid,
			Reason: "the file adopted earlier is still being sent: " + locked.Error(), Hint: "wait for it to end"}
	}
	if err != nil {
		return nil, c.lockError(err)
	}
	return lock, nil
}

// findAdopted opens the file that is left, under its lock; nil where it has been
// sent since, or was never there.
func findAdopted(c *claim, name string) (*Adopted, error) {
	var st unix.Stat_t
	switch {
	case unix.Lstat(name, &st) != nil:
		return nil, nil //nolint:nilerr // it has gone
	case fileMode(&st) == unix.S_IFIFO: // killed before the exchange
		removeFIFO(name)
		return nil, nil
	case fileMode(&st) != unix.S_IFREG || int(st.Uid) != os.Geteuid():
		return nil, c.refuse(Exists, name+" is in the way", "remove it")
	}
	return openAdopted(c, name)
}

func openAdopted(c *claim, name string) (*Adopted, error) {
	fd, err := openFile(name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK)
	if err != nil {
		return nil, c.fail("read the file that was there", err)
	}
	return &Adopted{path: name, file: os.NewFile(uintptr(fd), name)}, nil
}

// Read reads the file; at its end it waits for processes that still write to it.
func (a *Adopted) Read(p []byte) (int, error) {
	idle := time.Duration(0)
	for {
		n, err := a.file.Read(p)
		if n > 0 || !errors.Is(err, io.EOF) || a.kept {
			return n, err
		}
		busy := false
		if c, err := a.file.SyscallConn(); err == nil {
			_ = c.Control(func(fd uintptr) { busy = beingWritten(int(fd)) })
		}
		if !busy {
			// Its last writer may have written since we looked.
			return a.file.Read(p)
		}
		if idle >= writersTime {
			a.kept = true
			a.notice(fmt.Sprintf("a process still has the adopted file open for writing; it is kept as %s", a.path))
			return 0, io.EOF
		}
		time.Sleep(10 * time.Millisecond)
		idle += 10 * time.Millisecond
	}
}

// Remove removes the file; call it when its content has been delivered.
func (a *Adopted) Remove() error {
	defer a.lock.release()
	err := a.file.Close()
	if a.kept {
		return err
	}
	return os.Remove(a.path)
}

// Close closes the file and keeps it, unless Remove has removed it.
func (a *Adopted) Close() error {
	if a == nil {
		return nil
	}
	defer a.lock.release()
	if err := a.file.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}
