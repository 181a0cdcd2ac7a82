//go:build linux || darwin

package pipe

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// A Tap lets other processes read frames from a named pipe, one reader's session
// at a time. Create it with [CreateTap], run it with Serve.
//
// Its parts: the door (door_unix.go) waits for readers and gives each a pipe of
// its own; Serve hands these visits, in order, to the session (session_unix.go),
// which writes the frames that the fetcher gets from the source.
type Tap struct {
	claim *claim
	opts  TapOptions
	watch *nameWatch
	acc   notifier // reads from the session's pipe

	wake   *waker
	wakeFD int

	stopping chan struct{} // closed when a stop begins
	doorDone chan struct{} // closed when the door has gone
	finished chan struct{} // closed when everything is freed
	finish   sync.Once
	retiring sync.WaitGroup
	hard     atomic.Bool // give up sessions at once

	drain, drainAll time.Duration // stopDrain and stopDrainAll

	// mu guards the name, its inode and the queue. The door's exchange, the look
	// whether the path is still ours, and the removal exclude each other: our own
	// exchange would look like a stranger's otherwise.
	mu      sync.Mutex
	cur     *inode // at the path
	spare   *inode // ready under the hidden name, or nil
	queue   []*visit
	ctx     context.Context // of Serve, nil before
	src     Source
	stopped bool
	err     error // what ended it, if not Stop

	sessions, frames, bytes atomic.Int64
}

// An inode is one FIFO of a tap.
type inode struct {
	handle handle
	id     inodeID
	w      int // our write end, non-blocking; -1 when closed
	wd     int // its watch
}

// A visit is a reader, or several that opened at the same instant.
type visit struct {
	*inode
	over chan struct{} // closed after its session; for the door of one inode

	// set under Tap.mu
	ready bool // end is known
	end   Mark // nil: follow
}

// CreateTap creates the pipe at path, or takes over one that a killed process
// left. From here on readers find it; they wait until Serve runs. Its error is a
// *PathError, and then nothing at path has been touched.
//
// The caller must Close the Tap, or Serve until it returns.
func CreateTap(path string, o TapOptions) (*Tap, error) {
	if o.PipeSize == 0 {
		o.PipeSize = DefaultPipeSize
	}
	if o.Notice == nil {
		o.Notice = func(string) {}
	}
	c, err := claimPath(path, o.Mode, o.Group)
	if err != nil {
		return nil, err
	}
	if c.found == foundRegular {
		c.lock.release()
		return nil, c.refuse(Exists, "is a regular file", "choose another path, or remove it")
	}
	t := &Tap{
		claim: c, opts: o,
		stopping: make(chan struct{}), doorDone: make(chan struct{}), finished: make(chan struct{}),
		drain: stopDrain, drainAll: stopDrainAll,
	}
	if err := t.create(); err != nil {
		c.lock.release()
		return nil, err
	}
	return t, nil
}

func (t *Tap) create() (err error) {
	c := t.claim
	if t.wake, t.wakeFD, err = newWaker(); err != nil {
		return c.fail("wait on the pipe", err)
	}
	t.acc = newNotifier()
	t.watch = watchName(t.nameChanged)
	defer func() {
		if err != nil {
			t.watch.close()
			t.acc.close()
			t.wake.close()
		}
	}()
	t.decideForm()
	found := c.found == foundFIFO
	cur, err := t.newInode(c.path, !found)
	if err != nil {
		return err
	}
	if !t.opts.OneInode {
		if t.spare, err = t.newInode(c.hidden("spare"), true); err != nil {
			t.discard(cur)
			if !found {
				removeFIFO(c.path)
			}
			return err
		}
	}
	t.mu.Lock()
	t.cur = cur
	t.mu.Unlock()
	if found {
		t.opts.Notice("took over the pipe " + c.given + ", which was there already and served by nobody")
	}
	if t.opts.OneInode {
		go t.oneDoor()
	} else {
		go t.door()
	}
	t.nameChanged() // whatever happened before the watch was there
	return nil
}

// decideForm falls back to one inode where names cannot be exchanged.
func (t *Tap) decideForm() {
	if t.opts.OneInode {
		return
	}
	err := errors.ErrUnsupported
	if canExchange {
		err = tryExchange(t.claim.hidden("spare"), t.claim.hidden("probe"))
	}
	if err != nil {
		t.opts.OneInode = true
		t.opts.Notice(fmt.Sprintf("%s: one pipe for all readers, since names cannot be exchanged here (%v)", t.claim.given, err))
	}
}

func tryExchange(a, b string) error {
	defer removeFIFO(a)
	defer removeFIFO(b)
	for _, name := range []string{a, b} {
		if err := unix.Mkfifo(name, 0o600); err != nil {
			return err
		}
	}
	return renameExchange(a, b)
}

// newInode makes the FIFO at name ready, having created it if create is set.
//
// Its write end is held from the start, so that no reader blocks in open; it can
// be opened without blocking only while there is a read end. With one inode
// there is no write end before a reader is there.
func (t *Tap) newInode(name string, create bool) (*inode, error) {
	c := t.claim
	in := &inode{w: -1}
	var err error
	if create {
		in.handle, in.id, err = c.makeFIFO(name)
	} else {
		in.handle, in.id, err = c.takeFIFO(name)
	}
	if err != nil {
		return nil, err
	}
	if !t.opts.OneInode {
		if in.w, err = openWriteEnd(&in.handle); err != nil {
			in.handle.close()
			if create {
				removeFIFO(name)
			}
			return nil, c.fail("open the pipe for writing", err)
		}
		setPipeSize(in.w, t.opts.PipeSize)
	}
	in.wd = t.watch.add(&in.handle)
	return in, nil
}

func openWriteEnd(h *handle) (int, error) {
	r, err := h.open(unix.O_RDONLY | unix.O_NONBLOCK)
	if err != nil {
		return -1, err
	}
	w, err := h.open(unix.O_WRONLY | unix.O_NONBLOCK)
	unix.Close(r)
	return w, err
}

// discard frees an inode without a name.
func (t *Tap) discard(in *inode) {
	in.closeW()
	t.watch.remove(in.wd)
	in.handle.close()
}

func (in *inode) closeW() {
	if in.w >= 0 {
		unix.Close(in.w)
		in.w = -1
	}
}

// release lets a reader that is blocked in open go on, to find the end.
func (in *inode) release() {
	if w, err := in.handle.open(unix.O_WRONLY | unix.O_NONBLOCK); err == nil {
		unix.Close(w)
	}
}

// nameChanged stops the tap if the path is not ours any more.
func (t *Tap) nameChanged() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.cur != nil && !t.stopped && lstatID(t.claim.path) != t.cur.id {
		t.stopLocked(nil)
	}
}

// Stopping is closed when a stop begins: because of Stop, of Serve's context or
// of an error, or because the path was removed or renamed.
func (t *Tap) Stopping() <-chan struct{} { return t.stopping }

// Stats returns the counts so far.
func (t *Tap) Stats() TapStats {
	return TapStats{Sessions: t.sessions.Load(), Frames: t.frames.Load(), Bytes: t.bytes.Load()}
}

// Stop ends the tap in order and returns at once; Serve returns when it is done.
// The path is removed if it is still ours. The present session finishes its
// record and waits for its reader, but not for one that makes no progress: a
// second to finish a record that does not fit, a fifth of one to take what is in
// the pipe. Other readers find the end.
func (t *Tap) Stop() { t.stop(nil) }

func (t *Tap) stop(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopLocked(err)
}

func (t *Tap) stopLocked(err error) {
	if t.stopped {
		return
	}
	t.stopped, t.err = true, err
	if t.spare != nil {
		removeFIFO(t.claim.hidden("spare"))
	}
	t.claim.removePath(&t.cur.handle, t.cur.id) // lets the lock go: the hidden names are the successor's then
	close(t.stopping)
	t.wake.wake()
}

// Serve gives readers what src has, until Stop, the end of ctx (which is a Stop),
// the removal of the path, or an error of src, which it returns. It runs once.
// When it returns, the pipe and its resources are gone and src is not used any
// more.
func (t *Tap) Serve(ctx context.Context, src Source) error {
	t.mu.Lock()
	if t.src != nil {
		t.mu.Unlock()
		panic("pipe: Tap.Serve called twice")
	}
	// Calls of src end when we return, not when ctx does: a stop is in order.
	sctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	t.ctx, t.src = sctx, src
	for _, v := range t.queue {
		t.askEnd(v)
	}
	t.mu.Unlock()
	defer context.AfterFunc(ctx, t.Stop)()

	s := newSessions(sctx, t, src)
	for {
		v := t.nextVisit(s)
		if v == nil {
			break
		}
		s.serve(v)
		t.retire(v)
	}
	cancel()
	s.close()
	t.end()
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// nextVisit waits for a reader; nil when the tap stops.
func (t *Tap) nextVisit(s *sessions) *visit {
	fds := []unix.PollFd{{Fd: int32(t.wakeFD), Events: unix.POLLIN}}
	for {
		t.mu.Lock()
		if t.stopped {
			t.mu.Unlock()
			return nil
		}
		if len(t.queue) > 0 {
			v := t.queue[0]
			t.queue = t.queue[1:]
			t.mu.Unlock()
			return v
		}
		t.mu.Unlock()
		if err := s.fetch.failed(); err != nil {
			t.stop(err)
			continue
		}
		poll(fds, -1)
		t.wake.clear(t.wakeFD)
	}
}

// enqueue is called with mu held.
func (t *Tap) enqueue(v *visit) {
	t.queue = append(t.queue, v)
	if t.src != nil {
		t.askEnd(v)
	}
	t.wake.wake()
}

// askEnd finds out where the visit ends: at the end of the stream as it is now.
// It does not hold up the door, since a broker may take its time. It is called
// with mu held.
func (t *Tap) askEnd(v *visit) {
	if t.opts.Follow {
		v.ready = true
		return
	}
	ctx, src := t.ctx, t.src
	t.retiring.Add(1)
	go func() {
		defer t.retiring.Done()
		end, err := src.End(ctx)
		t.mu.Lock()
		defer t.mu.Unlock()
		if err != nil {
			if ctx.Err() == nil {
				t.stopLocked(fmt.Errorf("find the end of the stream: %w", err))
			}
			return
		}
		v.ready, v.end = true, end
		t.wake.wake()
	}()
}

// retire is the end of a visit. Its inode has lost its name when the reader came,
// but a process that had looked the name up before may only now open it: it is
// let go, with nothing, at some later instants.
func (t *Tap) retire(v *visit) {
	v.closeW()
	if v.over != nil {
		close(v.over)
		return
	}
	t.watch.remove(v.wd)
	t.retiring.Add(1)
	go func() {
		defer t.retiring.Done()
		defer v.handle.close()
		for _, after := range []time.Duration{5 * time.Millisecond, 45 * time.Millisecond, 450 * time.Millisecond} {
			select {
			case <-time.After(after):
				v.release()
			case <-t.stopping:
				v.release()
				return
			}
		}
	}()
}

// end frees everything after a stop: it lets all readers find their end.
func (t *Tap) end() {
	t.finish.Do(func() {
		t.mu.Lock() // nothing is queued after a stop
		queue := t.queue
		t.queue = nil
		t.mu.Unlock()
		for _, v := range queue {
			t.retire(v)
		}
		t.dismissDoor()
		t.cur.closeW()
		for i := range 5 { // look-ups in flight, as in flux
			t.cur.release()
			time.Sleep(time.Duration(i+1) * time.Millisecond)
		}
		t.cur.release()
		t.retiring.Wait()
		if needsName {
			removeFIFO(t.claim.hidden("aside"))
		}
		t.discard(t.cur)
		if t.spare != nil {
			t.discard(t.spare)
		}
		t.watch.close()
		t.acc.close()
		t.wake.close()
		close(t.finished)
	})
}

// dismissDoor ends the door, which sleeps in an open that only a reader ends: us.
func (t *Tap) dismissDoor() {
	for {
		if r, err := t.cur.handle.open(unix.O_RDONLY | unix.O_NONBLOCK); err == nil {
			unix.Close(r)
		}
		select {
		case <-t.doorDone:
			return
		case <-time.After(time.Millisecond):
		}
	}
}

// Close is Stop without waiting for any reader; it returns when the tap has
// ended. It does nothing after that.
func (t *Tap) Close() error {
	t.hard.Store(true)
	t.Stop()
	t.wake.wake()
	t.mu.Lock()
	serving := t.src != nil
	t.mu.Unlock()
	if serving {
		<-t.finished
		return nil
	}
	t.end()
	return nil
}
