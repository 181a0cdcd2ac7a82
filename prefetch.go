package seastreamer

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/seastreamer/seastreamer/driver"
)

// defaultPrefetch is ConsumerConfig.MaxBytes where that is zero. It bounds the
// memory of a consumer whose loop is slow; the loop needs one batch in hand
// and one on its way.
const defaultPrefetch = 2 << 20

// An item is what the fetch goroutine hands to the loop: a view, or an error.
type item struct {
	b   *Batch
	err error
}

// prefetch is the queue between the fetch goroutine and the loop. It is
// bounded in bytes; there is one item for up to a thousand messages, so that
// neither its lock nor its channel costs anything per message.
type prefetch struct {
	budget int
	ready  chan struct{} // capacity 1: something was pushed
	room   chan struct{} // capacity 1: something was taken

	mu     sync.Mutex
	items  []item
	again  []*Batch // redeliveries whose time has come; they go first
	bytes  int      // of items and of held messages
	nheld  int      // held messages
	out    int      // messages fetched that have no verdict stored, where verdicts are wanted
	paused bool     // nobody asks: fetch nothing until a loop begins
	failed bool     // the last item is an error: fetch nothing before the loop has seen it
	atEnd  bool     // a bounded source has ended, and the loop has seen it
}

func newPrefetch(budget int) *prefetch {
	if budget == 0 {
		budget = defaultPrefetch
	}
	return &prefetch{budget: budget, ready: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (q *prefetch) push(b *Batch) {
	q.mu.Lock()
	q.items = append(q.items, item{b: b})
	q.bytes += b.size
	if b.w.settles {
		q.out += b.Len()
	}
	q.mu.Unlock()
	signal(q.ready)
}

func (q *prefetch) pushErr(err error) {
	q.mu.Lock()
	q.items = append(q.items, item{err: err})
	var gap *GapError
	q.failed = !errors.As(err, &gap)
	q.mu.Unlock()
	signal(q.ready)
}

func (q *prefetch) pushAgain(b *Batch) {
	q.mu.Lock()
	q.again = append(q.again, b)
	q.mu.Unlock()
	signal(q.ready)
}

// pop takes what comes next.
func (q *prefetch) pop() (item, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.again) > 0 {
		b := q.again[0]
		q.again = slices.Delete(q.again, 0, 1)
		return item{b: b}, true
	}
	if len(q.items) == 0 {
		return item{}, false
	}
	it := q.items[0]
	q.items[0] = item{}
	q.items = q.items[1:]
	if it.b != nil {
		q.bytes -= it.b.size
	} else if errors.Is(it.err, io.EOF) {
		q.atEnd = true // and fetch no more, unless a Seek begins anew
	} else if len(q.items) == 0 {
		q.failed = false
	}
	signal(q.room)
	return it, true
}

// drop removes the views of windows that closed, which nobody has seen.
func (q *prefetch) drop() {
	q.mu.Lock()
	q.items = slices.DeleteFunc(q.items, func(it item) bool {
		if it.b == nil || !it.b.w.isClosed() {
			return false
		}
		q.bytes -= it.b.size
		it.b.src.unref()
		return true
	})
	q.mu.Unlock()
	signal(q.room)
}

// restart lets fetching go on after an error or an end, which a Seek of these
// shards has made obsolete.
func (q *prefetch) restart(sought map[Shard]Start) {
	q.mu.Lock()
	q.items = slices.DeleteFunc(q.items, func(it item) bool {
		var gap *GapError
		if errors.As(it.err, &gap) {
			_, ok := sought[gap.Shard]
			return ok
		}
		return it.b == nil
	})
	q.failed, q.atEnd = false, false
	q.mu.Unlock()
}

func (q *prefetch) isAtEnd() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.atEnd
}

func (q *prefetch) hold(n int) {
	q.mu.Lock()
	q.bytes += n
	q.nheld++
	q.mu.Unlock()
}

func (q *prefetch) unhold(n int) {
	q.mu.Lock()
	q.bytes -= n
	q.nheld--
	q.mu.Unlock()
	signal(q.room)
	signal(q.ready) // a loop that only waits for held messages may be finished
}

// pending reports whether nacked messages are not done yet.
func (q *prefetch) pending() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.nheld > 0
}

func (q *prefetch) full() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.failed || q.paused || q.out >= maxUnsettled || q.bytes >= q.budget && len(q.items) > 0 || q.bytes >= 2*q.budget
}

// settled says that so many messages have their verdict.
func (q *prefetch) settled(n int) {
	q.mu.Lock()
	q.out -= n
	q.mu.Unlock()
	signal(q.room)
}

// waiting are the messages that were fetched, or extended, before then and
// wait for the loop; they count as extended from now on.
func (q *prefetch) waiting(then, now time.Time) (rs []run) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, it := range q.items {
		if b := it.b; b != nil && b.Len() > 0 && b.since.Before(then) {
			b.since = now
			rs = append(rs, run{b: b, from: b.from, to: b.to, verdict: driver.VerdictExtend})
		}
	}
	return rs
}

// pause stops fetching until resume.
func (q *prefetch) pause() {
	q.mu.Lock()
	q.paused = true
	q.mu.Unlock()
}

// handBack takes all that waits for the loop, to be returned to the broker.
func (q *prefetch) handBack() (rs []run) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.items = slices.DeleteFunc(q.items, func(it item) bool {
		if it.b == nil {
			return false
		}
		if it.b.Len() > 0 {
			rs = append(rs, run{b: it.b, from: it.b.from, to: it.b.to, verdict: driver.VerdictReturn})
		}
		q.bytes -= it.b.size
		q.out -= it.b.Len()
		return true
	})
	return rs
}

func (q *prefetch) resume() {
	q.mu.Lock()
	q.paused = false
	q.mu.Unlock()
	signal(q.room)
}

// fetchLoop is the goroutine that calls the driver's Fetch and Seek. It ends
// with c.life.
func (c *Consumer) fetchLoop() {
	defer c.running.Done()
	var batches []driver.Batch
	var vs []*Batch
	attempt := 0
	for {
		if !c.waitForRoom() {
			return
		}
		ctx, cancel := context.WithCancel(c.life)
		c.interrupt.Store(&cancel)
		if cmd := c.takeSeek(); cmd != nil {
			cancel()
			cmd.done <- c.runSeek(cmd)
			continue
		}
		var err error
		batches, err = c.d.Fetch(ctx, batches[:0])
		cancel()
		for i, d := range batches {
			vs = views(d, vs[:0])
			c.accept(vs)
			batches[i] = nil
			clear(vs)
		}
		switch {
		case c.life.Err() != nil:
			return
		case err == nil:
			attempt = 0
		case ctx.Err() != nil && errors.Is(err, context.Canceled):
			// A Seek interrupted it.
		case errors.Is(err, ErrUnavailable) && !errors.Is(err, errors.ErrUnsupported):
			wait := backoff(attempt)
			attempt++
			c.mon.retry("fetch", err, wait)
			if !c.sleep(wait) {
				return
			}
		default:
			attempt = 0
			if !errors.Is(err, io.EOF) {
				err = wrap("fetch", Shard{}, err)
			}
			c.queue.pushErr(err)
		}
	}
}

// waitForRoom waits until the queue has room or a Seek is asked for; false
// means that the consumer is closed.
func (c *Consumer) waitForRoom() bool {
	for c.queue.full() && c.seek.Load() == nil {
		select {
		case <-c.queue.room:
		case <-c.life.Done():
		}
		if c.life.Err() != nil {
			return false
		}
	}
	return c.life.Err() == nil
}

func (c *Consumer) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	for c.seek.Load() == nil {
		select {
		case <-t.C:
			return true
		case <-c.queue.room:
			// Perhaps a Seek; the queue's room itself is no reason to hurry.
		case <-c.life.Done():
			return false
		}
	}
	return true
}

// accept queues the views of one driver batch, unless its generation is over.
func (c *Consumer) accept(vs []*Batch) {
	c.mu.Lock()
	shard := vs[0].d.Shard()
	w := c.windows[shard]
	if w == nil && c.settler != nil {
		w = newWindow(c, Position{Shard: shard}, 0)
		c.windows[shard] = w
	}
	c.mu.Unlock()
	if w == nil || w.gen != vs[0].d.Gen() {
		for _, b := range vs {
			b.src.unref()
		}
		return
	}
	var now time.Time
	if w.settles {
		now = time.Now()
	}
	for _, b := range vs {
		b.w, b.since = w, now
		c.queue.push(b)
	}
}
