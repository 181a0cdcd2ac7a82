//go:build linux || darwin

package pipe

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// A claim is a name that we have the right to serve, and what was found there.
type claim struct {
	given string // the path as the caller gave it, for messages
	path  string // absolute, so that a change of folder does no harm
	lock  *nameLock
	found found
	mode  uint32
	gid   int // -1 leaves it
}

type found int

const (
	foundNothing found = iota
	foundFIFO          // ours, served by nobody
	foundRegular       // a regular file of ours
)

// claimPath takes the lock of path and looks at what is there. It changes
// nothing in the folder, except for removing our own hidden names that a killed
// process left.
func claimPath(path string, mode fs.FileMode, group string) (*claim, error) {
	c := &claim{given: path, mode: permBits(mode), gid: -1}
	if mode == 0 {
		c.mode = 0o600
	}
	var err error
	if c.path, err = filepath.Abs(path); err != nil {
		return nil, c.fail("find the current folder", err)
	}
	if group != "" {
		if c.gid, err = lookUpGroup(group); err != nil {
			return nil, c.refuse(NotFound, fmt.Sprintf("there is no group %q", group), "")
		}
	}
	dir := filepath.Dir(c.path)
	switch st, err := os.Stat(dir); {
	case errors.Is(err, fs.ErrNotExist):
		return nil, c.refuse(NotFound, "there is no folder "+filepath.Dir(path), "create it with mkdir -p")
	case err != nil:
		return nil, c.fail("look at its folder", err)
	case !st.IsDir():
		return nil, c.refuse(NotFound, filepath.Dir(path)+" is not a folder", "")
	}
	if c.lock, err = takeLock(c.path); err != nil {
		return nil, c.lockError(err)
	}
	if err := c.inspect(); err != nil {
		c.lock.release()
		return nil, err
	}
	for _, name := range []string{c.hidden("spare"), c.hidden("probe"), c.hidden("aside")} {
		removeFIFO(name)
	}
	return c, nil
}

// lockError says why takeLock has failed.
func (c *claim) lockError(err error) error {
	var locked lockedError
	if errors.As(err, &locked) {
		return &PathError{Path: c.given, Kind: Locked, PID: locked.pid, Reason: locked.Error()}
	}
	return c.fail("lock it in the runtime folder", err)
}

// inspect says what is at the path; what is not ours to take is an error.
func (c *claim) inspect() error {
	var st unix.Stat_t
	if err := unix.Lstat(c.path, &st); err == unix.ENOENT {
		c.found = foundNothing
		return nil
	} else if err != nil {
		return c.fail("look at it", err)
	}
	what := map[uint32]string{
		unix.S_IFDIR: "a directory", unix.S_IFLNK: "a symbolic link", unix.S_IFSOCK: "a socket",
		unix.S_IFCHR: "a device", unix.S_IFBLK: "a device",
	}[fileMode(&st)]
	if what != "" {
		return c.refuse(Exists, "is "+what, "choose another path")
	}
	if int(st.Uid) != os.Geteuid() {
		return c.refuse(Exists, fmt.Sprintf("belongs to another user (uid %d)", st.Uid), "choose another path")
	}
	c.found = foundFIFO
	if fileMode(&st) == unix.S_IFREG {
		c.found = foundRegular
	}
	return nil
}

// hidden is a name beside the path for our own passing use. The names are fixed,
// so that what a killed process left is found without reading the folder.
func (c *claim) hidden(use string) string {
	return filepath.Join(filepath.Dir(c.path), "."+filepath.Base(c.path)+".sea-"+use)
}

// makeFIFO creates a FIFO at name with the claim's permissions.
func (c *claim) makeFIFO(name string) (handle, inodeID, error) {
	if err := unix.Mkfifo(name, 0o600); err != nil {
		if c.path == name && err == unix.EEXIST {
			return handle{}, inodeID{}, c.refuse(Exists, "somebody created it just now", "try again")
		}
		return handle{}, inodeID{}, c.fail("create the pipe", err)
	}
	h, id, err := c.takeFIFO(name)
	if err != nil {
		removeFIFO(name)
	}
	return h, id, err
}

// takeFIFO gives the FIFO at name the claim's permissions.
func (c *claim) takeFIFO(name string) (handle, inodeID, error) {
	h, err := newHandle(name)
	if err != nil {
		return h, inodeID{}, c.fail("open the pipe", err)
	}
	var st unix.Stat_t
	if err := h.stat(&st); err != nil || fileMode(&st) != unix.S_IFIFO || int(st.Uid) != os.Geteuid() {
		h.close()
		return h, inodeID{}, c.refuse(Exists, "somebody replaced it just now", "try again")
	}
	if c.gid >= 0 && int(st.Gid) != c.gid { // first, since it clears bits of the mode
		if err := h.chgrp(c.gid); err != nil {
			h.close()
			return h, inodeID{}, c.fail("set the pipe's group", err)
		}
	}
	if err := h.chmod(c.mode); err != nil {
		h.close()
		return h, inodeID{}, c.fail("set the pipe's mode", err)
	}
	return h, idOf(&st), nil
}

// removePath removes the path if it is still the inode id, and lets the lock go.
// A file that somebody else puts there at the very moment is not touched: the
// name is moved aside first, looked at, and put back if it is not ours.
//
// Where a handle needs a name to open the pipe, the pipe keeps the hidden one
// and its caller removes it in the end.
func (c *claim) removePath(h *handle, id inodeID) {
	defer c.lock.release()
	if lstatID(c.path) != id {
		return
	}
	aside := c.hidden("aside")
	if err := unix.Rename(c.path, aside); err != nil {
		if err == unix.ENOENT {
			return
		}
		// No room for the longer name: the plain way is all there is.
		if lstatID(c.path) == id {
			_ = unix.Unlink(c.path)
		}
		return
	}
	if lstatID(aside) != id {
		_ = renameNoReplace(aside, c.path)
		return
	}
	if needsName {
		h.moved(aside)
		return
	}
	_ = unix.Unlink(aside)
}

// removeFIFO removes name if it is a FIFO of ours.
func removeFIFO(name string) {
	var st unix.Stat_t
	if unix.Lstat(name, &st) == nil && fileMode(&st) == unix.S_IFIFO && int(st.Uid) == os.Geteuid() {
		_ = unix.Unlink(name)
	}
}

func (c *claim) refuse(kind Kind, reason, hint string) *PathError {
	return &PathError{Path: c.given, Kind: kind, Reason: reason, Hint: hint}
}

// fail turns an error of the system into one that says what was tried.
func (c *claim) fail(tried string, err error) error {
	var pe *PathError
	if errors.As(err, &pe) {
		return pe
	}
	kind := errnoKind(err)
	hint := ""
	if kind == Unsupported {
		hint = "choose a folder on a local file system"
	}
	return &PathError{Path: c.given, Kind: kind, Reason: "cannot " + tried, Hint: hint, Err: err}
}

func lookUpGroup(name string) (int, error) {
	if gid, err := strconv.Atoi(name); err == nil && gid >= 0 {
		return gid, nil
	}
	g, err := user.LookupGroup(name)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(g.Gid)
}

// watchName calls changed whenever the name of a watched inode may have changed,
// with inotify if the system has some left, else twice a second. changed must
// look for itself.
type nameWatch struct {
	w    *watch
	stop chan struct{}
	done chan struct{}
}

func watchName(changed func()) *nameWatch {
	n := &nameWatch{w: newWatch(changed), stop: make(chan struct{}), done: make(chan struct{})}
	if n.w == nil {
		go n.tick(changed)
	} else {
		close(n.done)
	}
	return n
}

func (n *nameWatch) tick(changed func()) {
	defer close(n.done)
	t := time.NewTicker(500 * time.Millisecond)
	defer t.Stop()
	for {
		select {
		case <-n.stop:
			return
		case <-t.C:
			changed()
		}
	}
}

// add watches h's inode and returns what remove takes.
func (n *nameWatch) add(h *handle) int {
	if n.w == nil {
		return -1
	}
	wd, err := n.w.add(h)
	if err != nil {
		return -1
	}
	return wd
}

func (n *nameWatch) remove(wd int) {
	if n.w != nil && wd >= 0 {
		n.w.remove(wd)
	}
}

// close returns when changed will not be called any more; it must not be called
// from changed, nor under a lock that changed takes.
func (n *nameWatch) close() {
	close(n.stop)
	if n.w != nil {
		n.w.close()
	}
	<-n.done
}
