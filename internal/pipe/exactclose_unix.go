//go:build linux || darwin

package pipe

import (
	"time"

	"golang.org/x/sys/unix"
)

// An exactClose closes a pipe such that every byte that the kernel accepted from
// a writer has been read. A plain close cannot: a write that succeeds between
// the last read and the close is lost without a sign to its writer.
//
// It opens a write end first, which keeps the pipe and its bytes alive, and then
// closes the read end. From there on every write fails with EPIPE, so what is
// unread is final. It is read through a read end that exists for that long only,
// which also lets processes blocked in open go on, and may let a few more bytes
// in; the next round gets those. The growing pauses are for fast writers to meet
// their EPIPE. It ends, by closing the write end, only when nobody can write and
// nothing is unread.
type exactClose struct {
	h       *handle
	w       int // our write end, -1 after the end
	r       int // the read end of the round
	rest    int // bytes to be read in this round
	round   int
	left    int // bytes given up
	begun   bool
	plain   *fifo // the pipe, where it cannot be opened again
	aborted bool
}

const (
	minRounds = 4  // for processes on their way through open
	maxRounds = 60 // about 2 s; only for writers that ignore EPIPE and write on
)

// begin closes in, the read end.
func (c *exactClose) begin(h *handle, in *fifo) {
	c.begun, c.h = true, h
	w, err := h.open(unix.O_WRONLY | unix.O_NONBLOCK)
	if err != nil {
		// Only where the inode cannot be reached without its name and somebody
		// has removed that, or without free descriptors: read what is there.
		c.w, c.plain = -1, in
		return
	}
	c.w = w
	in.close()
}

// read gives the next bytes; 0 at the end.
func (c *exactClose) read(p []byte) int {
	if c.plain != nil {
		return c.plain.readNow(p)
	}
	for c.w >= 0 {
		if c.rest > 0 {
			n, err := read(c.r, p[:min(len(p), c.rest)])
			if err != nil || n == 0 {
				n, c.rest = 0, 0
			}
			c.rest -= n
			if c.rest == 0 {
				c.endRound()
			}
			if n > 0 {
				return n
			}
			continue
		}
		n := unread(c.w)
		if c.round >= maxRounds || c.round >= minRounds && n == 0 {
			c.left = n
			c.finish()
			return 0
		}
		r, err := c.h.open(unix.O_RDONLY | unix.O_NONBLOCK)
		if err != nil { // no descriptor is free: wait for one
			c.pause()
			continue
		}
		c.r, c.rest = r, n
		if n == 0 {
			c.endRound()
		}
	}
	return 0
}

func (c *exactClose) endRound() {
	unix.Close(c.r)
	c.pause()
}

func (c *exactClose) pause() {
	c.round++
	time.Sleep(time.Duration(c.round) * time.Millisecond)
}

// abort ends at once, losing what is unread. It does nothing after the end.
func (c *exactClose) abort() {
	if c.begun && c.w < 0 && c.plain == nil {
		return
	}
	c.aborted = true
	if c.begun && c.w >= 0 {
		if c.rest > 0 {
			unix.Close(c.r)
		}
		c.finish()
	}
}

func (c *exactClose) finish() {
	unix.Close(c.w)
	c.w = -1
}
