//go:build linux || darwin

package pipe

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// sessions is the engine of Serve: it serves one visit after the other, and keeps
// between them the frames that no reader took. It is one thread in poll(2).
type sessions struct {
	t     *Tap
	ctx   context.Context
	src   Source
	win   window
	fetch *fetcher
}

func newSessions(ctx context.Context, t *Tap, src Source) *sessions {
	return &sessions{t: t, ctx: ctx, src: src, fetch: newFetcher(ctx, src, t.wake.wake)}
}

func (s *sessions) close() { s.fetch.close() }

// atomicWrite is the size up to which a write into a pipe is all or nothing, and
// surely possible when poll says that the pipe is writable: PIPE_BUF of Linux. So
// smaller records are never cut, wherever a session ends.
const atomicWrite = 4096

const (
	// stopRecord is how long, when stopping, a reader may make no progress while
	// a record of which it has a part does not fit the pipe.
	stopRecord = time.Second
	// stopDrain is how long it may make none while it has whole records before it,
	// and stopDrainAll how long it may take for all of them.
	stopDrain    = 200 * time.Millisecond
	stopDrainAll = 2 * time.Second
)

// A session is one visit being served.
type session struct {
	*sessions
	v       *visit
	size    int   // of the pipe
	reached bool  // the source has nothing more before the visit's end
	err     error // of the source: the session ends with what is there
	pending int   // unread bytes at the last look
	left    bool  // the reader has left
	stats   SessionStats

	armed bool // inotify will tell when somebody reads
	wd    int
	fired bool          // it has told, and that was not all
	pause time.Duration // the next wait, in case it does not tell

	stopAt   time.Time // when this session learned of the stop
	progress time.Time // the last thing the reader read
}

// serve serves the visit to its end. Its caller closes the pipe.
func (s *sessions) serve(v *visit) {
	if !s.awaitEnd(v) {
		return
	}
	t := s.t
	if t.opts.Session != Resume {
		s.fetch.stop()
		s.win.clear()
		if err := s.seek(); err != nil {
			t.stop(fmt.Errorf("go to where the session begins: %w", err))
			return
		}
	}
	s.win.begin(t.opts.PerOpen)
	se := &session{sessions: s, v: v, size: pipeSize(v.w)}
	se.run()
	if se.armed {
		t.acc.disarm(se.wd)
	}
	se.stats.Unread, se.stats.Left = int64(se.pending), se.left
	if se.err != nil {
		t.stop(se.err)
	}
	t.sessions.Add(1)
	if t.opts.SessionEnd != nil {
		t.opts.SessionEnd(se.stats)
	}
}

// seek moves the source to where a session begins. That may take a broker's time;
// a stop does not wait for it.
func (s *sessions) seek() error {
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	go func() {
		select {
		case <-s.t.stopping:
			cancel()
		case <-ctx.Done():
		}
	}()
	return s.src.Seek(ctx, s.t.opts.Session)
}

// awaitEnd waits until the visit's end is known; it reports false if the reader
// has left by then, which includes every look at the path that is no reader, or
// if the tap stops.
func (s *sessions) awaitEnd(v *visit) bool {
	t := s.t
	fds := []unix.PollFd{{Fd: int32(v.w)}, {Fd: int32(t.wakeFD), Events: unix.POLLIN}}
	for {
		t.mu.Lock()
		ready, stopped := v.ready, t.stopped
		t.mu.Unlock()
		if stopped || gone(v.w) {
			return false
		}
		if ready {
			return true
		}
		poll(fds, -1)
		t.wake.clear(t.wakeFD)
	}
}

// gone says that the pipe behind w has no reader.
func gone(w int) bool {
	fds := [1]unix.PollFd{{Fd: int32(w)}}
	poll(fds[:], 0)
	return fds[0].Revents&(unix.POLLERR|unix.POLLHUP|unix.POLLNVAL) != 0
}

func (s *session) run() {
	for {
		s.account()
		if s.left || s.t.hard.Load() || s.stopping() && s.stopped() {
			return
		}
		s.collect()
		if s.write() || s.left {
			continue
		}
		if s.done() && s.pending == 0 {
			return
		}
		s.wait()
	}
}

// account finds out what the reader has taken. The order of the two looks is what
// makes it exact: once nobody can read any more, what is unread stays so. The
// other way round a reader could take more and leave between the two, and what it
// took would be sent again.
func (s *session) account() {
	s.left = s.left || gone(s.v.w)
	pending := s.unread()
	if pending < s.pending {
		s.progressed()
	}
	s.pending = pending
	frames, bytes := s.win.took(s.win.written() - pending)
	if frames > 0 {
		s.stats.Frames += int64(frames)
		s.stats.Bytes += int64(bytes)
		s.t.frames.Add(int64(frames))
		s.t.bytes.Add(int64(bytes))
		s.src.Taken(frames)
	}
}

func (s *session) unread() int { return unread(s.v.w) }

// done says that all of the session's frames are written.
func (s *session) done() bool {
	return s.win.spent() || s.reached && s.win.next(atomicWrite) == nil
}

// collect takes what the source has given and asks for more, so that one batch is
// being fetched while another is written.
func (s *session) collect() {
	if res, ok := s.fetch.result(); ok {
		s.win.add(&s.fetch.batch)
		if res.err != nil {
			s.err = res.err
			s.reached = true
		} else if res.done && res.v == s.v {
			s.reached = true // and not an earlier visit's end
		}
	}
	if !s.reached && !s.win.spent() && !s.fetch.busy && s.win.waiting() < batchFull && !s.stopping() {
		s.fetch.start(s.v)
	}
}

// write writes what the pipe has room for and reports whether it wrote anything.
func (s *session) write() (wrote bool) {
	pending := s.pending
	for {
		p := s.win.next(max(s.room(pending), atomicWrite))
		if s.stopping() {
			p = s.win.cut()
		}
		if p == nil {
			return wrote
		}
		n, err := write(s.v.w, p)
		if n > 0 {
			s.win.sent += n
			pending += n
			wrote = true
			if s.stopping() {
				s.progressed()
			}
			continue
		}
		if errors.Is(err, unix.EPIPE) {
			s.left = true
		} else if err != unix.EAGAIN {
			s.t.stop(fmt.Errorf("%s: write: %w", s.t.claim.given, err))
		}
		return wrote
	}
}

// room is how many bytes surely fit a pipe with pending unread bytes, so that a
// write of them is whole. The pipe is a ring of pages; each write may leave its
// last page partly empty, but no two neighbours are less than half full together,
// and the reader may have begun the first.
func (s *session) room(pending int) int {
	const page = 4096
	return s.size - (2*pending/page+2)*page
}

// wait sleeps until there is something to do.
func (s *session) wait() {
	t := s.t
	fds := [3]unix.PollFd{{Fd: int32(s.v.w)}, {Fd: int32(t.wakeFD), Events: unix.POLLIN}, {Fd: -1}}
	timeout := time.Duration(-1)
	stopping := s.stopping()
	switch {
	case s.win.next(atomicWrite) != nil && !stopping, stopping && s.win.cut() != nil:
		fds[0].Events = unix.POLLOUT
	case s.pending > 0:
		timeout = s.awaitRead(&fds[2])
	}
	if stopping && (timeout < 0 || timeout > 20*time.Millisecond) {
		timeout = 20 * time.Millisecond // for the limits of stopped
	}
	poll(fds[:], timeout)
	if fds[1].Revents != 0 {
		t.wake.clear(t.wakeFD)
	}
	if fds[2].Revents != 0 {
		s.armed, s.fired = false, true
	}
}

// awaitRead prepares to wait for the moment when the reader has taken everything
// and returns for how long at most. inotify tells of one read at a time, asked
// for each time, so that it costs nothing while frames flow. A reader that takes
// single bytes would wake us for each of them; so after a read that was not the
// last we look away for a moment.
func (s *session) awaitRead(fd *unix.PollFd) time.Duration {
	first, last := time.Millisecond, 50*time.Millisecond
	if s.fired {
		s.fired = false
		return first
	}
	acc := s.t.acc
	if !s.armed {
		acc.clear()
		s.wd, s.armed = acc.armRead(&s.v.handle)
	}
	if s.armed {
		if s.unread() != s.pending { // it read before we asked
			return 0
		}
		*fd = unix.PollFd{Fd: int32(acc.fd), Events: unix.POLLIN}
		first, last = 50*time.Millisecond, time.Second
	}
	s.pause = min(max(2*s.pause, first), last)
	return s.pause
}

// progressed notes that the reader has read something.
func (s *session) progressed() {
	s.pause = 0
	if !s.stopAt.IsZero() {
		s.progress = time.Now()
	}
}

func (s *session) stopping() bool {
	select {
	case <-s.t.stopping:
		return true
	default:
		return false
	}
}

// stopped says, while the tap stops, whether the session is to end now.
func (s *session) stopped() bool {
	now := time.Now()
	if s.stopAt.IsZero() {
		s.stopAt, s.progress = now, now
	}
	idle := now.Sub(s.progress)
	if s.win.cut() == nil {
		return s.pending == 0 || idle > s.t.drain || now.Sub(s.stopAt) > s.t.drainAll
	}
	if idle <= stopRecord {
		return false
	}
	s.t.opts.Notice(fmt.Sprintf("%s: its reader has only a part of the last record; it is sent again, whole, next time", s.t.claim.given))
	return true
}

func (v *visit) until() Mark { return v.end }
