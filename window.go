package seastreamer

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

// A window holds what was delivered of one shard in one generation and is not
// done: it turns acknowledgements in any order into one position. When the
// shard is revoked or sought the window dies and a new one takes its place, so
// that a stale acknowledgement finds a dead window.
//
// mu covers acknowledgements and snapshots only; the network commit is
// serialised by Consumer.committing.
type window struct {
	c        *Consumer
	shard    Shard
	gen      uint64
	explicit bool // AckExplicit
	settles  bool // the backend wants verdicts, see settle.go
	lost     chan struct{}

	// closing: no further deliveries, since it is being revoked or dead. It is
	// set under mu and read without: the queue is locked under mu, and asks this.
	closing atomic.Bool

	mu      sync.Mutex
	dead    bool
	queue   []*Batch // delivered and not settled, in order of delivery
	at      Seq      // everything below is done, as far as queue is popped
	stored  bool     // at least one commit has succeeded
	last    Seq      // what it stored
	held    map[Message]*held
	given   []run         // verdicts to be stored, see settle.go
	undone  int           // with AckExplicit: delivered messages that are not done
	drained chan struct{} // closed when undone falls to 0; nil unless somebody waits
}

// held is a nacked message on its way back.
type held struct {
	attempts int32
	waiting  bool // nacked and not delivered again yet
	size     int
	timer    *time.Timer
}

func newWindow(c *Consumer, p Position, gen uint64) *window {
	return &window{c: c, shard: p.Shard, gen: gen, at: p.Next, explicit: c.cfg.Ack == AckExplicit, settles: c.settler != nil, lost: make(chan struct{})}
}

// deliver takes a view into the window, unless that is dead or closing.
func (w *window) deliver(b *Batch) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closing.Load() {
		return false
	}
	if w.settles && b.Len() == 0 {
		b.settled = true
		return true
	}
	w.queue = append(w.queue, b)
	if w.explicit {
		w.undone += b.Len()
	}
	if w.c.cfg.Ack == AckOnDelivery {
		b.passed.Store(b.to)
	}
	w.pop()
	return true
}

// pop takes settled views off the front, where a position is kept. Under mu.
func (w *window) pop() {
	if w.settles {
		return
	}
	n := 0
	for _, b := range w.queue {
		if b.undone() < b.to || w.holds(b) >= 0 {
			break
		}
		w.at = b.next
		if w.c.unit == nil { // else the unit settles it
			b.settled = true
			b.unrefIfDone()
		}
		n++
	}
	w.queue = slices.Delete(w.queue, 0, n)
}

// holds is the lowest index of b that is held, or -1. Under mu.
func (w *window) holds(b *Batch) int32 {
	low := int32(-1)
	for m := range w.held {
		if m.b == b && (low < 0 || m.i < low) {
			low = m.i
		}
	}
	return low
}

// position is the first sequence that is not done.
func (w *window) position() Seq {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pop()
	if len(w.queue) == 0 {
		return w.at
	}
	b := w.queue[0]
	u := b.undone()
	if h := w.holds(b); h >= 0 {
		u = min(u, h)
	}
	if u == b.from {
		return w.at
	}
	return b.d.Seq(int(u))
}

func (w *window) ack(m Message) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.dead {
		w.ackLocked(m)
	}
}

func (w *window) ackAll(b *Batch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dead {
		return
	}
	for m := range b.Messages() {
		w.ackLocked(m)
	}
}

func (w *window) ackLocked(m Message) {
	if m.b.of != nil {
		m.b.passed.Store(m.b.to)
		m.b = m.b.of
	}
	if h := w.held[m]; h != nil {
		w.free(m, h)
	}
	switch {
	case !w.explicit:
		// Only the message that the loop has in hand can be acknowledged ahead
		// of the advance.
		m.b.passed.CompareAndSwap(m.i, m.i+1)
	case m.b.setAcked(m.i):
		if w.settles {
			w.give(m.b, m.i, m.i+1, driver.VerdictAck, time.Time{})
		}
		w.undone--
		if w.undone == 0 && w.drained != nil {
			close(w.drained)
			w.drained = nil
		}
		if m.b.ackedUpTo == m.b.to {
			w.pop()
		}
	}
}

// free forgets a held message, which is done. Under mu.
func (w *window) free(m Message, h *held) {
	if h.timer != nil {
		h.timer.Stop()
	}
	delete(w.held, m)
	w.c.queue.unhold(h.size)
}

// advance is what asking for the next message means to the one before: b is a
// view of which the loop has passed everything.
func (w *window) advance(b *Batch) {
	if b.of == nil {
		if w.settles {
			w.mu.Lock()
			w.collect(b)
			w.mu.Unlock()
		}
		return // passed says it already
	}
	// A redelivered message is done, unless the body nacked it once more.
	w.mu.Lock()
	defer w.mu.Unlock()
	m := Message{b.of, b.from}
	if h := w.held[m]; h != nil && !h.waiting && !w.dead && !w.explicit {
		w.free(m, h)
	}
}

func (w *window) nack(m Message, after time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dead || w.c.cfg.Ack == AckOnDelivery {
		return
	}
	if m.b.of != nil {
		m.b = m.b.of
	}
	if w.settles {
		// Handed back for good: the broker delivers it again, to anybody.
		if !w.isDone(m) && m.b.setAcked(m.i) {
			w.give(m.b, m.i, m.i+1, driver.VerdictNack, time.Now().Add(max(after, 0)))
		}
		return
	}
	h := w.held[m]
	if h == nil {
		if w.isDone(m) {
			return
		}
		h = &held{size: m.b.d.Size(int(m.i))}
		if w.held == nil {
			w.held = map[Message]*held{}
		}
		w.held[m] = h
		w.c.queue.hold(h.size)
	} else if h.waiting {
		return
	}
	h.attempts++
	h.waiting = true
	h.timer = time.AfterFunc(max(after, 0), func() { w.redeliver(m, h) })
}

// isDone reports whether a message that is not held is done. Under mu.
func (w *window) isDone(m Message) bool {
	return m.b.hasVerdict(m.i) || !w.explicit && m.i < m.b.passed.Load()
}

// redeliver queues a nacked message whose time has come as a batch of one.
func (w *window) redeliver(m Message, h *held) {
	w.mu.Lock()
	if w.dead || w.held[m] != h {
		w.mu.Unlock()
		return
	}
	// It holds the bytes for itself: the view that it came from gives them up
	// as soon as the message is done, and the application may still have it.
	b := &Batch{d: m.b.d, src: m.b.src, w: w, from: m.i, to: m.i + 1, start: m.i, pos: m.i, ackedUpTo: m.i, again: h.attempts, of: m.b, settled: true}
	b.passed.Store(m.i)
	b.src.refs.Add(1)
	w.mu.Unlock()
	w.c.queue.pushAgain(b)
}

// delivering says that a redelivered message is being handed over; it reports
// false when that has become pointless.
func (w *window) delivering(b *Batch) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := w.held[Message{b.of, b.from}]
	if w.closing.Load() || h == nil {
		return false
	}
	h.waiting = false
	return true
}

// close ends deliveries.
func (w *window) close() {
	w.mu.Lock()
	w.closing.Store(true)
	w.mu.Unlock()
}

func (w *window) isClosed() bool { return w.closing.Load() }

// waitDrained returns a channel that is closed once everything delivered is
// done, or nil when it is.
func (w *window) waitDrained() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.undone == 0 {
		return nil
	}
	if w.drained == nil {
		w.drained = make(chan struct{})
	}
	return w.drained
}

// kill ends the window: nothing that happens to its messages matters any more.
func (w *window) kill() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dead {
		return
	}
	w.dead = true
	w.closing.Store(true)
	for m, h := range w.held {
		w.free(m, h)
	}
	for _, b := range w.queue {
		b.settled = true
		b.unrefIfDone()
	}
	w.queue = nil
	w.given = nil
	if w.drained != nil {
		close(w.drained)
		w.drained = nil
	}
	close(w.lost)
}

// toCommit is the position to store, and whether it is not stored yet. A
// position where nothing was read yet is stored too: a new group that has read
// nothing must not resolve Latest again.
func (w *window) toCommit() (Position, bool) {
	p := w.position()
	w.mu.Lock()
	defer w.mu.Unlock()
	return Position{Shard: w.shard, Next: p}, !w.dead && (!w.stored || w.last != p)
}

// unsettled reports whether there is, or may be, something to store.
func (w *window) unsettled() bool {
	moved := false
	if !w.settles {
		_, moved = w.toCommit()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return moved || len(w.queue) > 0
}

func (w *window) committed(p Position) {
	w.mu.Lock()
	w.stored, w.last = true, p.Next
	w.mu.Unlock()
}
