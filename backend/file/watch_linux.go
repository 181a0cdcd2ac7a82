package file

import (
	"encoding/binary"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// A watcher turns inotify events into calls. There is one inotify instance,
// opened with the first user and closed with the last one, and one goroutine
// that reads it, parked in Go's poller.
//
// Watches are one-shot: a busy log then costs a reader that keeps up one event
// each time it sleeps, and a reader that never sleeps none. The order that
// loses nothing is: arm, look for news, sleep.
//
// The kernel queues the event of a one-shot watch and removes the watch after
// that. Whoever arms in between is given the dying watch's number. That costs
// nothing, since IN_IGNORED, which the removal queues, wakes everybody who has
// that number by then, as any event does.
type watcher struct {
	mu   sync.Mutex
	refs int
	f    *os.File
	fd   int
	done chan struct{} // closed when the goroutine has ended
	byID map[int32]map[*watch]struct{}
}

// acquire keeps the watcher open until release. Its error says that polling is
// all there is.
func (w *watcher) acquire() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.refs > 0 {
		w.refs++
		return nil
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return os.NewSyscallError("inotify_init1", err)
	}
	w.refs, w.fd = 1, fd
	w.f = os.NewFile(uintptr(fd), "inotify")
	w.byID = make(map[int32]map[*watch]struct{})
	w.done = make(chan struct{})
	go w.read(w.f, w.done)
	return nil
}

// release gives back what acquire got.
func (w *watcher) release() {
	w.mu.Lock()
	w.refs--
	if w.refs > 0 {
		w.mu.Unlock()
		return
	}
	done := w.done
	w.f.Close()
	w.f, w.byID = nil, nil
	w.mu.Unlock()
	<-done
}

func (w *watcher) arm(t *watch, f *os.File) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.f == nil {
		return os.ErrClosed
	}
	if t.on {
		return nil
	}
	// The descriptor's own link names the very file that is open, whatever
	// happened to its path.
	n, err := unix.InotifyAddWatch(w.fd, fmt.Sprintf("/proc/self/fd/%d", f.Fd()), unix.IN_MODIFY|unix.IN_ONESHOT)
	if err != nil {
		return os.NewSyscallError("inotify_add_watch", err)
	}
	id := int32(n)
	set := w.byID[id]
	if set == nil {
		set = make(map[*watch]struct{})
		w.byID[id] = set
	}
	set[t] = struct{}{}
	t.on, t.id = true, id
	return nil
}

// disarm returns once wake will not be called any more.
func (w *watcher) disarm(t *watch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !t.on || w.f == nil {
		return
	}
	t.on = false
	set := w.byID[t.id]
	delete(set, t)
	if len(set) == 0 {
		delete(w.byID, t.id)
		_, _ = unix.InotifyRmWatch(w.fd, uint32(t.id)) // it may have fired in the meantime
	}
}

func (w *watcher) read(f *os.File, done chan struct{}) {
	defer close(done)
	buf := make([]byte, 4096)
	for {
		n, err := f.Read(buf)
		if err != nil {
			return // closed
		}
		w.mu.Lock()
		if w.f != f {
			w.mu.Unlock()
			return
		}
		// struct inotify_event: wd, mask, cookie and len of 32 bits each, then
		// a name of len bytes (inotify(7)).
		for b := buf[:n]; len(b) >= unix.SizeofInotifyEvent; {
			id, mask, name := int32(binary.NativeEndian.Uint32(b)), binary.NativeEndian.Uint32(b[4:]), binary.NativeEndian.Uint32(b[12:])
			if mask&unix.IN_Q_OVERFLOW != 0 {
				for id := range w.byID {
					w.fire(id)
				}
			} else {
				w.fire(id)
			}
			b = b[min(len(b), unix.SizeofInotifyEvent+int(name)):]
		}
		w.mu.Unlock()
	}
}

func (w *watcher) fire(id int32) {
	set := w.byID[id]
	delete(w.byID, id)
	for t := range set {
		t.on = false
		t.wake()
	}
}
