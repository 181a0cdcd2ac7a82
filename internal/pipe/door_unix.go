//go:build linux || darwin

package pipe

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// door waits for readers and gives each an inode of its own.
//
// It sleeps in a blocking open for writing: the kernel holds that back until the
// number of read opens changes, even while another write end is held. At once it
// exchanges the path with the spare, so that the next reader finds a fresh pipe.
func (t *Tap) door() {
	defer close(t.doorDone)
	for t.waitReader(t.cur) && t.letIn() {
	}
}

// waitReader reports whether a reader has come; it is false when the tap stops.
func (t *Tap) waitReader(in *inode) bool {
	for {
		fd, err := in.handle.open(unix.O_WRONLY)
		if err == nil {
			unix.Close(fd)
			select {
			case <-t.stopping:
				return false
			default:
				return true
			}
		}
		// No descriptor is free, or the system is out of memory: for a while.
		select {
		case <-t.stopping:
			return false
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// letIn exchanges the path with the spare, queues the visit and makes the next
// spare ready.
func (t *Tap) letIn() bool {
	if !t.exchange() {
		return false
	}
	said := false
	for {
		going, err := t.makeSpare()
		if err == nil {
			return going
		}
		if !said {
			said = true
			t.opts.Notice(fmt.Sprintf("readers have to wait: %v", err))
		}
		select {
		case <-t.stopping:
			return false
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// makeSpare makes the next spare ready. It reports false when the tap has stopped:
// from then on the hidden name is the successor's.
func (t *Tap) makeSpare() (going bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stopped {
		return false, nil
	}
	if t.spare, err = t.newInode(t.claim.hidden("spare"), true); err != nil {
		removeFIFO(t.claim.hidden("spare"))
	}
	return true, err
}

func (t *Tap) exchange() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stopped {
		return false
	}
	old, path, spare := t.cur, t.claim.path, t.claim.hidden("spare")
	if err := renameExchange(spare, path); err != nil {
		if err != unix.ENOENT { // else somebody removed the path
			err = t.claim.fail("exchange the pipe for the next reader", err)
			t.stopLocked(fmt.Errorf("%w (one pipe for all readers needs no exchange: --one-inode)", err))
			return false
		}
		t.stopLocked(nil)
		return false
	}
	if lstatID(spare) != old.id {
		// What came out is a stranger's: it goes back, and we go.
		_ = renameExchange(spare, path)
		t.stopLocked(nil)
		return false
	}
	_ = unix.Unlink(spare)
	t.cur, t.spare = t.spare, nil
	t.enqueue(&visit{inode: old})
	return true
}

// oneDoor is the door of the one inode: a visit is over before the next begins.
//
// After a visit its reader may be still there, for a moment or for good. Waiting
// for it to leave could keep a new reader, which we cannot tell from it, waiting
// for ever; so whoever is there gets what has arrived since, and the end again,
// ever more rarely while nothing arrives.
func (t *Tap) oneDoor() {
	defer close(t.doorDone)
	const first, last = time.Millisecond, time.Second
	pause := time.Duration(0)
	for {
		flags := unix.O_WRONLY
		if pause > 0 {
			select {
			case <-t.stopping:
				return
			case <-time.After(pause):
			}
			flags |= unix.O_NONBLOCK
		}
		w, err := t.cur.handle.open(flags)
		if err == unix.ENXIO { // nobody is there
			pause = 0
			continue
		}
		if err != nil {
			pause = last
			continue
		}
		_ = unix.SetNonblock(w, true)
		setPipeSize(w, t.opts.PipeSize)
		v := &visit{inode: &inode{handle: t.cur.handle, id: t.cur.id, w: w, wd: -1}, over: make(chan struct{})}
		before := t.frames.Load()
		t.mu.Lock()
		if t.stopped {
			t.mu.Unlock()
			unix.Close(w)
			return
		}
		t.enqueue(v)
		t.mu.Unlock()
		<-v.over // also when the tap stops
		if t.frames.Load() != before || pause == 0 {
			pause = first
		} else {
			pause = min(2*pause, last)
		}
	}
}
